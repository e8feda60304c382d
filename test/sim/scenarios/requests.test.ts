// One request that arrives twice, late, or whose answer was lost: it is done once, and answered the same.
import { expect, test } from "vitest";
import { type PutResult } from "../../../shared/object-service.ts";
import { KEY, putOk, Scene } from "../scene.ts";
import { rawPut, requestIdOf } from "./raw-put.ts";

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
