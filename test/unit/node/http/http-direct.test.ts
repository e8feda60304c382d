// What a client may do at a node by a token alone, over real HTTP: only what the token says, where it says, while it holds.
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Hono } from "hono";
import { type AccessGrant, issueToken } from "../../../../shared/access-token.ts";
import { RingstowError } from "../../../../shared/errors.ts";
import { type BlockId, type BucketId, type NodeId } from "../../../../shared/ids.ts";
import { blockBytesMax } from "../../../../shared/limits.ts";
import { type ServerBindings } from "../../../../shared/server-bindings.ts";
import { type DirectDeps, createDirectApp } from "../../../../node/http-direct.ts";
import { EMPTY_CHAIN, type RegisterRead } from "../../../../node/index/types.ts";
import { type RunningHttpServer, startHttpServer } from "../../../../node/runtime/http-server.ts";

const self = "1".repeat(32) as NodeId;
const block = "a".repeat(32) as BlockId;
const otherBlock = "b".repeat(32) as BlockId;
const hopSecret = new Uint8Array(32).fill(3);
const NOW = 1_800_000_000_000;
const bytes = Buffer.from("0123456789");
const bucket = { id: "c".repeat(32) as BucketId, shards: 16 };

interface Written {
  readonly block: BlockId;
  readonly at: number;
  readonly bytes: Buffer;
  /** Whether its body ended as it should. */
  readonly whole: boolean;
}

let nowMs = NOW;
let held: number | undefined;
let reads: { id: BlockId; from: number; to: number }[] = [];
let written: Written[] = [];
let stopped = 0;
/** Thrown by a read after so many bytes. */
let broken: { readonly after: number; readonly error: unknown } | undefined;
/** Runs when a body was written, before its answer. */
let afterWrite: () => void = () => {};
let server: RunningHttpServer;
let readTokens: string;

const lockedBy = (fence: number | undefined): RegisterRead => ({
  value: {
    kind: "object",
    chain: {
      ...EMPTY_CHAIN,
      fence: fence ?? 9,
      ...(fence !== undefined && {
        lock: { holder: "me", requestId: "d".repeat(32), leaseMs: 1000, fence },
      }),
    } as typeof EMPTY_CHAIN,
  },
  body: undefined,
});

const deps: DirectDeps = {
  index: { read: () => Promise.resolve(lockedBy(held)) },
  data: {
    async *read({ id }, from, to) {
      reads.push({ id, from, to });
      const until = broken ? Math.min(to, from + broken.after) : to;
      const step = to > bytes.length ? 65_536 : 4;
      try {
        for (let at = from; at < until; at += step)
          yield step === 4 ? bytes.subarray(at, Math.min(at + 4, until)) : Buffer.alloc(step);
        if (broken) throw broken.error;
      } finally {
        stopped++;
      }
    },
    async writeDraft(place, at, body) {
      const chunks: Uint8Array[] = [];
      let whole = false;
      try {
        for await (const chunk of body) chunks.push(chunk);
        whole = true;
      } finally {
        written.push({ block: place.block, at, bytes: Buffer.concat(chunks), whole });
      }
      afterWrite();
      return at + Buffer.concat(chunks).length;
    },
  },
  route: { self: { id: self } } as DirectDeps["route"],
  clock: { wallMs: () => nowMs },
  hopSecret,
  sliceBits: 4,
};

const common = { node: self, block, untilMs: NOW + 60_000 };
const readGrant: AccessGrant = { type: "read", ...common, size: bytes.length };
const writeGrant: AccessGrant = { type: "write", ...common, bucket, key: "k", fence: 7 };
const tokenOf = (grant: AccessGrant): string => issueToken(hopSecret, grant);

beforeEach(async () => {
  nowMs = NOW;
  held = 7;
  reads = [];
  written = [];
  stopped = 0;
  broken = undefined;
  afterWrite = () => {};
  const app = new Hono<{ Bindings: ServerBindings }>();
  app.route("/v1", createDirectApp(deps));
  server = await startHttpServer({ app, host: "127.0.0.1", port: 0 });
  readTokens = `${server.url}/v1/blocks/${block}?token=`;
});
afterEach(() => server.close());

const read = (token = tokenOf(readGrant), headers: Record<string, string> = {}, method = "GET") =>
  fetch(readTokens + token, { method, headers });
interface WriteOptions {
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

const write = (body: string, { token = tokenOf(writeGrant), headers = {} }: WriteOptions = {}) =>
  fetch(`${server.url}/v1/drafts/${block}?token=${token}`, {
    method: "PATCH",
    headers,
    body,
  });

/** A write of 100 bytes of which none is sent yet. */
function patch(token: string): ClientRequest {
  const url = `${server.url}/v1/drafts/${block}?token=${token}`;
  const outgoing = httpRequest(url, { method: "PATCH", headers: { "content-length": "100" } });
  return outgoing.on("error", () => undefined); // connections are cut on purpose
}

async function refusal(answer: Promise<Response>): Promise<[number, string]> {
  const response = await answer;
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  const { code } = (await response.json()) as { code: string };
  return [response.status, code];
}

describe("reading a block by a token", () => {
  test("gives the block, and of HEAD the headers alone", async () => {
    const whole = await read();
    expect([whole.status, await whole.text()]).toEqual([200, "0123456789"]);
    expect(whole.headers.get("content-length")).toBe("10");
    expect(whole.headers.get("etag")).toBe(`"${block}"`);
    const head = await read(undefined, {}, "HEAD");
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "10"]);
    expect(reads).toEqual([{ id: block, from: 0, to: 10 }]);
  });

  test.each([
    ["bytes=2-5", "2345", "bytes 2-5/10"],
    ["bytes=7-", "789", "bytes 7-9/10"],
    ["bytes=-3", "789", "bytes 7-9/10"],
    ["bytes=-99", "0123456789", "bytes 0-9/10"],
    ["bytes=8-99", "89", "bytes 8-9/10"],
    ["bytes=9-9", "9", "bytes 9-9/10"],
  ])("gives the range %s", async (range, text, contentRange) => {
    const answer = await read(undefined, { range });
    expect([answer.status, await answer.text()]).toEqual([206, text]);
    expect(answer.headers.get("content-range")).toBe(contentRange);
  });

  test.each(["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=a-b", "bytes= 1-2"])(
    "gives all for %s, which is no range",
    async (range) => {
      const answer = await read(undefined, { range });
      expect([answer.status, await answer.text()]).toEqual([200, "0123456789"]);
    },
  );

  test.each(["bytes=10-", "bytes=99-100", "bytes=-0"])("refuses %s", async (range) => {
    const answer = await read(undefined, { range });
    expect(answer.headers.get("content-range")).toBe("bytes */10");
    expect([answer.status, await answer.json()]).toMatchObject([416, { code: "InvalidRange" }]);
    expect(reads).toEqual([]);
  });

  test("an empty block is an empty answer", async () => {
    const answer = await read(tokenOf({ ...readGrant, size: 0 }));
    expect([answer.status, await answer.text()]).toEqual([200, ""]);
  });

  test("a block that cannot be read is told, one that breaks off breaks the connection", async () => {
    broken = { after: 0, error: new RingstowError("Corrupt", "Cannot read: it is damaged") };
    expect(await refusal(read())).toEqual([500, "Corrupt"]);
    broken = { ...broken, after: 4 };
    await expect(read().then((answer) => answer.arrayBuffer())).rejects.toThrow();
  });

  test("stops reading for a client that leaves", async () => {
    const left = new AbortController();
    const answer = await fetch(readTokens + tokenOf({ ...readGrant, size: 1 << 26 }), {
      signal: left.signal,
    });
    await answer.body!.getReader().read();
    left.abort();
    await expect.poll(() => stopped).toBe(1);
  });
});

/** Tokens that are not good for reading this block here and now. */
const badTokens = (): [name: string, token: string][] => [
  ["none", ""],
  ["of another secret", issueToken(new Uint8Array(32).fill(4), readGrant)],
  ["with a changed byte", tokenOf(readGrant).replace(/^../u, "7c")],
  ["with a changed MAC", tokenOf(readGrant).replace(/.$/u, (last) => (last === "0" ? "1" : "0"))],
  ["without its MAC", tokenOf(readGrant).split(".")[0]!],
  ["of another node", tokenOf({ ...readGrant, node: "2".repeat(32) as NodeId })],
  ["of another block", tokenOf({ ...readGrant, block: otherBlock })],
  ["for writing", tokenOf(writeGrant)],
  ["that is over", tokenOf({ ...readGrant, untilMs: NOW - 1 })],
  ["that is no text", "%ff%fe"],
];

describe("tokens", () => {
  test.each(badTokens())("one %s reads nothing", async (_, token) => {
    expect(await refusal(read(token))).toEqual([403, "AccessDenied"]);
    expect(reads).toEqual([]);
  });

  test("a token ends with its time", async () => {
    nowMs = NOW + 60_000;
    expect((await read()).status).toBe(200);
    nowMs++;
    expect(await refusal(read())).toEqual([403, "AccessDenied"]);
    expect(await refusal(write("late"))).toEqual([403, "AccessDenied"]);
  });

  test.each([
    ["for reading", tokenOf(readGrant)],
    ["of another draft", tokenOf({ ...writeGrant, block: otherBlock })],
    ["of another node", tokenOf({ ...writeGrant, node: "2".repeat(32) as NodeId })],
    ["none", ""],
  ])("one %s writes nothing, its body unread", async (_, token) => {
    const outgoing = patch(token);
    outgoing.flushHeaders();
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    expect(answer.statusCode).toBe(403);
    outgoing.destroy();
    expect(written).toEqual([]);
  });

  test("block ids lead nowhere but to the token's block", async () => {
    for (const path of [
      `..%2f..%2fgenesis.json`,
      `${block}%2f..%2f${otherBlock}`,
      block.toUpperCase(),
    ]) {
      const answer = fetch(`${server.url}/v1/blocks/${path}?token=${tokenOf(readGrant)}`);
      expect((await answer).status, path).toBeGreaterThanOrEqual(403);
      expect((await answer).status, path).toBeLessThan(405);
    }
    expect(reads).toEqual([]);
  });

  test("preflights are answered, other methods and paths are not found", async () => {
    const preflight = await fetch(readTokens, { method: "OPTIONS" });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-methods")).toBe("GET, HEAD, PATCH");
    const put = await fetch(readTokens + tokenOf(readGrant), { method: "PUT", body: "x" });
    expect(put.status).toBe(404);
  });
});

describe("writing a draft by a token", () => {
  test("writes at the offset that the header says, 0 without one", async () => {
    expect(await (await write("hello")).json()).toEqual({ size: 5 });
    const headers = { "x-ringstow-offset": String(blockBytesMax) };
    expect(await (await write("", { headers })).json()).toEqual({ size: blockBytesMax });
    expect(written).toEqual([
      { block, at: 0, bytes: Buffer.from("hello"), whole: true },
      { block, at: blockBytesMax, bytes: Buffer.alloc(0), whole: true },
    ]);
  });

  test.each(["-1", "1.5", "0x10", "1e3", "", "four", String(blockBytesMax + 1), "9".repeat(16)])(
    "refuses the offset %j",
    async (offset) => {
      const headers = { "x-ringstow-offset": offset };
      expect(await refusal(write("hello", { headers }))).toEqual([400, "InvalidRequest"]);
      expect(written).toEqual([]);
    },
  );

  test.each([undefined, 6, 8])("refuses a holder whose fence 7 gave way to %s", async (fence) => {
    held = fence;
    expect(await refusal(write("late"))).toEqual([409, "FenceTooOld"]);
    expect(written).toEqual([]);
  });

  test("tells a holder whose lease ran out while it wrote", async () => {
    afterWrite = () => (held = 8);
    expect(await refusal(write("hello"))).toEqual([409, "FenceTooOld"]);
  });

  test("a body that is cut off is no success, and does not look whole to the draft", async () => {
    const outgoing = patch(tokenOf(writeGrant));
    outgoing.write("half");
    await once(outgoing, "socket");
    await once(outgoing.socket!, "connect").catch(() => undefined);
    outgoing.socket!.end();
    await expect.poll(() => written).toMatchObject([{ at: 0, whole: false }]);
    outgoing.destroy();
  });
});
