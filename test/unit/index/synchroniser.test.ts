// Anti-entropy that is disturbed: nothing but a retry ever starts it again when no member's state changes.
import { expect, test } from "vitest";
import { syncRetryMs } from "../../../shared/limits.ts";
import { IndexCluster } from "./index-cluster.ts";

const SLICE = 1;

/** Three nodes; requests named in `lost` to the last one do not arrive. */
async function cluster(lost: Set<string>): Promise<IndexCluster> {
  const made: IndexCluster = new IndexCluster(3, {
    policy: (from, to, kind, name) =>
      kind === "request" && lost.has(name) && [from, to].includes("n2:1") ? [] : [1],
  });
  made.serve();
  await made.start();
  await made.clock.runFor(3_000);
  return made;
}

async function put(c: IndexCluster, name: string): Promise<void> {
  const body = new Uint8Array([1]);
  const entry = {
    headers: {},
    metadata: {},
    size: 1,
    etag: name,
    body: { kind: "inline" },
  } as const;
  const operation = { type: "commit", entry, precondition: {} } as const;
  const options = { requestId: c.requestId(), body };
  await c.wait(c.nodes[0]!.index.execute(c.at(SLICE, name), operation, options));
}

async function digestsOf(c: IndexCluster): Promise<(string | undefined)[]> {
  const all = await Promise.all(c.nodes.map((node) => c.wait(node.index.digests())));
  return all.map((digests) => digests.get(SLICE));
}

test("Synchroniser tries a run again that broke off although its peer never went away", async () => {
  const lost = new Set<string>();
  const c = await cluster(lost);
  c.crash(2);
  await put(c, "missed");
  await c.clock.runFor(5_000);
  lost.add("index.digests");
  await c.restart(2);
  c.serve();
  await c.clock.runFor(30_000);
  const [a, b, behind] = await digestsOf(c);
  expect(a).toBe(b);
  expect(behind).not.toBe(a);
  lost.clear();
  // A run that is waiting for its answer, the pause, and the run.
  await c.clock.runFor(10_000 + syncRetryMs + 2_000);
  expect(await digestsOf(c)).toEqual([a, a, a]);
});

test("Synchroniser tells a peer that goes on lacking what is here", async () => {
  const lost = new Set(["index.accept", "index.behind"]);
  const c = await cluster(lost);
  const { leader } = c.nodes[0]!.index.view(SLICE as never);
  expect(c.nodes[2]!.id).not.toBe(leader);
  await put(c, "missed");
  await c.clock.runFor(5_000);
  // Both others forget whom they have to tell.
  for (const i of [0, 1]) c.crash(i);
  lost.clear();
  for (const i of [0, 1]) await c.restart(i);
  c.serve();
  const [a, , behind] = await digestsOf(c);
  expect(behind).not.toBe(a);
  await c.clock.runFor(30_000);
  expect(new Set(await digestsOf(c)).size).toBe(1);
});
