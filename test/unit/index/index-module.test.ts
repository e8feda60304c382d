import { describe, expect, test } from "vitest";
import { type Index } from "../../../node/index/types.ts";
import { type NewEntry } from "../../../shared/records.ts";
import { IndexCluster } from "./index-cluster.ts";

const entry = (etag: string): NewEntry => ({
  headers: {},
  metadata: {},
  size: 3,
  etag,
  body: { kind: "inline" },
});
const body = (text: string): Uint8Array => new TextEncoder().encode(text);

async function cluster(size: number): Promise<IndexCluster> {
  const made = new IndexCluster(size);
  made.serve();
  await made.start();
  await made.clock.run(made.clock.now + 3_000);
  return made;
}

async function put(c: IndexCluster, index: Index, slice: number, name: string, text: string) {
  return c.wait(
    index.execute(
      c.at(slice, name),
      { type: "commit", entry: entry(text), precondition: {} },
      { requestId: c.requestId(), body: body(text) },
    ),
  );
}

async function get(c: IndexCluster, index: Index, slice: number, name: string) {
  const read = await c.wait(index.read(c.at(slice, name), { body: true }));
  return read.body && new TextDecoder().decode(read.body);
}

describe("index over a network in memory", () => {
  test("every slice gets a leader by duty, spread over the nodes", async () => {
    const c = await cluster(5);
    const led = await Promise.all(c.nodes.map((node) => c.wait(node.index.counts())));
    expect(led.map(({ slicesLed }) => slicesLed).reduce((a, b) => a + b)).toBe(16);
    expect(Math.max(...led.map(({ slicesLed }) => slicesLed))).toBeLessThan(16);
  });

  test("a write through any node is read through every node", async () => {
    const c = await cluster(5);
    for (const [i, node] of c.nodes.entries()) await put(c, node.index, 3, `key${i}`, `value${i}`);
    for (const node of c.nodes) {
      for (let i = 0; i < 5; i++) expect(await get(c, node.index, 3, `key${i}`)).toBe(`value${i}`);
      expect(await get(c, node.index, 3, "missing")).toBeUndefined();
    }
  });

  test("a read costs one round trip; a write one at the leader and two elsewhere, for new keys too", async () => {
    const c = await cluster(5);
    const slice = 5;
    const view = c.nodes[0]!.index.view(slice as never);
    const leader = c.nodes.find((node) => node.index.view(slice as never).leader === node.id)!;
    expect(view.members).toContain(leader.id);
    const outsider = c.nodes.find((node) => !view.members.includes(node.id))!;
    await put(c, outsider.index, slice, "warm", "x"); // the outsider learns who leads
    const timed = async (work: () => Promise<unknown>): Promise<number> => {
      const before = c.clock.now;
      await work();
      return c.clock.now - before;
    };
    // 1 ms a message, 1 ms a sync: a round trip is 2 ms.
    expect(await timed(() => put(c, leader.index, slice, "new1", "x"))).toBe(3);
    expect(await timed(() => put(c, outsider.index, slice, "new2", "x"))).toBe(5);
    expect(await timed(() => get(c, leader.index, slice, "new2"))).toBe(2);
    expect(await timed(() => get(c, outsider.index, slice, "new2"))).toBe(2);
  });

  test("a dead leader is replaced, and what it acknowledged is there", async () => {
    const c = await cluster(5);
    const slice = 9;
    const leader = c.nodes.find((node) => node.index.view(slice as never).leader === node.id)!;
    const other = c.nodes.find((node) => node !== leader)!;
    await put(c, other.index, slice, "k", "before");
    c.crash(c.nodes.indexOf(leader));
    expect(await get(c, other.index, slice, "k")).toBe("before");
    const began = c.clock.now;
    await put(c, other.index, slice, "k", "after");
    expect(c.clock.now - began).toBeLessThan(1_000);
    expect(await get(c, other.index, slice, "k")).toBe("after");
  });

  test("all nodes crash at once and come back with everything acknowledged", async () => {
    const c = await cluster(3);
    for (let i = 0; i < 20; i++) await put(c, c.nodes[i % 3]!.index, i % 16, `k${i}`, `v${i}`);
    for (let i = 0; i < 3; i++) c.crash(i);
    for (let i = 0; i < 3; i++) await c.restart(i);
    c.serve();
    for (let i = 0; i < 20; i++) {
      expect(await get(c, c.nodes[(i + 1) % 3]!.index, i % 16, `k${i}`)).toBe(`v${i}`);
    }
  });

  test("a node that missed writes pulls them when it comes back", async () => {
    const c = await cluster(3);
    await put(c, c.nodes[0]!.index, 1, "a", "1");
    c.crash(2);
    for (let i = 0; i < 10; i++) await put(c, c.nodes[0]!.index, 1, `m${i}`, "2");
    await put(c, c.nodes[0]!.index, 1, "a", "3");
    await c.restart(2);
    c.serve();
    await c.clock.run(c.clock.now + 20_000);
    const digests = await Promise.all(c.nodes.map((node) => c.wait(node.index.digests())));
    expect(digests[2]).toEqual(digests[0]);
    expect(digests[1]).toEqual(digests[0]);
  });

  test("one of two If-None-Match writers wins", async () => {
    const c = await cluster(5);
    const create = (index: Index, text: string) =>
      index.execute(
        c.at(2, "once"),
        { type: "commit", entry: entry(text), precondition: { ifNoneMatch: ["*"] } },
        { requestId: c.requestId(), body: body(text) },
      );
    const results = await c.wait(
      Promise.allSettled([create(c.nodes[0]!.index, "a"), create(c.nodes[4]!.index, "b")]),
    );
    expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const lost = results.find((result) => result.status === "rejected");
    expect(lost?.reason).toMatchObject({ code: "PreconditionFailed" });
  });

  test("an operation that comes twice under one request id is done once", async () => {
    const c = await cluster(3);
    const requestId = c.requestId();
    const commit = () =>
      c.nodes[1]!.index.execute(
        c.at(4, "twice"),
        { type: "commit", entry: entry("x"), precondition: { ifNoneMatch: ["*"] } },
        { requestId, body: body("x") },
      );
    const first = await c.wait(commit());
    expect(await c.wait(commit())).toEqual(first);
  });

  test("scan pages through live keys in UTF-8 order without gaps", async () => {
    const c = await cluster(5);
    const names = ["a", "b", "c", "\u{ffff}", "\u{10000}", "d", "e"];
    for (const name of names) await put(c, c.nodes[0]!.index, 7, name, "x");
    await c.wait(
      c.nodes[0]!.index.execute(
        c.at(7, "c"),
        { type: "delete", precondition: {} },
        { requestId: c.requestId() },
      ),
    );
    const found: string[] = [];
    let from = c.at(7, "").key;
    const to = `${c.at(7, "").key}\u{10ffff}` as typeof from;
    for (;;) {
      const [page] = await c.wait(
        c.nodes[3]!.index.scan([{ slice: 7 as never, from, to, limit: 2 }]),
      );
      found.push(...page!.rows.map(({ key }) => key.slice(33)));
      if (page!.next === undefined) break;
      from = page!.next;
    }
    expect(found).toEqual(["a", "b", "d", "e", "\u{ffff}", "\u{10000}"]);
  });

  test("scan keeps the order of keys when one replica lags behind inside a truncated page", async () => {
    const held = new Set<string>();
    const made = new IndexCluster(3, {
      policy: (_, to, kind, name) =>
        kind === "request" && name === "index.accept" && held.has(to) ? [] : [1],
    });
    made.serve();
    await made.start();
    await made.clock.run(made.clock.now + 3_000);
    const slice = 7;
    const { leader } = made.nodes[0]!.index.view(slice as never);
    const lagging = made.nodes.find((node) => node.id !== leader)!;
    const other = made.nodes.find((node) => node.id !== leader && node !== lagging)!;
    for (const name of ["a", "c", "d", "e"]) await put(made, other.index, slice, name, "x");
    held.add(lagging.address);
    await put(made, other.index, slice, "b", "x");
    const from = made.at(slice, "").key;
    const to = `${from}\u{10ffff}` as typeof from;
    const [page] = await made.wait(
      lagging.index.scan([{ slice: slice as never, from, to, limit: 3 }]),
    );
    expect(page!.rows.map(({ key }) => key.slice(33))).toEqual(["a", "b", "c"]);
  });
});
