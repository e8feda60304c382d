import { expect, test } from "vitest";
import { type BlockId } from "../../../shared/ids.ts";
import { DataCluster } from "./data-cluster.ts";

test("delete answers what is gone for sure, and does not wait for the dead", async () => {
  const cluster = new DataCluster(3);
  await cluster.start();
  const [one, two, three] = cluster.nodes;
  const block = {
    id: "1".repeat(32) as BlockId,
    size: 1,
    replicas: cluster.nodes.map(({ id: node }) => ({ node, version: 1 })),
  };
  three!.gate.pause();
  three!.state = "dead";
  const begunMs = cluster.clock.now;
  const gone = await cluster.clock.settle(one!.data.delete([block]));
  expect(new Set(gone.map(({ node }) => node))).toEqual(new Set([one!.id, two!.id]));
  expect(cluster.clock.now - begunMs).toBeLessThan(1_000);
  three!.state = "alive";
  three!.gate.resume();
  expect(await cluster.clock.settle(one!.data.delete([block]))).toHaveLength(3);
});
