// The chain checker of a running cluster: a chain with due garbage is handed out, others are not.
import { expect, test } from "vitest";
import { type BlockId } from "../../../shared/ids.ts";
import { checkerMs, garbageDelayMs } from "../../../shared/limits.ts";
import { type BodyRef } from "../../../shared/records.ts";
import { IndexCluster } from "./index-cluster.ts";

test("a chain is handed out once garbage of it is due", async () => {
  const c = new IndexCluster(1);
  c.serve();
  await c.start();
  await c.clock.runFor(3_000);
  const node = c.nodes[0]!;
  const commit = (body: BodyRef) => {
    const entry = { headers: {}, metadata: {}, size: 1, etag: "e", body };
    const operation = { type: "commit", entry, precondition: {} } as const;
    return c.wait(node.index.execute(c.at(1, "a"), operation, { requestId: c.requestId() }));
  };
  const block = (i: number) => ({
    id: `b${i.toString(16).padStart(31, "0")}` as BlockId,
    size: 1,
    replicas: [{ node: node.id, version: 1 }],
  });
  await commit({ kind: "blocks", blocks: [block(1)] });
  await commit({ kind: "blocks", blocks: [block(2)] });
  await c.clock.runFor(garbageDelayMs - checkerMs);
  await commit({ kind: "blocks", blocks: [block(3)] });
  expect(c.garbage).toEqual([]);
  await c.clock.runFor(checkerMs * 2.5);
  expect(new Set(c.garbage.map(({ key }) => key))).toEqual(new Set([c.at(1, "a").key]));
});
