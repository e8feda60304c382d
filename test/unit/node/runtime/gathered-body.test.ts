// Request bodies over real sockets, as their reader sees them.
import { once } from "node:events";
import { type IncomingMessage, createServer, request as httpRequest } from "node:http";
import { type AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bodyOf } from "../../../../node/runtime/http-request-body.ts";
import { giveChunk } from "../../../../shared/chunk-memory.ts";
import { streamChunkBytes } from "../../../../shared/limits.ts";

const MiB = 1024 * 1024;
let handle: (incoming: IncomingMessage) => Promise<string>;
const server = createServer((incoming, outgoing) => {
  handle(incoming).then(
    (text) => outgoing.end(text),
    (error: unknown) => outgoing.destroy(error as Error),
  );
});

beforeEach(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
});

function open(headers: Record<string, number | string>): ReturnType<typeof httpRequest> {
  const { port } = server.address() as AddressInfo;
  return httpRequest({ port, method: "PUT", headers }).on("error", () => undefined);
}

async function answerOf(request: ReturnType<typeof httpRequest>): Promise<string> {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return (await response.toArray()).join("");
}

const patterned = (bytes: number): Buffer =>
  Buffer.from(new Uint8Array(bytes).map((_, i) => i + (i >> 8) * 3 + (i >> 16) * 5));

test.each([
  ["declared", (length: number) => ({ "content-length": length })],
  ["chunked", () => ({ "transfer-encoding": "chunked" })],
])("a large %s body comes whole, in few chunks whose memory may be used again", async (_, head) => {
  const sent = patterned(5 * MiB + 12_345);
  const seen = Buffer.alloc(sent.length);
  let chunks = 0;
  handle = async (incoming) => {
    let at = 0;
    for await (const chunk of bodyOf(incoming)) {
      seen.set(chunk, at);
      at += chunk.length;
      chunks++;
      expect(chunk.length).toBeLessThanOrEqual(streamChunkBytes);
      chunk.fill(0xff);
      giveChunk(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return String(at);
  };
  expect(await answerOf(open(head(sent.length)).end(sent))).toBe(String(sent.length));
  expect(Buffer.compare(seen, sent)).toBe(0);
  expect(chunks).toBeLessThan(sent.length / (64 * 1024));
});

test("a body that comes slowly is handed on as it comes", async () => {
  const request = open({ "content-length": MiB });
  handle = async (incoming) => {
    const body = bodyOf(incoming)[Symbol.asyncIterator]();
    const first = await body.next();
    request.end(Buffer.alloc(MiB - 1000));
    let bytes = first.value.length;
    for (let step = await body.next(); !step.done; step = await body.next())
      bytes += step.value.length;
    return `${first.value.length} ${bytes}`;
  };
  request.write(Buffer.alloc(1000));
  expect(await answerOf(request)).toBe(`1000 ${MiB}`);
});

test("a client that leaves makes the next read throw IncompleteBody, with what came before it read", async () => {
  const request = open({ "content-length": 8 * MiB });
  const failed = Promise.withResolvers<unknown>();
  handle = async (incoming) => {
    try {
      for await (const _chunk of bodyOf(incoming)) request.destroy();
      failed.resolve("ended");
    } catch (error) {
      failed.resolve(error);
    }
    return "";
  };
  request.write(Buffer.alloc(MiB));
  expect(await failed.promise).toMatchObject({ code: "IncompleteBody" });
});

test("leaving the loop early leaves the connection open for the answer", async () => {
  handle = async (incoming) => {
    for await (const _chunk of bodyOf(incoming)) break;
    return "enough";
  };
  const request = open({ "content-length": 8 * MiB });
  request.write(Buffer.alloc(MiB));
  expect(await answerOf(request)).toBe("enough");
  request.destroy();
});
