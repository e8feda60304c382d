// A member that swallows what it is sent: whoever waits for it goes on to another one after 300 ms and a round trip,
// where another one can answer; and a leader that is only slow stays the leader.
import { expect, test } from "vitest";
import { callTimeoutMs } from "../../../shared/limits.ts";
import { KEY, putOk, Scene } from "../scene.ts";

/** 300 ms, a question and an operation, with some room: a message takes 1 ms, a sync as well. */
const hedgedWithinMs = callTimeoutMs + 25;

/** Five nodes; the key's leader fell silent, another was elected, and node `z` has not heard of either. */
async function afterSilentElection() {
  const scene = await Scene.open({ nodes: 5 });
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const old = await scene.leader();
  const { members } = scene.view(old);
  const z = scene.others(old).find((i) => !members.includes(i))!;
  await putOk(scene, client, z); // Z knows who leads
  const elector = members.find((i) => i !== old)!;
  const address = world.address(old);
  // Only calls of the index are lost: the failure detector has nothing to find.
  world.conditions.rules.push((from, to, _kind, name) =>
    (from === address || to === address) && name.startsWith("index.") ? [] : undefined,
  );
  const value = await putOk(scene, client, elector);
  expect(world.node(z).index.view(scene.slice).leader).toBe(world.id(old));
  const took = async (work: Promise<unknown>): Promise<number> => {
    const begunMs = world.clock.now;
    await scene.run(work);
    return world.clock.now - begunMs;
  };
  return { scene, world, client, z, value, took };
}

test("a write goes to the member that leads 300 ms after it was sent to a silent one", async () => {
  const { scene, client, z, took } = await afterSilentElection();
  const ms = await took(putOk(scene, client, z));
  expect(ms).toBeGreaterThanOrEqual(callTimeoutMs);
  expect(ms).toBeLessThan(hedgedWithinMs);
  expect(await took(putOk(scene, client, z))).toBeLessThan(25);
  expect(scene.problems()).toEqual([]);
});

test("a read and a list do not wait longer for a silent member", async () => {
  const { scene, world, client, z, value, took } = await afterSilentElection();
  const read = client.get(KEY, { at: z });
  expect(await took(read)).toBeLessThan(hedgedWithinMs);
  expect(await read).toEqual({ value });
  const request = { bucket: scene.bucket, prefix: "", delimiter: "", limit: 10 };
  const listed = world.at(z, (object) =>
    object.list({ ...request, after: undefined, afterPrefix: false }),
  );
  // A read by the leader, which is not known yet, may follow where the silent member was behind.
  expect(await took(listed)).toBeLessThan(2 * hedgedWithinMs);
  expect((await listed).entries.map(({ key }) => key)).toEqual([KEY]);
  expect(scene.problems()).toEqual([]);
});

test("a leader whose disk is slow is waited for: nobody campaigns against it", async () => {
  const scene = await Scene.open({ nodes: 5, syncMs: 1 });
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const z = scene.others(leader).find((i) => !scene.view(leader).members.includes(i))!;
  await putOk(scene, client, z);
  for (const i of world.up()) world.slowDisk(i, 700);
  const { campaigns } = world.elections;
  const begunMs = world.clock.now;
  await scene.run(
    Promise.all(Array.from({ length: 5 }, (_, i) => putOk(scene, client, z, `${KEY} ${i}`))),
  );
  expect(world.clock.now - begunMs).toBeGreaterThan(2 * callTimeoutMs);
  expect(world.elections.campaigns).toBe(campaigns);
  expect(await scene.leader()).toBe(leader);
  expect(scene.problems()).toEqual([]);
});
