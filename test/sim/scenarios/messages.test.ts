// Messages that come twice, in another order, or changed on the way.
import { expect, test } from "vitest";
import { inlineBytesMax } from "../../../shared/limits.ts";
import { type LinkQuality } from "../network-conditions.ts";
import { Scene } from "../scene.ts";

/** Clients at all nodes write, read and append while the network is bad; then all replicas are asked. */
async function workThrough(quality: Partial<LinkQuality>, seed: number): Promise<Scene> {
  const scene = await Scene.open({ seed, syncMs: 1 });
  const { world } = scene;
  Object.assign(world.conditions.quality, quality);
  const work = async (n: number): Promise<void> => {
    const client = scene.client(`c${n}`);
    for (let round = 0; round < 12; round++) {
      const key = `key ${round % 3}`;
      const size = round % 5 === 4 ? inlineBytesMax * 4 : 60;
      await client.put(key, size, { at: n % 3 });
      await client.get(key, { at: (n + round) % 3 });
      await client.append("the log", 60);
      if (round % 4 === 3) await client.delete(key, { at: n % 3 });
    }
  };
  await scene.run(Promise.all([0, 1, 2, 3].map(work)));
  await world.heal();
  await world.clock.runFor(20_000);
  for (const key of ["key 0", "key 1", "key 2", "the log"]) {
    const values = await scene.readEverywhere(key);
    expect(new Set(values).size, key).toBe(1);
  }
  expect(scene.problems()).toEqual([]);
  return scene;
}

test("messages doubled: every request and reply comes twice, and each is done once", async () => {
  const { world, history } = await workThrough({ duplication: 1, jitterMs: 30 }, 1);
  expect(world.conditions.injected.get("doubled")).toBeGreaterThan(500);
  expect(history.counts.get("put unknown")).toBeUndefined();
});

test("messages reordered: half of them are overtaken by many others", async () => {
  const { world, history } = await workThrough({ reordering: 0.5, jitterMs: 5 }, 2);
  expect(world.conditions.injected.get("overtaken")).toBeGreaterThan(500);
  expect(history.counts.get("put ok")).toBeGreaterThan(40);
});

// A record that fails its check breaks the connection with all that is on its way, in the middle of blocks too.
test("messages corrupted: each breaks its connection, and nothing wrong is read or written", async () => {
  const { world, history } = await workThrough({ corruption: 0.05 }, 3);
  expect(world.conditions.injected.get("corrupted")).toBeGreaterThan(50);
  expect(history.counts.get("put ok")).toBeGreaterThan(40);
});
