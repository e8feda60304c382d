// The chain checker of a running cluster: due garbage is handed out whole, in steps that one clean-up can take.
import { expect, test } from "vitest";
import { type BlockId } from "../../../shared/ids.ts";
import { checkerMs, garbageBatchMax, garbageDelayMs } from "../../../shared/limits.ts";
import { type BodyRef } from "../../../shared/records.ts";
import { IndexCluster } from "./index-cluster.ts";

test("garbage of a chain is handed out once it is due, all of it, a bounded part at a time", async () => {
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
  const count = garbageBatchMax * 2 + 1;
  await commit({ kind: "blocks", blocks: Array.from({ length: count }, (_, i) => block(i)) });
  await commit({ kind: "blocks", blocks: [block(count)] });
  await c.clock.runFor(garbageDelayMs - checkerMs);
  await commit({ kind: "blocks", blocks: [block(count + 1)] });
  expect(c.garbage).toEqual([]);
  await c.clock.runFor(checkerMs * 2.5);
  const handed = c.garbage.map(({ chain }) => chain.garbage.length);
  expect(handed).toEqual([garbageBatchMax, garbageBatchMax, 1]);
});
