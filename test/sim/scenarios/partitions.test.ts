// Links that are cut: who sees a majority is served, who does not is refused, and nobody is told old news.
import { expect, test } from "vitest";
import { operationDeadlineMs } from "../../../shared/limits.ts";
import { KEY, putOk, Scene } from "../scene.ts";

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
