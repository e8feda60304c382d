// How long a slice stands still when its view changes, with the disks (1 ms a sync) and the links (0.3 to 0.8 ms each
// way) of machines in one building and no lack of processors: what the protocol itself costs. A node is added and one
// leaves while clients write to every slice.
import { expect, test } from "vitest";
import { Scene } from "./scene.ts";

const CLIENTS = 8;

test("a node is added and one leaves under load: slices are handed over in less than 5 ms", async () => {
  const pausesMs: { count: number; medianMs: number; p99Ms: number; longestMs: number }[] = [];
  for (const seed of [1, 2, 3]) {
    const scene = await Scene.open({
      seed,
      nodes: 4,
      syncMs: 1,
      quality: { delayMs: 0.3, jitterMs: 0.5 },
      joinAfterMs: 2_000,
    });
    const { world } = scene;
    await world.clock.runFor(5_000);
    let over = false;
    const writes: { ms: number; outcome: string }[] = [];
    const writer = async (n: number): Promise<void> => {
      const client = scene.client(`w${n}`);
      for (let k = 0; !over; k++) {
        const begunMs = world.clock.now;
        const { outcome } = await client.put(`${n}/${k % 200}`, 50, { at: n % 3 });
        writes.push({ ms: world.clock.now - begunMs, outcome });
        await new Promise<void>((next) => void world.clock.after(10, next));
      }
    };
    const writers = Array.from({ length: CLIENTS }, (_, n) => writer(n));
    await scene.run(world.restart(world.addNode()));
    await world.clock.runFor(10_000);
    const leaver = 3;
    await scene.run(world.node(leaver).route!.leave());
    await world.clock.runFor(10_000);
    over = true;
    await scene.run(Promise.all(writers));
    for (const i of world.up()) {
      const { views } = await scene.run(world.node(i).index.counts());
      if (views.pauses.count > 0) pausesMs.push(views.pauses);
    }
    expect(writes.filter(({ outcome }) => outcome !== "ok")).toEqual([]);
    const longestMs = Math.max(...writes.map(({ ms }) => ms));
    console.log(`seed ${seed}: ${writes.length} writes, the longest ${longestMs.toFixed(1)} ms`);
    expect(longestMs).toBeLessThan(20);
    expect(scene.problems()).toEqual([]);
    await world.stop();
  }
  console.table(pausesMs);
  const changes = pausesMs.reduce((sum, { count }) => sum + count, 0);
  expect(changes).toBeGreaterThan(20);
  for (const { p99Ms } of pausesMs) expect(p99Ms).toBeLessThan(5);
});
