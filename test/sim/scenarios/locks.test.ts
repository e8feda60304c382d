// The paper's write under a lock, on whole nodes: its turns, its leases and what a late holder is told.
import { expect, test } from "vitest";
import { streamOf } from "../bodies.ts";
import { KEY, Scene } from "../scene.ts";
import { type RingstowNode } from "../../../node/compose.ts";
import { objectAddress } from "../../../node/object/addresses.ts";
import { writeHeldDraft } from "../../../node/object/native-draft.ts";
import { parseRequestId } from "../../../shared/ids.ts";
import { checkerMs, inlineBytesMax } from "../../../shared/limits.ts";
import { type Begin } from "../../../shared/native-service.ts";
import { collect } from "../../../shared/body-stream.ts";

type Granted = Extract<Begin, { state: "granted" }>;
let requests = 0;
const fresh = () => parseRequestId((++requests).toString(16).padStart(32, "0"));

class Writers {
  readonly scene: Scene;

  constructor(scene: Scene) {
    this.scene = scene;
  }

  get on() {
    return { bucket: this.scene.bucket, key: KEY };
  }

  node(i: number): RingstowNode {
    return this.scene.world.node(i) as RingstowNode;
  }

  begin(at: number, leaseMs = 10_000, requestId = fresh()): Promise<Begin> {
    const { object } = this.node(at);
    const client = {};
    return this.scene.run(
      object.beginWrite({ ...this.on, holder: "w", leaseMs, requestId, client }),
    );
  }

  async granted(at: number, leaseMs?: number, requestId = fresh()): Promise<Granted> {
    const begin = await this.begin(at, leaseMs, requestId);
    if (begin.state !== "granted") throw new Error(`Queued at place ${begin.place}`);
    return begin;
  }

  write({ node, block, fence }: Granted, text: string, offset = 0): Promise<number> {
    const { index, data } = this.node(this.scene.world.numberOf(node.id));
    const { sliceBits } = this.scene.world.genesis;
    const grant = { type: "write", node: node.id, block, untilMs: 0, ...this.on, fence } as const;
    const body = streamOf(new TextEncoder().encode(text));
    return this.scene.run(writeHeldDraft({ index, data, sliceBits }, grant, offset, body));
  }

  finish(at: number, { node, block, fence }: Granted) {
    const { object } = this.node(at);
    const named = { fence, node: node.id, block, requestId: fresh() };
    return this.scene.run(object.finishWrite({ ...this.on, ...named }));
  }

  async text(at: number): Promise<string> {
    const result = await this.scene.run(
      this.node(at).object.get({ ...this.on, conditions: {}, headOnly: false }),
    );
    if (result.type !== "object") throw new Error(result.type);
    return new TextDecoder().decode(await this.scene.run(collect(result.body, 100_000)));
  }

  lookup(at: number) {
    return this.scene.run(this.node(at).object.lookup({ ...this.on, client: {} }));
  }
}

const open = async () => new Writers(await Scene.open());
const TOO_OLD = { code: "FenceTooOld" };

test("a native write is read back by every node, its replicas equal and the lock open", async () => {
  const writers = await open();
  const grant = await writers.granted(0);
  expect(await writers.write(grant, "hello world")).toBe(11);
  await writers.write(grant, "W", 6);
  const { version } = await writers.finish(1, grant);
  await writers.scene.world.clock.runFor(5_000);
  const { chain } = await writers.lookup(2);
  expect(chain.lock).toBeUndefined();
  const { body } = chain.entries[0]!;
  const pointers = body.kind === "blocks" ? body.blocks.flatMap((one) => one.replicas) : [];
  expect(pointers.map((one) => one.version)).toEqual([version, version, version]);
  for (const i of [0, 1, 2]) expect(await writers.text(i)).toBe("hello World");
  expect(writers.scene.problems()).toEqual([]);
});

test("the second writer waits for its turn, and asking twice changes nothing", async () => {
  const writers = await open();
  const [first, second, third] = [fresh(), fresh(), fresh()];
  const grant = await writers.granted(0, 10_000, first);
  expect(await writers.begin(1, 10_000, second)).toEqual({ state: "queued", place: 0 });
  expect(await writers.begin(2, 10_000, third)).toEqual({ state: "queued", place: 1 });
  expect(await writers.begin(2, 10_000, second)).toEqual({ state: "queued", place: 0 });
  expect((await writers.granted(1, 10_000, first)).fence).toBe(grant.fence);
  const unlock = { ...writers.on, fence: grant.fence, requestId: fresh() };
  await writers.scene.run(writers.node(0).object.unlock(unlock));
  await writers.scene.run(writers.node(0).object.unlock(unlock));
  expect((await writers.granted(2, 10_000, second)).fence).toBe(grant.fence + 1);
  expect(await writers.begin(0, 10_000, third)).toEqual({ state: "queued", place: 0 });
});

test("a holder past its lease is refused at every step, and the next writer's bytes stand", async () => {
  const writers = await open();
  const late = await writers.granted(0, 1_000);
  await writers.write(late, "late");
  await writers.scene.world.clock.runFor(5_000);
  const next = await writers.granted(1);
  expect(next.fence).toBeGreaterThan(late.fence);
  await expect(writers.write(late, "later")).rejects.toMatchObject(TOO_OLD);
  await expect(writers.finish(0, late)).rejects.toMatchObject(TOO_OLD);
  const { object } = writers.node(0);
  const { fence } = late;
  await expect(
    writers.scene.run(object.renewWrite({ ...writers.on, fence })),
  ).rejects.toMatchObject(TOO_OLD);
  await expect(
    writers.scene.run(object.unlock({ ...writers.on, fence, requestId: fresh() })),
  ).rejects.toMatchObject(TOO_OLD);
  await writers.write(next, "next");
  await writers.finish(1, next);
  expect(await writers.text(0)).toBe("next");
});

test("a lock that nobody asks for ends after its leader died: the next leader restarts the lease", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const other = scene.others(leader)[0]!;
  await writers.granted(other, 10_000);
  scene.world.crash(leader);
  await scene.world.clock.runFor(20_000);
  // Somebody asks for another name of the slice: it gets a leader, which has not seen the lock.
  const { slice, key } = objectAddress(scene.bucket, KEY, scene.world.genesis.sliceBits);
  const neighbour = { slice, key: `${key}x` as typeof key };
  await scene.run(writers.node(other).index.read(neighbour, { body: false }));
  await scene.world.clock.runFor(2 * checkerMs + 20_000);
  expect((await writers.lookup(other)).chain.lock).toBeUndefined();
});

// ---------------------------------------------------------------- protocol scenarios, by name

const BIG = "x".repeat(inlineBytesMax + 1);

/** Every message of a call arrives twice, the copy so much later. */
function twice(scene: Scene, name: string, laterMs: number): void {
  scene.world.conditions.rules.push((_from, _to, kind, call) =>
    kind === "request" && call === name ? [1, laterMs] : undefined,
  );
}

test("holder paused past its lease wakes and writes: nothing of it is published", async () => {
  const writers = await open();
  const { world } = writers.scene;
  const grant = await writers.granted(0, 2_000);
  const asleep = world.numberOf(grant.node.id);
  await writers.write(grant, "late");
  // Its coordinator and the draft's node stand still in the middle of the finish.
  const finishing = writers.node(asleep).object.finishWrite({
    ...writers.on,
    fence: grant.fence,
    node: grant.node.id,
    block: grant.block,
    requestId: fresh(),
  });
  const late = finishing.then(
    () => "published",
    (error: { code: string }) => error.code,
  );
  await world.clock.runFor(0.5);
  world.pause(asleep);
  await world.clock.runFor(15_000);
  const other = writers.scene.others(asleep)[0]!;
  const next = await writers.granted(other);
  expect(next.fence).toBeGreaterThan(grant.fence);
  await writers.write(next, "next");
  await writers.finish(other, next);
  world.resume(asleep);
  expect(await writers.scene.run(late)).toBe("FenceTooOld");
  await expect(writers.write(grant, "later")).rejects.toMatchObject(TOO_OLD);
  for (const i of world.up()) expect(await writers.text(i)).toBe("next");
  expect(writers.scene.problems()).toEqual([]);
});

test("leader change with a half-expired lease: the holder is given the full lease again, and no more", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const [other, third] = scene.others(leader);
  const grant = await writers.granted(other!, 10_000);
  await scene.world.clock.runFor(5_000);
  scene.world.crash(leader);
  const waiter = fresh();
  expect(await writers.begin(third!, 10_000, waiter)).toMatchObject({ state: "queued" });
  await scene.world.clock.runFor(9_000);
  expect(await writers.begin(third!, 10_000, waiter)).toMatchObject({ state: "queued" });
  await writers.write(grant, "in time");
  await scene.world.clock.runFor(2_000);
  expect(await writers.begin(third!, 10_000, waiter)).toMatchObject({
    state: "granted",
    fence: grant.fence + 1,
  });
});

test("clock jump of an hour, drift 1 %: leases are as long as ever", async () => {
  for (const seed of [1, 2, 3]) {
    const writers = new Writers(await Scene.open({ seed, driftPpm: 10_000 }));
    const { world } = writers.scene;
    const grant = await writers.granted(0, 10_000);
    const begunMs = world.clock.now;
    const waiter = fresh();
    expect(await writers.begin(1, 10_000, waiter)).toMatchObject({ state: "queued" });
    for (const i of world.up()) world.setWall(i, i % 2 === 0 ? 3_600_000 : -3_600_000);
    await world.clock.run(begunMs + 9_800);
    await writers.write(grant, "in time");
    expect(await writers.begin(1, 10_000, waiter)).toMatchObject({ state: "queued" });
    await world.clock.run(begunMs + 10_200);
    expect(await writers.begin(1, 10_000, waiter)).toMatchObject({ fence: grant.fence + 1 });
  }
});

test("FIFO across a leader change", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const [one, two] = scene.others(leader);
  const grant = await writers.granted(one!, 60_000);
  const waiting = [fresh(), fresh(), fresh(), fresh()];
  for (const [place, id] of waiting.entries())
    expect(await writers.begin(place % 2 === 0 ? one! : two!, 60_000, id)).toMatchObject({ place });
  scene.world.crash(leader);
  let { fence } = grant;
  for (const id of waiting) {
    const unlock = { ...writers.on, fence, requestId: fresh() };
    await scene.run(writers.node(two!).object.unlock(unlock));
    // Asked from the back: nobody behind the head is granted anything.
    for (const other of waiting.slice(waiting.indexOf(id) + 1).toReversed())
      expect(await writers.begin(one!, 60_000, other)).toMatchObject({ state: "queued" });
    fence = (await writers.granted(one!, 60_000, id)).fence;
  }
  expect(fence).toBe(grant.fence + waiting.length);
});

test("duplicate ACQUIRE and RELEASE: copies that come late change nothing", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const [one, two] = scene.others(leader);
  twice(scene, "index.execute", 4_000);
  const ids = [fresh(), fresh(), fresh()];
  const first = await writers.granted(one!, 60_000, ids[0]);
  expect(await writers.begin(two!, 60_000, ids[1])).toMatchObject({ place: 0 });
  const unlock = (fence: number) =>
    scene.run(writers.node(one!).object.unlock({ ...writers.on, fence, requestId: fresh() }));
  await unlock(first.fence);
  const second = await writers.granted(two!, 60_000, ids[1]);
  await unlock(second.fence);
  const third = await writers.granted(one!, 60_000, ids[2]);
  expect([second.fence, third.fence]).toEqual([first.fence + 1, first.fence + 2]);
  // The copies of the first ACQUIREs and RELEASEs arrive while the third holds the lock.
  await scene.world.clock.runFor(10_000);
  const { chain } = await writers.lookup(two!);
  expect(chain.lock?.fence).toBe(third.fence);
  expect(chain.queue).toEqual([]);
  await unlock(third.fence);
  await scene.world.clock.runFor(10_000);
  expect((await writers.lookup(two!)).chain.lock).toBeUndefined();
  expect((await writers.granted(one!)).fence).toBe(third.fence + 1);
});

test("waiter dies at the head: its lease ends and the next one is granted", async () => {
  const writers = await open();
  const { scene } = writers;
  const holder = await writers.granted(0, 60_000);
  await writers.begin(1, 5_000, fresh()); // never asks again
  const next = fresh();
  expect(await writers.begin(2, 60_000, next)).toMatchObject({ place: 1 });
  const unlock = { ...writers.on, fence: holder.fence, requestId: fresh() };
  await scene.run(writers.node(0).object.unlock(unlock));
  expect(await writers.begin(2, 60_000, next)).toMatchObject({ place: 0 });
  await scene.world.clock.runFor(5_500);
  expect(await writers.granted(2, 60_000, next)).toMatchObject({ fence: holder.fence + 2 });
});

test("CANCEL races grant: whatever comes first, the lock is never held by who left", async () => {
  for (let offsetMs = 0; offsetMs <= 6; offsetMs++) {
    const writers = await open();
    const { scene } = writers;
    const holder = await writers.granted(0, 60_000);
    const leaver = fresh();
    const next = fresh();
    await writers.begin(1, 60_000, leaver);
    await writers.begin(2, 60_000, next);
    const unlock = { ...writers.on, fence: holder.fence, requestId: fresh() };
    const unlocking = writers.node(0).object.unlock(unlock);
    await scene.world.clock.runFor(offsetMs);
    const leaving = writers.node(1).object.cancelWrite({ ...writers.on, requestId: leaver });
    await scene.run(Promise.all([unlocking, leaving]));
    expect((await writers.granted(2, 60_000, next)).fence).toBeGreaterThan(holder.fence);
    await expect(writers.begin(1, 60_000, leaver)).rejects.toMatchObject(TOO_OLD);
    expect((await writers.lookup(0)).chain.queue).toEqual([]);
  }
});

test("CANCEL overtakes its ACQUIRE: the one that comes late takes no place", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const [far, near] = scene.others(leader);
  const { world } = scene;
  world.conditions.rules.push((from, _to, kind, name) =>
    kind === "request" && name === "index.execute" && from === world.address(far!)
      ? [1_200]
      : undefined,
  );
  const requestId = fresh();
  const begin = { ...writers.on, holder: "w", leaseMs: 60_000, requestId, client: {} };
  const late = writers.node(far!).object.beginWrite(begin);
  const refused = expect(late).rejects.toMatchObject(TOO_OLD);
  await world.clock.runFor(100);
  await scene.run(writers.node(near!).object.cancelWrite({ ...writers.on, requestId }));
  await world.clock.runFor(30_000);
  await refused;
  expect((await writers.lookup(near!)).chain).toMatchObject({ lock: undefined, queue: [] });
});

test("lost reply then retry: one grant, one version, told as they were", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const [one, two] = scene.others(leader);
  const { rules } = scene.world.conditions;
  let lost = 0;
  rules.push((_from, _to, kind, name) =>
    kind === "reply" && name === "index.execute" && lost++ % 2 === 0 ? [] : undefined,
  );
  const id = fresh();
  const grant = await writers.granted(one!, 60_000, id);
  expect((await writers.granted(two!, 60_000, id)).fence).toBe(grant.fence);
  await writers.write(grant, "first");
  const { fence, block } = grant;
  const finish = { ...writers.on, fence, block, node: grant.node.id, requestId: fresh() };
  const finished = await scene.run(writers.node(one!).object.finishWrite(finish));
  rules.length = 0;
  expect(lost).toBeGreaterThan(2);
  expect(finished.version).toBe(1);
  const next = await writers.granted(two!, 60_000);
  await writers.write(next, "second");
  await writers.finish(two!, next);
  // The answer was lost on the way to the client, and its version is replaced by now.
  const again = await scene.run(writers.node(two!).object.finishWrite(finish));
  expect(again).toMatchObject({ version: 1, etag: finished.etag, size: 5, unlocked: true });
  expect(await writers.text(one!)).toBe("second");
  expect(scene.problems()).toEqual([]);
});

test("a holder whose lease ends while its finish is published is told that it is", async () => {
  const writers = await open();
  const { scene } = writers;
  const leader = await scene.leader();
  const [at, gone] = scene.others(leader);
  // With one other node left there is nothing to wait for between the publication and the release.
  scene.world.crash(gone!);
  await scene.world.clock.runFor(10_000);
  const grant = await writers.granted(at!, 2_000);
  await writers.write(grant, "in time");
  // The release is on its way for longer than the lease lasts.
  let executed = 0;
  scene.world.conditions.rules.push((_from, _to, kind, name) =>
    kind === "request" && name === "index.execute" && ++executed >= 2 ? [1_400] : undefined,
  );
  await scene.world.clock.runFor(1_000);
  const finished = await writers.finish(at!, grant);
  expect(executed).toBeGreaterThan(1);
  expect(finished).toMatchObject({ version: 1, unlocked: true });
  expect(await writers.text(at!)).toBe("in time");
});

test("a replica that stood still during the write gets no reader until it is repaired", async () => {
  const writers = await open();
  const { scene } = writers;
  const { world } = scene;
  const first = await writers.granted(0);
  await writers.write(first, BIG);
  await writers.finish(0, first);
  const grant = await writers.granted(0, 3_000);
  const asleep = world.up().find((i) => world.id(i) !== grant.node.id && i !== 0)!;
  await writers.write(grant, "NEW");
  world.pause(asleep);
  const finished = await writers.finish(0, grant);
  const behind = () =>
    writers.lookup(0).then(({ chain: { entries } }) => {
      const { body } = entries[0]!;
      const all = body.kind === "blocks" ? body.blocks[0]!.replicas : [];
      return all.filter(({ version }) => version < finished.version).map(({ node }) => node);
    });
  expect(await behind()).toEqual([world.id(asleep)]);
  await world.clock.runFor(5_000);
  expect((await writers.lookup(0)).best[0]!.node.id).not.toBe(world.id(asleep));
  expect(await writers.text(0)).toBe(`NEW${BIG.slice(3)}`);
  world.resume(asleep);
  await world.clock.runFor(60_000);
  expect(await behind()).toEqual([]);
  expect(await writers.text(asleep)).toBe(`NEW${BIG.slice(3)}`);
  expect(scene.problems()).toEqual([]);
});
