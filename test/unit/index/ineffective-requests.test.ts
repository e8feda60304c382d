// Requests that changed nothing: a copy that comes late changes nothing either, whoever leads by then.
import { describe, expect, test } from "vitest";
import { type RegisterOperation } from "../../../node/index/types.ts";
import { type NewEntry } from "../../../shared/records.ts";
import { BENCH_KEY, SliceBench } from "../../sim/slice-bench.ts";
import { IndexCluster, type IndexNode } from "./index-cluster.ts";

const bytes = new TextEncoder().encode("x");
const entry = (etag: string): NewEntry => ({
  headers: {},
  metadata: {},
  size: 1,
  etag,
  body: { kind: "inline" },
});
const remove: RegisterOperation = { type: "delete", precondition: {} };
const ifMatch = (etag: string): RegisterOperation => ({
  type: "commit",
  entry: entry("late"),
  precondition: { ifMatch: [etag] },
});
const SLICE = 3;

async function cluster(policy?: ConstructorParameters<typeof IndexCluster>[1]) {
  const made = new IndexCluster(3, policy);
  made.serve();
  await made.start();
  await made.clock.runFor(3_000);
  return made;
}

function leaderOf(c: IndexCluster): IndexNode {
  return c.node(c.nodes[0]!.index.view(SLICE as never).leader);
}

function put(c: IndexCluster, node: IndexNode, etag: string): Promise<unknown> {
  const operation = { type: "commit", entry: entry(etag), precondition: {} } as const;
  const options = { requestId: c.requestId(), body: bytes };
  return c.wait(node.index.execute(c.at(SLICE, "k"), operation, options));
}

async function etagAt(c: IndexCluster, node: IndexNode): Promise<string | undefined> {
  const { value } = await c.wait(node.index.read(c.at(SLICE, "k"), { body: false }));
  return value?.kind === "object" ? value.chain.entries[0]?.etag : undefined;
}

describe("a request sent again that has no effect", () => {
  test("is known to the next leader when it found nothing to delete", async () => {
    const c = await cluster();
    const leader = leaderOf(c);
    const others = c.nodes.filter((node) => node !== leader);
    const requestId = c.requestId();
    const again = (node: IndexNode) =>
      c.wait(node.index.execute(c.at(SLICE, "k"), remove, { requestId, again: true }));
    const answer = await again(others[0]!);
    expect(answer).toMatchObject({ type: "deleted", existed: false });
    await put(c, others[0]!, "kept");
    c.crash(c.nodes.indexOf(leader));
    expect(await again(others[1]!)).toEqual(answer);
    expect(await etagAt(c, others[0]!)).toBe("kept");
  });

  test("is known to the next leader when it was refused, beside an inline body", async () => {
    const c = await cluster();
    const leader = leaderOf(c);
    const others = c.nodes.filter((node) => node !== leader);
    await put(c, others[0]!, "a");
    const requestId = c.requestId();
    const again = (node: IndexNode) => {
      const options = { requestId, again: true, body: bytes };
      return c.wait(node.index.execute(c.at(SLICE, "k"), ifMatch("b"), options));
    };
    await expect(again(others[0]!)).rejects.toMatchObject({ code: "PreconditionFailed" });
    const { body } = await c.wait(others[1]!.index.read(c.at(SLICE, "k"), { body: true }));
    expect(body).toEqual(bytes);
    await put(c, others[0]!, "b");
    c.crash(c.nodes.indexOf(leader));
    await expect(again(others[1]!)).rejects.toMatchObject({
      code: "PreconditionFailed",
      details: { condition: "If-Match" },
    });
    expect(await etagAt(c, others[1]!)).toBe("b");
  });

  test("has none at an earlier leader that a lost attempt reaches at last", async () => {
    let late: string | undefined;
    const c = await cluster({
      policy: (_, to, kind, name) => {
        if (kind !== "request" || name !== "index.execute" || late !== undefined) return [1];
        late = to;
        return [10_000];
      },
    });
    const leader = leaderOf(c);
    const [client, third] = c.nodes.filter((node) => node !== leader) as [IndexNode, IndexNode];
    const options = { requestId: c.requestId() };
    const began = c.clock.now;
    const answer = await c.wait(client.index.execute(c.at(SLICE, "k"), remove, options));
    expect(answer).toMatchObject({ existed: false });
    expect(late).toBe(leader.address);
    const next = c.node(third.index.view(SLICE as never).leader);
    expect(next).not.toBe(leader);
    await put(c, next, "kept");
    // The old leader is the only one that can lead when the first attempt arrives.
    c.crash(c.nodes.indexOf(next));
    await put(c, leader, "kept too");
    expect(c.clock.now - began).toBeLessThan(9_000);
    await c.clock.runFor(10_000);
    expect(await etagAt(c, leader)).toBe("kept too");
  });
});

describe("SliceLeader", () => {
  test("keeps what had no effect on its node when the lead is lost and won again", async () => {
    const bench = new SliceBench({});
    const requestId = "1".repeat(32) as never;
    const first = await bench.elect("A", 1, ["A", "B", "C"]);
    const gone = await bench.run(first.execute(BENCH_KEY, remove, requestId, undefined));
    const second = await bench.elect("B", 2, ["A", "B", "C"]);
    const etag = bench.put(second, {});
    await bench.settle();
    const third = await bench.elect("A", 3, ["A", "B", "C"]);
    expect(await bench.run(third.execute(BENCH_KEY, remove, requestId, undefined))).toEqual(gone);
    expect(bench.etagIn((await bench.run(third.read(BENCH_KEY, false))).value!)).toBe(etag);
  });

  test("gives way to a member that shows a higher promise after the quorum", async () => {
    const bench = new SliceBench({});
    const leader = await bench.elect("A", 1, ["A", "B", "C"]);
    bench.fate = (call, _, to) => (call === "accept" && to === "C" ? "hold" : "pass");
    bench.put(leader, {});
    await bench.settle();
    await expect(bench.elect("C", 2, ["C", "B"])).resolves.toBeDefined();
    expect(leader.deposed).toBe(false);
    await bench.release("accept", "A", "C");
    expect(leader.deposed).toBe(true);
    expect(bench.history.of("x")).toMatchObject([{ outcome: { kind: "ok" } }]);
  });
});
