// NearestUpstream over real HTTP: the next node answers when the first fails, downloads go on elsewhere, uploads
// are not sent twice in silence.
import { once } from "node:events";
import { createServer } from "node:http";
import {
  type AddressInfo,
  type Server,
  type Socket,
  createServer as createTcpServer,
} from "node:net";
import { afterEach, expect, test } from "vitest";
import { NodeCaller } from "../../../../gateway/upstream/node-caller.ts";
import { type NearestUpstream } from "../../../../gateway/upstream/nearest-upstream.ts";
import { type Member } from "../../../../node/route/types.ts";
import { RingstowError } from "../../../../shared/errors.ts";
import { type LogicalId } from "../../../../shared/ids.ts";
import {
  avoidMaxMs,
  avoidMinMs,
  callHeadTimeoutMs,
  nodeSignMs,
  nodeSlowMs,
} from "../../../../shared/limits.ts";
import {
  type TestNode,
  bytesOf,
  gatewaySecret,
  here,
  startNode,
  startNodes,
  upstreamOf,
} from "../../node/http/node-fixture.ts";
import { ObjectDouble, bucketRef, requestId, uploadId } from "../../node/http/object-double.ts";

const MiB = 1024 * 1024;
const get = { bucket: bucketRef, key: "k", conditions: {}, headOnly: false };
const put = (length: number) => ({
  bucket: bucketRef,
  key: "k",
  headers: {},
  metadata: {},
  body: { length, encoding: "plain" as const },
  precondition: {},
  requestId,
});
const bytes = Buffer.from(Array.from({ length: 3 * MiB }, (_, i) => (i * 31) % 253));

let nodes: TestNode[] = [];
let upstream: NearestUpstream;
/** How far the gateway's clock is ahead, beside mutes. */
let aheadMs = 0;

async function setUp(count: number): Promise<ObjectDouble[]> {
  const doubles = Array.from({ length: count }, () => new ObjectDouble());
  nodes = await startNodes(doubles);
  upstream = upstreamOf(nodes.map(({ server }) => server.url));
  await upstream.start();
  return doubles;
}

afterEach(async () => {
  await upstream.stop();
  await Promise.all(nodes.map(({ server }) => server.close()));
});

/** A client whose request belongs to the n-th node, counted from 1. */
const clientOf = (n: number) => ({ ...here, point: String(n).repeat(32) as LogicalId });
const callsOf = (doubles: readonly ObjectDouble[]) => doubles.map(({ calls }) => calls.length);

test("service prefers the owner of the request's point among equally near nodes", async () => {
  const doubles = await setUp(3);
  await upstream.service(clientOf(2)).getBucket({ name: "b" });
  await upstream.service(clientOf(3)).getBucket({ name: "b" });
  await upstream.service(clientOf(3)).getBucket({ name: "b" });
  expect(callsOf(doubles)).toEqual([0, 1, 2]);
});

test("service goes to the next node when the first is down, and avoids the first afterwards", async () => {
  const doubles = await setUp(2);
  await nodes[0]!.server.close();
  for (let i = 0; i < 3; i++)
    expect((await upstream.service(clientOf(1)).getBucket({ name: "b" })).name).toBe("photos");
  expect(callsOf(doubles)).toEqual([0, 3]);
});

test("service goes to the next node on a retryable refusal, not on a final one", async () => {
  const [first, second] = (await setUp(2)) as [ObjectDouble, ObjectDouble];
  first.failure = new RingstowError("Unavailable");
  await upstream.service(clientOf(1)).getBucket({ name: "b" });
  expect(callsOf([first, second])).toEqual([1, 1]);
  first.failure = new RingstowError("NoSuchBucket");
  const final = upstream.service(clientOf(1)).getBucket({ name: "b" });
  await expect(final).rejects.toMatchObject({ code: "NoSuchBucket" });
  expect(callsOf([first, second])).toEqual([2, 1]);
});

test("service fails with Unavailable when a gateway has another secret", async () => {
  await setUp(1);
  const stranger = upstreamOf([nodes[0]!.server.url], new NodeCaller(), new Uint8Array(32));
  const call = stranger.service(here).getBucket({ name: "b" });
  await expect(call).rejects.toMatchObject({ code: "Unavailable" });
  await stranger.stop();
});

test("service keeps the last member table when nobody tells a new one", async () => {
  const doubles = await setUp(2);
  await nodes[1]!.server.close();
  await upstream.service(clientOf(1)).getBucket({ name: "b" });
  await expect(upstreamOf(["http://127.0.0.1:1"]).start()).rejects.toMatchObject({
    code: "Unavailable",
  });
  expect(callsOf(doubles)).toEqual([1, 0]);
});

test("get goes on at another node when the first breaks in the middle", async () => {
  const [first, second] = (await setUp(2)) as [ObjectDouble, ObjectDouble];
  for (const double of [first, second]) double.store("k", bytes);
  const received = Promise.withResolvers<void>();
  first.bodyOf = (part) =>
    (async function* () {
      yield part.subarray(0, 100_000);
      await received.promise;
      throw new Error("the node dies");
    })();
  const got = await upstream.service(clientOf(1)).get(get);
  if (got.type !== "object") throw new Error("no object");
  const chunks: Uint8Array[] = [];
  for await (const chunk of got.body) {
    chunks.push(chunk);
    if (Buffer.concat(chunks).length >= 100_000) received.resolve();
  }
  expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  expect(second.calls[0]?.request).toMatchObject({
    range: { from: 100_000, to: bytes.length - 1 },
    conditions: { ifMatch: [second.objects.get("k")!.entry.etag] },
  });
});

test("get does not go on with another version of the object", async () => {
  const [first, second] = (await setUp(2)) as [ObjectDouble, ObjectDouble];
  first.store("k", bytes);
  second.store("k", bytes);
  second.store("k", bytes); // the same bytes and ETag, a later version
  const received = Promise.withResolvers<void>();
  first.bodyOf = (part) =>
    (async function* () {
      yield part.subarray(0, 10);
      await received.promise;
      throw new Error("the node dies");
    })();
  const got = await upstream.service(clientOf(1)).get(get);
  if (got.type !== "object") throw new Error("no object");
  const reading = (async () => {
    for await (const chunk of got.body) if (chunk.length > 0) received.resolve();
  })();
  await expect(reading).rejects.toMatchObject({ code: "Unavailable" });
  expect(second.calls.length).toBe(1);
});

test("get stops the node when its reader leaves, 100 times without a leak", async () => {
  const [double] = (await setUp(1)) as [ObjectDouble];
  double.store("k", Buffer.alloc(24 * MiB));
  for (let i = 0; i < 100; i++) {
    const got = await upstream.service(here).get(get);
    if (got.type !== "object") throw new Error("no object");
    for await (const chunk of got.body) if (chunk.length > 0) break;
  }
  await expect.poll(() => double.stopped).toBe(100);
  expect(
    (
      await bytesOf(
        ((await upstream.service(here).get(get)) as { body: AsyncIterable<Uint8Array> }).body,
      )
    ).length,
  ).toBe(24 * MiB);
});

async function* streamed(taken: { bytes: number }, length: number): AsyncGenerator<Uint8Array> {
  while (taken.bytes < length) {
    taken.bytes += 65_536;
    yield new Uint8Array(65_536);
  }
}

test("put goes to the next node when the first is down: nothing was taken", async () => {
  const doubles = await setUp(2);
  await nodes[0]!.server.close();
  const taken = { bytes: 0 };
  await upstream.service(clientOf(1)).put(put(MiB), streamed(taken, MiB));
  expect(doubles[1]!.objects.get("k")?.bytes.length).toBe(MiB);
  expect(taken.bytes).toBe(MiB);
});

test("put of a held body is sent again after a refusal, with the same request id", async () => {
  const [first, second] = (await setUp(2)) as [ObjectDouble, ObjectDouble];
  first.failure = new RingstowError("SlowDown");
  async function* body() {
    yield Buffer.from("abc");
  }
  await upstream.service(clientOf(1)).put(put(3), body());
  expect(second.objects.get("k")?.bytes.toString()).toBe("abc");
  expect(first.calls[0]?.request).not.toHaveProperty("again");
  expect(second.calls[0]).toEqual({
    method: "put",
    request: { ...(first.calls[0]!.request as object), again: true },
  });
});

test("service tells the next node that it was not the first, where a late attempt would do harm", async () => {
  const [first, second] = (await setUp(2)) as [ObjectDouble, ObjectDouble];
  first.failure = new RingstowError("Unavailable");
  const service = () => upstream.service(clientOf(1));
  const write = { bucket: bucketRef, key: "k", precondition: {}, requestId };
  await service().delete(write);
  await service().completeUpload({
    ...write,
    uploadId,
    parts: [{ partNumber: 1, etag: "e" }],
  });
  await service().deleteBucket({ name: "b", requestId });
  const againOf = ({ request }: { request: unknown }) => (request as { again?: boolean }).again;
  expect(first.calls.map(againOf)).toEqual([undefined, undefined, undefined]);
  expect(second.calls.map(againOf)).toEqual([true, true, undefined]);
});

test("put of a large body that was begun is not sent to another node", async () => {
  const members: Member[] = [];
  const breaking = createServer((request) => {
    request.once("data", () => request.socket.destroy());
  });
  await new Promise<void>((resolve) => breaking.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(breaking.address() as AddressInfo).port}`;
  members.push({ id: "1".repeat(32), url, zone: "a", freeBytes: 0 } as Member);
  const double = new ObjectDouble();
  nodes = [await startNode("2", double, members)];
  upstream = upstreamOf([nodes[0]!.server.url]);
  const taken = { bytes: 0 };
  const sent = upstream.service(clientOf(1)).put(put(8 * MiB), streamed(taken, 8 * MiB));
  await expect(sent).rejects.toMatchObject({ code: "Unavailable" });
  expect(taken.bytes).toBeGreaterThan(0);
  expect(double.calls).toEqual([]);
  breaking.close();
});

/** Members "1" to `count` take connections and say nothing, as a paused process does; the next one is a node. */
async function besideMutes(count: number): Promise<{ double: ObjectDouble; mutes: Mute[] }> {
  const double = new ObjectDouble();
  const members: Member[] = [];
  const mutes: Mute[] = [];
  for (let digit = 1; digit <= count; digit++) {
    const sockets: Socket[] = [];
    const server = createTcpServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    members.push({ id: String(digit).repeat(32), url, zone: "a", freeBytes: 0 } as Member);
    mutes.push({ port, sockets, server });
  }
  nodes = [await startNode(String(count + 1), double, members)];
  aheadMs = 0;
  const wallMs = (): number => Date.now() + aheadMs;
  upstream = upstreamOf([nodes[0]!.server.url], new NodeCaller(), gatewaySecret, wallMs);
  await upstream.start();
  return { double, mutes };
}

interface Mute {
  readonly port: number;
  readonly sockets: readonly Socket[];
  readonly server: Server;
}

/** Resolves when the port is free. */
async function close({ server, sockets }: Mute): Promise<void> {
  for (const socket of sockets) socket.destroy();
  server.close();
  await once(server, "close");
}

const remove = { bucket: bucketRef, key: "k", precondition: {}, requestId };

test("a node that gives no sign of life is left for the next one, which hears that another was asked", async () => {
  const { double, mutes } = await besideMutes(1);
  const startedMs = performance.now();
  await upstream.service(clientOf(1)).delete(remove);
  expect(performance.now() - startedMs).toBeLessThan(callHeadTimeoutMs / 5);
  expect(double.calls.map(({ request }) => request)).toMatchObject([{ again: true }]);
  await Promise.all(mutes.map(close));
});

test("however many nodes are silent, a request meets one of them", async () => {
  const { double, mutes } = await besideMutes(3);
  const startedMs = performance.now();
  await upstream.service(clientOf(1)).delete(remove);
  // Twice the time of one; each that was met would take one more.
  expect(performance.now() - startedMs).toBeLessThan(2 * (nodeSlowMs + nodeSignMs));
  await upstream.service(clientOf(2)).delete(remove);
  expect(double.calls).toHaveLength(2);
  await Promise.all(mutes.map(close));
});

test("a node that was silent is called again after it gave a sign of life, and no request waits for that", async () => {
  const { double, mutes } = await besideMutes(1);
  await upstream.service(clientOf(1)).delete(remove);
  aheadMs += avoidMinMs;
  const startedMs = performance.now();
  await upstream.service(clientOf(1)).delete(remove);
  expect(performance.now() - startedMs).toBeLessThan(nodeSlowMs);
  expect(double.calls).toHaveLength(2);
  await close(mutes[0]!);
  const back = new ObjectDouble();
  nodes.push(await startNode("1", back, [], mutes[0]!.port));
  const isBack = async (): Promise<boolean> => {
    aheadMs += avoidMaxMs;
    await upstream.service(clientOf(1)).delete(remove);
    return back.calls.length > 0;
  };
  await expect.poll(isBack).toBe(true);
});

test("a begun upload to a node that falls silent ends soon, though no other node may have it", async () => {
  const { double, mutes } = await besideMutes(1);
  const startedMs = performance.now();
  const taken = { bytes: 0 };
  const sent = upstream.service(clientOf(1)).put(put(8 * MiB), streamed(taken, 8 * MiB));
  await expect(sent).rejects.toMatchObject({ code: "Unavailable" });
  expect(performance.now() - startedMs).toBeLessThan(callHeadTimeoutMs / 5);
  expect(taken.bytes).toBeGreaterThan(0);
  expect(double.calls).toEqual([]);
  await Promise.all(mutes.map(close));
});

test("a node that is only slow is waited for", async () => {
  const [first, second] = (await setUp(2)) as [ObjectDouble, ObjectDouble];
  first.delayMs = 4 * (nodeSlowMs + nodeSignMs);
  await upstream.service(clientOf(1)).getBucket({ name: "b" });
  expect(callsOf([first, second])).toEqual([1, 0]);
});

test("what a client gave in more bytes than a call's headers hold is refused, and no node is blamed", async () => {
  const doubles = await setUp(2);
  const service = upstream.service(clientOf(1));
  const long = { ...get, ifRange: "é".repeat(12_000) };
  await expect(service.get(long)).rejects.toMatchObject({ code: "InvalidRequest" });
  const precondition = { ifMatch: ["x".repeat(62_000)] };
  const body = (async function* () {})();
  await expect(service.put({ ...put(0), precondition }, body)).rejects.toMatchObject({
    code: "InvalidRequest",
  });
  const fits = service.get({ ...get, ifRange: "é".repeat(9_000) });
  await expect(fits).rejects.toMatchObject({ code: "NoSuchKey" });
  expect(callsOf(doubles)).toEqual([1, 0]);
});
