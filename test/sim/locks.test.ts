// The paper's write under a lock, on whole nodes: its turns, its leases and what a late holder is told.
import { expect, test } from "vitest";
import { streamOf } from "./bodies.ts";
import { KEY, Scene } from "./scene.ts";
import { type RingstowNode } from "../../node/compose.ts";
import { objectAddress } from "../../node/object/addresses.ts";
import { writeHeldDraft } from "../../node/object/native-draft.ts";
import { parseRequestId } from "../../shared/ids.ts";
import { checkerMs } from "../../shared/limits.ts";
import { type Begin } from "../../shared/native-service.ts";
import { collect } from "../../shared/body-stream.ts";

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
    return new TextDecoder().decode(await this.scene.run(collect(result.body, 1_000)));
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
