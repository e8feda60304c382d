// Six nodes in two halves, in virtual time: how soon the half without a majority of a slice says no, and how soon the
// other one serves after its leader was cut off.
import { expect, test } from "vitest";
import { type RingstowNode } from "../../node/compose.ts";
import { Scene } from "./scene.ts";
import { nodeOfVoter } from "../../shared/ids.ts";
import { genesisViews } from "../../node/index/views.ts";
import { sliceOfKey } from "../../shared/slices.ts";

const refusedWithinMs = 1_000; // at the node: what is left of two seconds is for a gateway that asks another one
const servedWithinMs = 2_500;

test.each([1, 2, 3])(
  "seed %i: a node without a majority refuses within a second, the other half serves",
  async (seed) => {
    const scene = await Scene.open({ nodes: 6, seed });
    const { world } = scene;
    const views = genesisViews(world.genesis);
    const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`);
    const sides = [
      [0, 1, 2],
      [3, 4, 5],
    ];
    for (const key of keys)
      expect((await scene.run(scene.client("first").put(key, 50, { at: 0 }))).outcome).toBe("ok");
    await world.clock.runFor(5_000);
    world.conditions.cut(world.addresses(sides[0]!), world.addresses(sides[1]!));

    let refused = 0;
    const ask = async (key: string, at: number, round: number): Promise<void> => {
      const slice = sliceOfKey(scene.bucket.id, key, scene.bucket.shards, world.genesis.sliceBits);
      const side = sides.find((nodes) => nodes.includes(at))!;
      const ids = new Set(side.map((i) => world.id(i)));
      const members = views(slice).members.map(nodeOfVoter);
      const serves = 2 * members.filter((id) => ids.has(id)).length > members.length;
      const client = scene.client(`node ${at}, round ${round}`);
      for (const kind of ["put", "get"] as const) {
        const beganAt = world.clock.now;
        const ended =
          kind === "put"
            ? (await client.put(key, 50, { at })).outcome === "ok"
            : (await client.get(key, { at })) !== undefined;
        const tookMs = world.clock.now - beganAt;
        const what = `${kind} "${key}" at node ${at} in round ${round} after ${tookMs} ms`;
        expect(ended, what).toBe(serves);
        expect(tookMs, what).toBeLessThan(serves ? servedWithinMs : refusedWithinMs);
        if (!ended) refused++;
      }
    };
    for (let round = 0; round < 4; round++) {
      await scene.run(
        Promise.all(keys.flatMap((key) => [...sides.flat()].map((at) => ask(key, at, round)))),
      );
      await world.clock.runFor(round * 2_000);
    }
    expect(refused).toBeGreaterThan(0);
    world.conditions.heal();
    await world.clock.runFor(30_000);
    for (const i of world.up())
      expect((world.node(i) as RingstowNode).route.live(), `members at node ${i}`).toHaveLength(6);
    for (const key of keys) {
      const values = new Set(await scene.readEverywhere(key));
      expect([...values], key).toHaveLength(1);
    }
    expect(scene.problems()).toEqual([]);
  },
);
