// What disks do: they forget what was not synced, fill up, slow down, rot. What was acknowledged stays.
import { expect, test } from "vitest";
import { inlineBytesMax } from "../../../shared/limits.ts";
import { type PutResult } from "../../../shared/object-service.ts";
import { etagOf, makeBody } from "../bodies.ts";
import { KEY, putOk, Scene } from "../scene.ts";
import { rawPut, requestIdOf } from "./raw-put.ts";

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
