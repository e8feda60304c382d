// How the number of copies is decided, and who knows it then without being told by gossip.
import { beforeEach, describe, expect, test } from "vitest";
import { SYSTEM_SETTINGS } from "../../../shared/records.ts";
import { sliceOfShard } from "../../../shared/slices.ts";
import { IndexCluster, type IndexNode } from "./index-cluster.ts";

let c: IndexCluster;
const slice = sliceOfShard(SYSTEM_SETTINGS, 0, 4);

beforeEach(async () => {
  c = new IndexCluster(5);
  c.serve();
  await c.start();
  await c.clock.runFor(3_000);
});

const leader = (): IndexNode =>
  c.nodes.find(
    (node) => node.index.view(slice).leader === node.id && c.network.find(node.address),
  )!;
const outsiders = (): IndexNode[] => {
  const { members } = c.nodes[0]!.index.view(slice);
  return c.nodes.filter(({ id }) => !members.includes(id));
};
const known = (node: IndexNode) => c.settings.get(node.id);

describe("setCopies", () => {
  test("is known to the one that asked and to the leader once it is answered", async () => {
    const [asked] = outsiders();
    const setting = await c.wait(asked!.index.setCopies(5, c.requestId()));
    expect(setting).toEqual({ version: 1, copies: 5 });
    expect([...c.settings]).toEqual([
      [leader().id, setting],
      [asked!.id, setting],
    ]);
    const next = await c.wait(leader().index.setCopies(3, c.requestId()));
    expect(next).toEqual({ version: 2, copies: 3 });
    expect(known(leader())).toEqual(next);
  });

  test("of changes that race each has its own version, and the register has the latest", async () => {
    const race = c.nodes.map((node, i) => node.index.setCopies(i % 2 === 0 ? 5 : 1, c.requestId()));
    const settings = await c.wait(Promise.all(race));
    const byVersion = new Map(settings.map(({ version, copies }) => [version, copies]));
    for (const { version, copies } of settings) expect(byVersion.get(version)).toBe(copies);
    expect(byVersion.size).toBeGreaterThan(1);
    const latest = Math.max(...byVersion.keys());
    expect(known(leader())).toEqual({ version: latest, copies: byVersion.get(latest) });
  });

  test("whoever leads next has read it, when all who knew it are gone", async () => {
    const [asked] = outsiders();
    const setting = await c.wait(asked!.index.setCopies(5, c.requestId()));
    const former = leader();
    for (const node of [former, asked!]) c.crash(c.nodes.indexOf(node));
    c.settings.clear();
    await c.clock.runFor(5_000);
    expect(leader()).not.toBe(former);
    expect([...c.settings]).toEqual([[leader().id, setting]]);
  });

  test("goes beyond a version that is known where it is asked", async () => {
    const [asked] = outsiders();
    c.settings.set(asked!.id, { version: 6, copies: 5 });
    expect(await c.wait(asked!.index.setCopies(5, c.requestId()))).toEqual({
      version: 7,
      copies: 5,
    });
  });
});
