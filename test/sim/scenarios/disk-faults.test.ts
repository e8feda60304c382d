// Disks that fill up, slow down and rot, under clients.
import { expect, test } from "vitest";
import { operationDeadlineMs, pieceBytes } from "../../../shared/limits.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { noteRotten } from "../copies.ts";
import { checkReplicas } from "../liveness.ts";
import { KEY, putOk, Scene } from "../scene.ts";

const LARGE = 3 * pieceBytes;
let flips = 0;

/** The block of the key's present version. */
async function blockOf(scene: Scene): Promise<BlockRef> {
  const request = { bucket: scene.bucket, key: KEY, conditions: {}, headOnly: true };
  const found = await scene.run(scene.world.at(0, (object) => object.get(request)));
  if (found.type !== "object" || found.entry.body.kind !== "blocks")
    throw new Error("Cannot find the block: the object has none");
  return found.entry.body.blocks[0]!;
}

/** Flips a bit of one piece on a node's disk, another one each time. */
function rot(scene: Scene, i: number, { id }: BlockRef, piece: number): void {
  const { disk } = scene.world.machines[i]!;
  disk.corruptBlock(id, piece * pieceBytes + ++flips);
  noteRotten(disk.blocks.get(id)!);
}

// The reader's own disk is the first choice, and its piece is bad in the beginning, in the middle, at the end.
test("bit rot: a bad piece is read from another replica, and no wrong byte is sent", async () => {
  for (const piece of [0, 1, 2]) {
    const scene = await Scene.open({ seed: 1 + piece });
    const client = scene.client("c");
    const { value, outcome } = await scene.run(client.put(KEY, LARGE, { at: 0 }));
    expect(outcome).toBe("ok");
    await scene.world.clock.runFor(1_000);
    const block = await blockOf(scene);
    expect(block.replicas).toHaveLength(3);
    rot(scene, 0, block, piece);
    rot(scene, 1, block, 2 - piece);
    expect(await scene.readEverywhere()).toEqual([value, value, value]);
    // No replica is whole, and still each piece has a good copy.
    rot(scene, 2, block, (piece + 1) % 3);
    expect(await scene.readEverywhere()).toEqual([value, value, value]);
    for (const i of [0, 1, 2]) rot(scene, i, block, 1);
    expect(await scene.readEverywhere()).toEqual(["no answer", "no answer", "no answer"]);
    expect(scene.problems()).toEqual([]);
  }
});

test("disk full: the others serve, and the full node catches up when there is room", async () => {
  for (const whose of ["leader", "other"]) {
    const scene = await Scene.open();
    const { world } = scene;
    const client = scene.client("c");
    await putOk(scene, client, 0);
    const leader = await scene.leader();
    const others = scene.others(leader);
    const full = whose === "leader" ? leader : others[0]!;
    const at = others[1]!;
    world.machines[full]!.fillDisk(true);
    const begunMs = world.clock.now;
    for (let n = 0; n < 5; n++) await putOk(scene, client, at);
    const { value, outcome } = await scene.run(client.put(KEY, LARGE, { at }));
    expect(outcome).toBe("ok");
    expect(world.clock.now - begunMs).toBeLessThan(20_000);
    expect(await scene.readEverywhere()).toEqual([value, value, value]);
    world.machines[full]!.fillDisk(false);
    expect(await checkReplicas(world)).toBeLessThan(60_000);
    const last = await putOk(scene, client, full);
    expect(await scene.readEverywhere()).toEqual([last, last, last]);
    expect(scene.problems()).toEqual([]);
  }
});

// Its write is decided by the other two, and nobody but itself can know that it lacks it.
test("disk full at a leader: it pulls from the others what its own disk refused", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  world.machines[leader]!.fillDisk(true);
  const value = await putOk(scene, client, leader);
  await world.clock.runFor(2_000);
  world.machines[leader]!.fillDisk(false);
  const { leader: still } = world.node(leader).index.view(scene.slice);
  expect(still).toBe(world.id(leader));
  expect(await checkReplicas(world)).toBeLessThan(60_000);
  world.crash(scene.others(leader)[0]!);
  expect(await scene.readEverywhere()).toEqual([value, value]);
  expect(scene.problems()).toEqual([]);
});

test("disk full everywhere: writes are refused, reads served, nothing acknowledged is lost", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  const value = await putOk(scene, client, 0);
  await scene.leader();
  for (const machine of world.machines) machine.fillDisk(true);
  for (const size of [50, LARGE]) {
    const begunMs = world.clock.now;
    const put = await scene.run(client.put(KEY, size, { at: 1 }));
    expect(put.outcome).toBe("unknown");
    expect(world.clock.now - begunMs).toBeLessThan(operationDeadlineMs + 5_000);
  }
  expect(await scene.readEverywhere()).toEqual([value, value, value]);
  for (const machine of world.machines) machine.fillDisk(false);
  await world.clock.runFor(5_000);
  const next = await putOk(scene, client, 2);
  expect(await scene.readEverywhere()).toEqual([next, next, next]);
  expect(scene.problems()).toEqual([]);
});

test("slow disk: writes go at the pace of the other two, and the slow one holds them in the end", async () => {
  for (const whose of ["leader", "other"]) {
    const scene = await Scene.open({ syncMs: 5 });
    const { world } = scene;
    const client = scene.client("c");
    await putOk(scene, client, 0);
    const leader = await scene.leader();
    const others = scene.others(leader);
    world.slowDisk(whose === "leader" ? leader : others[0]!, 1_000);
    const at = others[1]!;
    for (let n = 0; n < 10; n++) {
      const begunMs = world.clock.now;
      await putOk(scene, client, at);
      expect(world.clock.now - begunMs, `${whose}, put ${n}`).toBeLessThan(1_000);
    }
    for (const machine of world.machines) machine.slowDisk(1);
    expect(await checkReplicas(world)).toBeLessThan(60_000);
    expect(new Set(await scene.readEverywhere()).size).toBe(1);
    expect(scene.problems()).toEqual([]);
  }
});
