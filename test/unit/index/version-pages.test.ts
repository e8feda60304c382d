// What is kept in memory of a slice says what the disk says, after every write, and spares reading it.
import { beforeEach, expect, test, vi } from "vitest";
import { encodeRow, metaRow, registerRow } from "../../../node/index/rows.ts";
import { SliceStates } from "../../../node/index/slice-states.ts";
import { listVersions } from "../../../node/index/stored-registers.ts";
import { registerKey } from "../../../node/index/types.ts";
import { type StoreWrite } from "../../../node/ports.ts";
import { parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { syncRowsMax } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot, makeVersion } from "../../../shared/versions.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { HeldStore, turn } from "./held-store.ts";
import { BUCKET } from "./index-cluster.ts";

const A = voterIdOf(parseNodeId("1".repeat(32)), parseFolderId("1".repeat(16)));
const view = { epoch: 1, members: [A] };
const ballot = makeBallot(1, 1, A);
const SLICE = 3 as Slice;
const keyOf = (name: string) => registerKey("object", BUCKET, name);

let store: HeldStore;
let states: SliceStates;

beforeEach(() => {
  store = new HeldStore();
  states = new SliceStates({ store, voter: A, viewOf: () => view });
});

const put = (slice: Slice, name: string, sequence: number): StoreWrite => ({
  key: registerRow(slice, keyOf(name)),
  value: encodeRow(makeVersion(ballot, sequence), "value"),
});
const remove = (slice: Slice, name: string): StoreWrite => ({
  key: registerRow(slice, keyOf(name)),
  value: undefined,
});
const write = (slice: Slice, ...writes: StoreWrite[]) => states.write(writes, [states.of(slice)]);

test("after any writes, durable or refused, it is what the disk says", async () => {
  const chance = new SeededChance(1);
  const slices = [0, 1, 0xabc] as Slice[];
  // In the order of UTF-8 the last one follows the one before it, in that of JavaScript it precedes it.
  const names = ["a", "b", "c", "d", "\uffee", "\u{1f980}"];
  for (let round = 0; round < 600; round++) {
    const slice = slices[chance.below(slices.length)]!;
    const name = (): string => names[chance.below(names.length)]!;
    const one = (): StoreWrite =>
      chance.below(3) === 0 ? remove(slice, name()) : put(slice, name(), round);
    const writes = [
      write(slice, one()),
      write(slice, one(), { key: metaRow(slice), value: undefined }),
    ];
    const reading = chance.below(2) === 0 ? states.versions(slice, "") : undefined;
    if (chance.below(5) === 0) await store.refuse();
    else await store.sync();
    await Promise.allSettled([...writes, reading]);
    for (const each of slices)
      expect(await states.versions(each, "")).toEqual(await listVersions(store, each, ""));
  }
});

test("a slice that was read is not read again, written or not", async () => {
  await states.versions(SLICE, "");
  const range = vi.spyOn(store, "range");
  void write(SLICE, put(SLICE, "a", 1));
  await store.sync();
  expect((await states.versions(SLICE, "")).rows).toHaveLength(1);
  expect(states.knownVersions(SLICE)?.rows).toHaveLength(1);
  expect(range).not.toHaveBeenCalled();
});

test("who asks while a slice is read shares that; a write meanwhile is not missed", async () => {
  const range = vi.spyOn(store, "range");
  const pages = Promise.all([states.versions(SLICE, ""), states.versions(SLICE, "")]);
  void write(SLICE, put(SLICE, "a", 1));
  await pages;
  expect(range).toHaveBeenCalledTimes(1);
  expect(states.knownVersions(SLICE)).toBeUndefined();
  await store.sync();
  expect((await states.versions(SLICE, "")).rows).toHaveLength(1);
});

test("a page that was handed out does not change", async () => {
  const before = await states.versions(SLICE, "");
  void write(SLICE, put(SLICE, "a", 1));
  await store.sync();
  expect(before.rows).toEqual([]);
});

test("a slice that grows beyond a page is read again, and its first page is as full as one may be", async () => {
  await states.versions(SLICE, "");
  const many = Array.from({ length: syncRowsMax }, (_, i) => put(SLICE, `b${String(i)}`, 1));
  void write(SLICE, ...many);
  await store.sync();
  expect(states.knownVersions(SLICE)?.rows).toHaveLength(syncRowsMax);
  void write(SLICE, put(SLICE, "a", 1));
  await store.sync();
  await turn();
  expect(states.knownVersions(SLICE)).toBeUndefined();
  const { rows, more } = await states.versions(SLICE, "");
  expect([rows.length, more, rows[0]!.key]).toEqual([syncRowsMax, true, keyOf("a")]);
  void write(SLICE, put(SLICE, "a", 2), put(SLICE, "c", 1));
  await store.sync();
  expect(states.knownVersions(SLICE)?.more).toBe(true);
  const again = await states.versions(SLICE, "");
  expect([again.rows[0]!.version, again.more]).toEqual([makeVersion(ballot, 2), true]);
});
