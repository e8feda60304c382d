// One of five nodes dies by SIGKILL under mixed load, again and again: clients must not notice, nothing that was
// acknowledged may be lost, and the node must catch up with its peers when it comes back.
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, until } from "./dev-cluster.ts";
import { Load } from "./load.ts";
import { differingSlices, statuses } from "./node-answers.ts";

const CLIENTS = 8;
let cluster: DevCluster;
let load: Load;
const pids = new Map<number, number>();

beforeAll(async () => {
  cluster = await DevCluster.start();
  load = new Load(cluster.dev, CLIENTS);
  await load.prepare();
});
afterAll(async () => {
  load?.destroy();
  await cluster?.remove();
});

const seconds = (count: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, count * 1000));

/** Index of the node that leads most slices, without those in `but`. */
async function busiest(but: readonly number[]): Promise<{ i: number; led: number }> {
  const led = (await statuses(cluster)).map(({ slicesLed }, i) => ({ i, led: slicesLed }));
  return led.filter(({ i }) => !but.includes(i)).toSorted((a, b) => b.led - a.led)[0]!;
}

test("a killed node costs no call, no acknowledged object and no second without writes", async () => {
  load.run();
  await seconds(2);
  console.log("kill: before", JSON.stringify(load.report()));
  const killed: number[] = [];
  for (let round = 0; round < 3; round++) {
    const { i, led } = await busiest(killed);
    killed.push(i);
    load.report();
    await cluster.kill(i, pids.get(i));
    await seconds(6);
    const dead = load.report();
    const restartMs = performance.now();
    pids.set(i, await cluster.restart(i));
    await seconds(2);
    const back = load.report();
    await load.quiet();
    expect(load.failures).toEqual([]);
    let last = 0;
    const { slices, nonEmpty } = await until(
      "the registers to be equal",
      async () => {
        const state = await differingSlices(cluster);
        last = state.differing.length;
        return last === 0 ? state : undefined;
      },
      30_000 - (performance.now() - restartMs),
    ).catch((error: unknown) => {
      throw new Error(`${last} slices differ 30 s after the restart`, { cause: error });
    });
    const equalMs = Math.round(performance.now() - restartMs);
    console.log(
      `kill: node ${i} (led ${led} of ${slices} slices) dead ${JSON.stringify(dead)}\n` +
        `      back ${JSON.stringify(back)}, all ${nonEmpty} written slices equal ${equalMs} ms after restart`,
    );
    expect(dead.writes).toBeGreaterThan(0);
    expect(dead.longestGapMs).toBeLessThan(1000);
    expect(back.longestGapMs).toBeLessThan(1000);
    expect(nonEmpty).toBeGreaterThan(0);
    load.run();
  }
  await load.quiet();
  expect(load.failures).toEqual([]);
  const { objects, wrong } = await load.verify(cluster.dev);
  console.log(`kill: ${objects} objects and ${CLIENTS * 24 - objects} absent keys as acknowledged`);
  expect(wrong).toEqual([]);
  expect(objects).toBeGreaterThan(0);
});
