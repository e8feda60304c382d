// Directed schedules: the ones that protocols of this kind get wrong.
import { expect, test } from "vitest";
import { etagOf, makeBody, streamOf } from "./bodies.ts";
import { type Client } from "./client.ts";
import { KEY, Scene } from "./scene.ts";
import { parseRequestId, type RequestId } from "../../shared/ids.ts";
import { inlineBytesMax, operationDeadlineMs } from "../../shared/limits.ts";
import { type ObjectService, type PutResult } from "../../shared/object-service.ts";
import { type Precondition } from "../../shared/records.ts";

/** A put straight at the service, with a request id of the test's choice. */
function rawPut(
  scene: Scene,
  object: ObjectService,
  text: string,
  requestId: RequestId,
  precondition: Precondition = {},
  again = false,
): Promise<PutResult> {
  const { bytes } = makeBody(text, 50);
  const body = { length: bytes.length, encoding: "plain" } as const;
  const described = { headers: {}, metadata: {}, precondition, requestId, again };
  return object.put({ bucket: scene.bucket, key: KEY, body, ...described }, streamOf(bytes));
}

const requestIdOf = (n: number): RequestId => parseRequestId(n.toString(16).padStart(32, "0"));

async function putOk(scene: Scene, client: Client, at: number, key = KEY): Promise<string> {
  const { value, outcome, reason } = await scene.run(client.put(key, 50, { at }));
  expect(outcome, reason).toBe("ok");
  return value;
}

test("a leader that dies with a write only on its own disk leaves the old value standing", async () => {
  const scene = await Scene.open({ syncMs: 5 });
  const { world } = scene;
  const client = scene.client("c");
  const v0 = await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [other, third] = scene.others(leader);
  world.conditions.rules.push((from, _to, kind, name) =>
    from === world.address(leader) && kind === "request" && name === "index.accept"
      ? []
      : undefined,
  );
  void client.put(KEY, 50, { at: leader });
  await world.clock.runFor(50);
  world.crash(leader);
  world.conditions.rules.length = 0;
  expect(await scene.run(client.get(KEY, { at: other! }))).toEqual({ value: v0 });
  const v2 = await putOk(scene, client, third!);
  await world.restart(leader);
  await world.clock.runFor(20_000);
  expect(await scene.readEverywhere()).toEqual([v2, v2, v2]);
  expect(scene.problems()).toEqual([]);
});

test("a leader that dies with a write on one other disk leaves one value for all readers", async () => {
  for (const passed of [0, 1]) {
    const scene = await Scene.open({ syncMs: 5, seed: 10 + passed });
    const { world } = scene;
    const client = scene.client("c");
    await putOk(scene, client, 0);
    const leader = await scene.leader();
    const others = scene.others(leader);
    const reached = others[passed]!;
    world.slowDisk(leader, 1_000);
    world.conditions.rules.push((from, to, kind, name) =>
      from === world.address(leader) &&
      to !== world.address(reached) &&
      kind === "request" &&
      name === "index.accept"
        ? []
        : undefined,
    );
    void client.put(KEY, 50, { at: leader });
    await world.clock.runFor(50);
    world.crash(leader);
    world.conditions.rules.length = 0;
    const first = await scene.run(client.get(KEY, { at: others[0]! }));
    expect(first).toBeDefined();
    const values = await scene.readEverywhere();
    expect(values).toEqual([first!.value, first!.value]);
    await world.heal();
    await world.clock.runFor(20_000);
    expect(new Set(await scene.readEverywhere())).toEqual(new Set([first!.value]));
    expect(scene.problems()).toEqual([]);
  }
});

test("an isolated old leader that clients still reach never answers with an old value", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [other] = scene.others(leader);
  scene.isolate(leader);
  const lost = client.put(KEY, 50, { at: leader });
  const reads = [client.get(KEY, { at: leader })];
  const v1 = await putOk(scene, client, other!);
  reads.push(client.get(KEY, { at: leader }));
  expect((await scene.run(lost)).outcome).toBe("unknown");
  for (const read of reads) expect(await scene.run(read)).toBeUndefined();
  expect(await scene.run(client.get(KEY, { at: other! }))).toEqual({ value: v1 });
  await world.heal();
  await world.clock.runFor(20_000);
  expect(await scene.readEverywhere()).toEqual([v1, v1, v1]);
  expect(scene.problems()).toEqual([]);
});

test("ACCEPTs of a deposed leader that come late change nothing", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  const v0 = await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [other, third] = scene.others(leader);
  const address = world.address(leader);
  world.conditions.rules.push((from, to, kind, name) => {
    if (from === address && kind === "request" && name === "index.accept") return [8_000, 12_000];
    return from === address || to === address ? [] : undefined;
  });
  void client.put(KEY, 50, { at: leader });
  await world.clock.runFor(20);
  expect(await scene.run(client.get(KEY, { at: other! }))).toEqual({ value: v0 });
  const v2 = await putOk(scene, client, third!);
  expect(await scene.run(client.get(KEY, { at: other! }))).toEqual({ value: v2 });
  // The old leader's coordinator gives up after 20 s; until then it may rightly try again elsewhere.
  await world.clock.runFor(30_000);
  world.conditions.rules.length = 0;
  await world.clock.runFor(15_000);
  expect(await scene.readEverywhere()).toEqual([v2, v2, v2]);
  expect(scene.problems()).toEqual([]);
});

test("power lost between write and sync takes the write; power lost after the answer does not", async () => {
  const scene = await Scene.open({ syncMs: 50 });
  const { world } = scene;
  const client = scene.client("c");
  const v0 = await putOk(scene, client, 0);
  const leader = await scene.leader();
  void client.put(KEY, 50, { at: leader });
  await world.clock.runFor(30);
  for (const i of world.up()) world.crash(i);
  await world.heal();
  await world.clock.runFor(5_000);
  expect(await scene.readEverywhere()).toEqual([v0, v0, v0]);

  const v2 = await putOk(scene, client, await scene.leader());
  for (const i of world.up()) world.crash(i);
  await world.heal();
  await world.clock.runFor(5_000);
  expect(await scene.readEverywhere()).toEqual([v2, v2, v2]);
  expect(scene.problems()).toEqual([]);
});

test("an answer lost between nodes is asked for again and the write is done once", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const first = scene.client("c");
  await putOk(scene, first, 0);
  const leader = await scene.leader();
  const [other] = scene.others(leader);
  let lost = 0;
  world.conditions.rules.push((_from, _to, kind, name) =>
    kind === "reply" && name === "index.execute" && lost++ < 1 ? [] : undefined,
  );
  const one = await scene.run(
    world.at(other!, (object) => rawPut(scene, object, "one", requestIdOf(1))),
  );
  expect(lost).toBeGreaterThan(0);
  expect(one.version).toBe(2);
  const two = await scene.run(
    world.at(other!, (object) => rawPut(scene, object, "two", requestIdOf(2))),
  );
  expect(two.version).toBe(3);
});

test("a request that is sent again answers the same and does not undo what came between", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const create = { ifNoneMatch: ["*"] };
  const one = (at: number): Promise<PutResult> =>
    scene.run(world.at(at, (object) => rawPut(scene, object, "one", requestIdOf(1), create)));
  const made = await one(0);
  expect(await one(1)).toEqual(made);
  const two = await scene.run(
    world.at(2, (object) => rawPut(scene, object, "two", requestIdOf(2))),
  );
  expect(await one(2)).toEqual(made);
  world.crash(await scene.leader());
  expect(await one(world.up()[0]!)).toEqual(made);
  const values = await scene.readEverywhere();
  expect(values).toEqual([two.etag, two.etag]);

  const remove = (at: number): Promise<{ existed: boolean }> =>
    scene.run(
      world.at(at, (object) =>
        object.delete({
          bucket: scene.bucket,
          key: KEY,
          precondition: {},
          requestId: requestIdOf(3),
        }),
      ),
    );
  const [a, b] = world.up();
  expect(await remove(a!)).toEqual({ existed: true });
  const three = await scene.run(
    world.at(a!, (object) => rawPut(scene, object, "three", requestIdOf(4))),
  );
  expect(await remove(b!)).toEqual({ existed: true });
  expect(await scene.readEverywhere()).toEqual([three.etag, three.etag]);
});

test("all nodes crash at once and everything acknowledged is there when they come back", async () => {
  const scene = await Scene.open({ nodes: 5, syncMs: 2 });
  const { world } = scene;
  const client = scene.client("c");
  const written = new Map<string, string>();
  for (let n = 0; n < 24; n++) {
    const size = n % 4 === 3 ? inlineBytesMax * 3 : 100;
    const { value, outcome } = await scene.run(client.put(`key ${n}`, size, { at: n % 5 }));
    expect(outcome).toBe("ok");
    written.set(`key ${n}`, value);
  }
  for (const i of world.up()) world.crash(i);
  await world.heal();
  const keys = [...written.keys()];
  for (const [n, key] of keys.entries()) {
    const read = await scene.run(client.get(key, { at: n % 5 }));
    expect(read, key).toEqual({ value: written.get(key) });
  }
  expect(await scene.run(client.list("", 7, keys))).toBe(true);
  expect(scene.problems()).toEqual([]);
});

test("the smaller side of a partition refuses, never answers with old data, and catches up", async () => {
  const scene = await Scene.open({ nodes: 5, copies: 5 });
  const { world } = scene;
  const client = scene.client("c");
  const v0 = await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [second, ...rest] = scene.others(leader);
  const small = [leader, second!];
  expect(await scene.run(client.get(KEY, { at: leader }))).toEqual({ value: v0 });
  world.conditions.cut(world.addresses(small), world.addresses(rest));
  const v1 = await putOk(scene, client, rest[0]!);
  const request = { bucket: scene.bucket, prefix: "", delimiter: "", limit: 10 };
  for (const at of small) {
    const refusals: (() => Promise<unknown>)[] = [
      () => client.get(KEY, { at }),
      async () => ((await client.put(KEY, 50, { at })).outcome === "unknown" ? undefined : "done"),
      () =>
        world
          .at(at, (object) => object.list({ ...request, after: undefined, afterPrefix: false }))
          .catch((error: unknown) => {
            expect(error).toMatchObject({ code: "Unavailable" });
          }),
    ];
    for (const refusal of refusals) {
      const begunMs = world.clock.now;
      expect(await scene.run(refusal())).toBeUndefined();
      expect(world.clock.now - begunMs).toBeLessThan(operationDeadlineMs + 5_000);
    }
  }
  for (const at of rest) expect(await scene.run(client.get(KEY, { at }))).toEqual({ value: v1 });
  await world.heal();
  await world.clock.runFor(30_000);
  expect(new Set(await scene.readEverywhere())).toEqual(new Set([v1]));
  expect(scene.problems()).toEqual([]);
});

test("two nodes that do not see each other are both served through a third", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [blind] = scene.others(leader);
  world.conditions.cut([world.address(leader)], [world.address(blind!)]);
  for (let n = 0; n < 3; n++) {
    const value = await putOk(scene, client, n % 2 === 0 ? blind! : leader);
    expect(await scene.readEverywhere()).toEqual([value, value, value]);
  }
  expect(scene.problems()).toEqual([]);
});

test("a leader that stood still for 30 s does no harm when it wakes", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [other] = scene.others(leader);
  void client.put(KEY, 50, { at: leader });
  await world.clock.runFor(0.5);
  world.pause(leader);
  const asleep = client.get(KEY, { at: leader });
  await putOk(scene, client, other!);
  await world.clock.runFor(29_000);
  const v2 = await putOk(scene, client, other!);
  world.resume(leader);
  const late = await scene.run(asleep);
  if (late) expect(late).toEqual({ value: v2 });
  await world.clock.runFor(20_000);
  expect(new Set(await scene.readEverywhere()).size).toBe(1);
  expect(scene.problems()).toEqual([]);
});

test("a leader that crashed or fell silent stops writes for less than two seconds", async () => {
  const gapsMs: number[] = [];
  for (let seed = 1; seed <= 20; seed++) {
    const scene = await Scene.open({ seed, nodes: 5 });
    const { world } = scene;
    const client = scene.client("c");
    await putOk(scene, client, 0);
    const leader = await scene.leader();
    const at = scene.others(leader)[seed % 4]!;
    if (seed % 2 === 0) world.crash(leader);
    else scene.isolate(leader);
    const begunMs = world.clock.now;
    await putOk(scene, client, at);
    gapsMs.push(world.clock.now - begunMs);
  }
  expect(Math.max(...gapsMs)).toBeLessThan(2_000);
});

test("times of an object never go back when a wall clock does", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  await putOk(scene, scene.client("c"), 0);
  const leader = await scene.leader();
  const put = (n: number): Promise<PutResult> =>
    scene.run(world.at(leader, (object) => rawPut(scene, object, `${n}`, requestIdOf(n))));
  const before = await put(1);
  world.setWall(leader, -3_600_000);
  const after = await put(2);
  expect(after.lastModifiedMs).toBeGreaterThan(before.lastModifiedMs);
  expect(after.etag).toBe(etagOf(makeBody("2", 50).bytes));
});

// The first attempt is late because its coordinator stands still; the client has its answer from the second.
test("a request that was answered without effect has none later", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const slow = 0;
  const request = { bucket: scene.bucket, key: KEY, precondition: {}, requestId: requestIdOf(1) };
  const remove = (at: number): Promise<{ existed: boolean }> =>
    world.at(at, (object) => object.delete(request));
  world.pause(slow);
  const late = remove(slow);
  expect(await scene.run(remove(1))).toEqual({ existed: false });
  const value = await putOk(scene, scene.client("c"), 2);
  world.resume(slow);
  expect(await scene.run(late)).toEqual({ existed: false });
  expect(await scene.readEverywhere()).toEqual([value, value, value]);
});

test("a request that was sent again without effect has none under the next leader", async () => {
  const scene = await Scene.open();
  const { world } = scene;
  const client = scene.client("c");
  const v0 = await putOk(scene, client, 0);
  const leader = await scene.leader();
  const [slow, other] = scene.others(leader);
  const create = { ifNoneMatch: ["*"] };
  const conditional = (at: number, again: boolean): Promise<PutResult> =>
    world.at(at, (object) => rawPut(scene, object, "late", requestIdOf(1), create, again));
  world.pause(slow!);
  const late = conditional(slow!, false);
  const refused = { code: "PreconditionFailed" };
  await expect(scene.run(conditional(other!, true))).rejects.toMatchObject(refused);
  const { bucket } = scene;
  const remove = { bucket, key: KEY, precondition: { ifMatch: [v0] }, requestId: requestIdOf(2) };
  expect(await scene.run(world.at(other!, (object) => object.delete(remove)))).toEqual({
    existed: true,
  });
  world.crash(leader);
  world.resume(slow!);
  await expect(scene.run(late)).rejects.toMatchObject(refused);
  expect(await scene.readEverywhere()).toEqual([undefined, undefined]);
});
