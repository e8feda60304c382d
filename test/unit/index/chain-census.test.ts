// Counts and digests of a slice from its replica: what they see, and when they may be kept.
import { beforeEach, describe, expect, test } from "vitest";
import { EMPTY_CHAIN } from "../../../node/index/types.ts";
import { ChainCensus } from "../../../node/index/chain-census.ts";
import { encodeState } from "../../../node/index/register-state.ts";
import { Replica } from "../../../node/index/replica.ts";
import { SliceDigests } from "../../../node/index/slice-digests.ts";
import { type Chain, type RegisterValue, registerKey, viewKey } from "../../../node/index/types.ts";
import { nodeDigest } from "../../../node/runtime/node-digest.ts";
import {
  type BlockId,
  type NodeId,
  type UploadId,
  parseFolderId,
  parseNodeId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { garbageDelayMs } from "../../../shared/limits.ts";
import { type BlockRef, type BodyRef } from "../../../shared/records.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot, makeVersion } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { HeldStore, turn } from "./held-store.ts";
import { BUCKET } from "./index-cluster.ts";

const SLICE = 2 as Slice;
const voter = voterIdOf(parseNodeId("1".repeat(32)), parseFolderId("1".repeat(16)));
const ballot = makeBallot(1, 1, voter);
const nodes = ["a", "b", "c"].map((digit) => parseNodeId(digit.repeat(32)));

let store: HeldStore;
let replica: Replica;
let census: ChainCensus;
let clock: VirtualClock;
let sequence = 0;

beforeEach(() => {
  store = new HeldStore();
  clock = new VirtualClock();
  const view = { epoch: 1, members: [voter] };
  replica = new Replica({ store, voter, viewOf: () => view });
  census = new ChainCensus(store, replica, clock);
});

const block = (id: string, on: NodeId[]): BlockRef => ({
  id: id.repeat(32) as BlockId,
  size: 1,
  replicas: on.map((node) => ({ node, version: 1 })),
});

function chainOf(body: BodyRef, more: Partial<Chain> = {}): RegisterValue {
  const entry = {
    headers: {},
    metadata: {},
    size: 1,
    etag: "e",
    body,
    version: 1,
    lastModifiedMs: 1,
  };
  return { kind: "object", chain: { ...EMPTY_CHAIN, version: 1, entries: [entry], ...more } };
}

const partOf = (...blocks: BlockRef[]): RegisterValue => ({
  kind: "part",
  part: { size: 1, etag: "e", lastModifiedMs: 1, body: { kind: "blocks", blocks } },
});

function accept(kind: "object" | "part", name: string, value: RegisterValue | undefined) {
  const register = {
    key: registerKey(kind, BUCKET, name),
    version: makeVersion(ballot, ++sequence),
    value: encodeState({ value, answered: [] }),
  };
  return replica.accept(SLICE, ballot, [register]);
}

async function put(kind: "object" | "part", name: string, value: RegisterValue | undefined) {
  const done = accept(kind, name, value);
  await store.sync();
  await done;
}

describe("ChainCensus", () => {
  test("counts live chains, and blocks of chains and parts that too few live nodes hold", async () => {
    await put("object", "whole", chainOf({ kind: "blocks", blocks: [block("1", nodes)] }));
    await put("object", "half", chainOf({ kind: "blocks", blocks: [block("2", nodes.slice(1))] }));
    await put("object", "inline", chainOf({ kind: "inline" }));
    await put("object", "gone", { kind: "object", chain: EMPTY_CHAIN });
    const uploadId = "f".repeat(32) as UploadId;
    await put("object", "parts", chainOf({ kind: "parts", uploadId, parts: [] }));
    await put("part", "one", partOf(block("3", nodes), block("4", nodes.slice(0, 2))));
    await put("part", "deleted", undefined);
    expect(await census.chains(SLICE)).toBe(4);
    const counts = (copies: number, live = nodes) =>
      census.replication(SLICE, { copies, live: new Set(live) });
    const few = async (copies: number, live = nodes) => (await counts(copies, live)).under;
    expect(await few(3)).toBe(2);
    expect(await few(3, nodes.slice(1))).toBe(4);
    expect(await few(2, nodes.slice(0, 2))).toBe(1);
    expect(await few(1)).toBe(0);
    expect(await counts(2)).toEqual({ under: 0, over: 2 });
    expect(await counts(1, nodes.slice(1))).toEqual({ under: 0, over: 3 });
  });

  test("sees a write that was under way when it counted last", async () => {
    const done = accept("object", "a", chainOf({ kind: "inline" }));
    expect(await census.chains(SLICE)).toBe(0);
    await store.sync();
    await done;
    expect(await census.chains(SLICE)).toBe(1);
  });

  test("a write that becomes durable behind the walk's back is counted the next time", async () => {
    const done = accept("object", "a", chainOf({ kind: "inline" }));
    const counting = census.chains(SLICE); // its page is read before the write is durable
    await store.sync();
    await done;
    expect(await counting).toBe(0);
    expect(await census.chains(SLICE)).toBe(1);
  });

  test("walks a slice that did not change only once, and a changed one seldom when walks are long", async () => {
    await put("object", "a", chainOf({ kind: "inline" }));
    let walks = 0;
    const range = store.range.bind(store);
    store.range = async (of) => {
      walks++;
      clock.now += 100; // the disk takes its time
      return range(of);
    };
    expect(await census.chains(SLICE)).toBe(1);
    expect(await census.chains(SLICE)).toBe(1);
    expect(walks).toBe(1);
    await put("object", "b", chainOf({ kind: "inline" }));
    expect(await census.chains(SLICE)).toBe(1);
    expect(walks).toBe(1);
    clock.now += 2_000;
    expect(await census.chains(SLICE)).toBe(2);
    const before = walks;
    const decided = { key: viewKey(1), version: makeVersion(ballot, ++sequence), value: "v" };
    const done = replica.accept(SLICE, ballot, [decided]);
    await store.sync();
    await done;
    clock.now += 10_000;
    expect(await census.chains(SLICE)).toBe(2);
    expect(walks, "a register that is no chain costs no walk").toBe(before);
  });

  test("visits chains whose garbage is due, and no others", async () => {
    const garbage = (sinceMs: number): Partial<Chain> => ({
      garbage: [{ kind: "block", sinceMs, block: block("9", nodes) }],
    });
    await put("object", "due", chainOf({ kind: "inline" }, garbage(1_000)));
    await put("object", "young", chainOf({ kind: "inline" }, garbage(2_000)));
    await put("part", "part", partOf(block("3", nodes)));
    const visited: string[] = [];
    await census.visitDue(
      SLICE,
      1_000 + garbageDelayMs,
      async (key) => {
        await turn();
        visited.push(key.slice(33));
      },
      async () => {},
    );
    expect(visited).toEqual(["due"]);
  });
});

describe("SliceDigests", () => {
  test("a digest follows the durable registers, also those that became durable behind its back", async () => {
    const digests = new SliceDigests(replica, nodeDigest);
    expect(await digests.of(SLICE)).toBe("");
    await put("object", "a", chainOf({ kind: "inline" }));
    const one = await digests.of(SLICE);
    expect(one).toMatch(/^[0-9a-f]{32}$/u);
    expect(await digests.of(SLICE)).toBe(one);
    const done = accept("object", "b", chainOf({ kind: "inline" }));
    const before = digests.of(SLICE);
    await store.sync();
    await done;
    expect(await before).toBe(one);
    expect(await digests.of(SLICE)).not.toBe(one);
  });
});
