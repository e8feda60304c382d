// The acceptor's rules one by one, and what the disk must hold before each answer.
import { beforeEach, describe, expect, test } from "vitest";
import { type IndexFaults } from "../../../node/index/faults.ts";
import { Replica } from "../../../node/index/replica.ts";
import { bodyRow, encodeRow, registerRow } from "../../../node/index/rows.ts";
import { registerKey } from "../../../node/index/types.ts";
import { parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { frameBytesMax, scanBytesMax, scanRowsMax } from "../../../shared/limits.ts";
import { type StoredRegister } from "../../../shared/protocol/index-calls.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Ballot, NO_BALLOT, makeBallot, makeVersion } from "../../../shared/versions.ts";
import { HeldStore, turn } from "./held-store.ts";
import { BUCKET } from "./index-cluster.ts";

const SLICE = 3 as Slice;
const voters = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const view = { epoch: 1, members: voters };
const b1 = makeBallot(1, 1, voters[0]!);
const b2 = makeBallot(1, 2, voters[1]!);
const b3 = makeBallot(1, 3, voters[2]!);
const key = registerKey("object", BUCKET, "name");

let store: HeldStore;
let replica: Replica;

function open(on: HeldStore, faults: IndexFaults = {}): Replica {
  return new Replica({ store: on, voter: voters[0]!, viewOf: () => view, faults });
}

beforeEach(() => {
  store = new HeldStore();
  replica = open(store);
});

const write = (ballot: Ballot, sequence: number, value: string, name = key): StoredRegister => ({
  key: name,
  version: makeVersion(ballot, sequence),
  value,
});

/** Runs work, syncing the disk until it ends. */
async function durably<T>(work: Promise<T>): Promise<T> {
  let ended = false;
  const end = (): void => void (ended = true);
  work.then(end, end);
  for (let i = 0; i < 20 && !ended; i++) await store.sync();
  return work;
}

async function promise(ballot: Ballot): Promise<boolean> {
  const [reply] = await durably(replica.prepare([{ slice: SLICE, ballot }]));
  return reply!.ok;
}

const accept = (ballot: Ballot, registers: StoredRegister[]) =>
  durably(replica.accept(SLICE, ballot, registers));

describe("PREPARE", () => {
  test("promises a higher ballot once, and nothing at or below the promise", async () => {
    expect(await promise(b2)).toBe(true);
    expect(await promise(b2)).toBe(false);
    expect(await promise(b1)).toBe(false);
    expect(await promise(b3)).toBe(true);
    const [refusal] = await replica.prepare([{ slice: SLICE, ballot: b1 }]);
    expect(refusal).toEqual({ ok: false, reason: "promised", promised: b3, epoch: 1 });
  });

  test("refuses a ballot of another epoch, and any when this folder does not vote", async () => {
    const claim = { slice: SLICE, ballot: makeBallot(2, 1, voters[0]!) };
    expect((await replica.prepare([claim]))[0]).toMatchObject({ ok: false, reason: "epoch" });
    const stranger = voterIdOf(parseNodeId("9".repeat(32)), parseFolderId("9".repeat(16)));
    const outside = new Replica({ store, voter: stranger, viewOf: () => view });
    expect((await outside.prepare([{ slice: SLICE, ballot: b1 }]))[0]).toMatchObject({
      ok: false,
      reason: "epoch",
    });
  });

  test("answers after the promise is durable and names every register that was accepted before", async () => {
    await promise(b1);
    const accepting = replica.accept(SLICE, b1, [write(b1, 1, "x")]);
    let answered = false;
    const promising = replica.prepare([{ slice: SLICE, ballot: b2 }]);
    void promising.then(() => void (answered = true));
    await turn();
    expect(answered).toBe(false);
    await store.sync(1);
    expect(answered).toBe(false);
    await store.sync();
    expect(await accepting).toEqual({ ok: true });
    expect(await promising).toEqual([{ ok: true, keys: [key] }]);
  });

  test("a promise that was not synced is gone after a crash, a synced one is kept", async () => {
    await promise(b1);
    void replica.prepare([{ slice: SLICE, ballot: b2 }]);
    expect(open(store.crash()).promised(SLICE)).toBe(b1);
    replica = open(store);
    await promise(b2);
    expect(open(store.crash()).promised(SLICE)).toBe(b2);
  });

  test("answers claims on several slices in their order, with one write", async () => {
    await promise(b2);
    const other = 4 as Slice;
    const replies = replica.prepare([
      { slice: SLICE, ballot: b1 },
      { slice: other, ballot: b1 },
      { slice: SLICE, ballot: b3 },
    ]);
    expect(store.waiting).toHaveLength(1);
    expect((await durably(replies)).map(({ ok }) => ok)).toEqual([false, true, true]);
  });
});

describe("a promise that the disk refused", () => {
  beforeEach(async () => {
    await promise(b1);
    const promising = replica.prepare([{ slice: SLICE, ballot: b2 }]);
    const failed = expect(promising).rejects.toThrow("The disk refuses");
    await store.refuse();
    await failed;
  });

  test("is not told: READREG, names and CONFIRM under it are refused", async () => {
    expect((await replica.readReg(SLICE, b2, [key])).ok).toBe(false);
    expect((await replica.names(SLICE, b2, "")).ok).toBe(false);
    expect(replica.confirm(SLICE, b2).ok).toBe(false);
  });

  test("can be asked for again", async () => {
    expect(await promise(b2)).toBe(true);
    expect(replica.confirm(SLICE, b2).ok).toBe(true);
  });

  test("is written with the next accepted write", async () => {
    expect(await accept(b2, [write(b2, 1, "x")])).toEqual({ ok: true });
    expect(open(store.crash()).promised(SLICE)).toBe(b2);
  });
});

describe("READREG and names", () => {
  test("answer under exactly the promised ballot", async () => {
    await accept(b2, [write(b2, 1, "x")]);
    for (const ballot of [b1, b3]) {
      expect((await replica.readReg(SLICE, ballot, [key])).ok).toBe(false);
      expect((await replica.names(SLICE, ballot, "")).ok).toBe(false);
    }
    expect(await replica.readReg(SLICE, b2, [key])).toEqual({
      ok: true,
      registers: [write(b2, 1, "x")],
    });
    expect(await replica.names(SLICE, b2, "")).toEqual({ ok: true, keys: [key], more: false });
  });

  test("with the fault switched on, READREG answers under any ballot", async () => {
    await accept(b2, [write(b2, 1, "x")]);
    const faulty = open(store, { noPromiseEquality: true });
    expect((await faulty.readReg(SLICE, b3, [key])).ok).toBe(true);
  });

  test("waits for the writes that were accepted before", async () => {
    await accept(b1, [write(b1, 1, "old")]);
    const accepting = replica.accept(SLICE, b1, [write(b1, 2, "new")]);
    const reading = replica.readReg(SLICE, b1, [key]);
    await store.sync();
    await accepting;
    expect(await reading).toMatchObject({ registers: [{ value: "new" }] });
  });

  test("refuses when a higher ballot was promised while it waited", async () => {
    await promise(b1);
    void replica.accept(SLICE, b1, [write(b1, 1, "x")]);
    const reading = replica.readReg(SLICE, b1, [key]);
    void replica.prepare([{ slice: SLICE, ballot: b2 }]);
    await store.sync();
    expect((await reading).ok).toBe(false);
  });

  test("says version NONE for a register that was never written", async () => {
    await promise(b1);
    expect(await replica.readReg(SLICE, b1, [key])).toEqual({
      ok: true,
      registers: [{ key, version: "" }],
    });
  });

  test("a body belongs to the version it is told with, also when a write lands in between", async () => {
    const put = (n: number): void => {
      store.rows.set(registerRow(SLICE, key), encodeRow(makeVersion(b1, n), `v${n}`));
      store.rows.set(bodyRow(SLICE, key), Uint8Array.of(n));
    };
    put(1);
    let gets = 0;
    store.onGet = () => {
      if (++gets === 2) put(2);
    };
    expect(replica.read(SLICE, key, "body")).toEqual({
      ...write(b1, 2, "v2"),
      body: Uint8Array.of(2),
    });
  });
});

describe("ACCEPT", () => {
  test("raises the promise in the same batch, refuses what lies below it", async () => {
    await promise(b1);
    expect(await accept(b2, [write(b2, 1, "x")])).toEqual({ ok: true });
    expect(open(store.crash()).promised(SLICE)).toBe(b2);
    expect(await replica.accept(SLICE, b1, [write(b1, 1, "y")])).toMatchObject({ ok: false });
    expect(replica.read(SLICE, key, "value").value).toBe("x");
  });

  test("is not answered, nor visible to any read, before it is durable", async () => {
    await promise(b1);
    let answered = false;
    void replica.accept(SLICE, b1, [write(b1, 1, "x")]).then(() => void (answered = true));
    await turn();
    expect(answered).toBe(false);
    expect(replica.readFast(SLICE, key, "value")).toMatchObject({ register: { version: "" } });
    const range = { slice: SLICE, from: key, to: `${key}z`, limit: 10, want: "value" } as const;
    expect(await replica.scan(range)).toMatchObject({ rows: [] });
    expect((await replica.versions(SLICE, "")).rows).toEqual([]);
    await store.sync();
    expect(answered).toBe(true);
  });

  test("a write that was not synced is gone after a crash", async () => {
    await accept(b1, [write(b1, 1, "old")]);
    void replica.accept(SLICE, b1, [write(b1, 2, "new")]);
    expect(open(store.crash()).read(SLICE, key, "value").value).toBe("old");
  });

  test("keeps the newer version, however late an older one comes", async () => {
    await accept(b1, [write(b1, 2, "new")]);
    expect(await accept(b1, [write(b1, 1, "late")])).toEqual({ ok: true });
    expect(replica.read(SLICE, key, "value").value).toBe("new");
    const both = [
      replica.accept(SLICE, b1, [write(b1, 4, "newest")]),
      replica.accept(SLICE, b1, [write(b1, 3, "late again")]),
    ];
    await durably(Promise.all(both));
    expect(replica.read(SLICE, key, "value").value).toBe("newest");
  });

  test("a second copy of a message is answered only when the first one's write is durable", async () => {
    await promise(b1);
    void replica.accept(SLICE, b1, [write(b1, 1, "x")]);
    let answered = false;
    void replica.accept(SLICE, b1, [write(b1, 1, "x")]).then(() => void (answered = true));
    await turn();
    expect(answered).toBe(false);
    await store.sync();
    expect(answered).toBe(true);
  });

  test("a second copy of a message is not acknowledged when the first one's write failed", async () => {
    await promise(b1);
    const first = replica.accept(SLICE, b1, [write(b1, 1, "x")]);
    const second = replica.accept(SLICE, b1, [write(b1, 1, "x")]);
    const failed = Promise.all([
      expect(first).rejects.toThrow("The disk refuses"),
      expect(second).rejects.toMatchObject({ code: "Unavailable" }),
    ]);
    await store.refuse();
    await failed;
    expect(await accept(b1, [write(b1, 1, "x")])).toEqual({ ok: true });
    expect(replica.read(SLICE, key, "value").value).toBe("x");
  });

  test("a body stands and falls with its register", async () => {
    const body = Uint8Array.of(1, 2, 3);
    await accept(b1, [{ ...write(b1, 1, "inline"), body }]);
    expect(replica.read(SLICE, key, "body").body).toEqual(body);
    await accept(b1, [write(b1, 2, "none")]);
    expect(replica.read(SLICE, key, "body").body).toBeUndefined();
    expect(store.rows.has(bodyRow(SLICE, key))).toBe(false);
  });
});

describe("CONFIRM and READFAST", () => {
  test("CONFIRM answers for exactly the promised ballot", async () => {
    expect(replica.confirm(SLICE, b1).ok).toBe(false);
    await promise(b2);
    expect([b1, b2, b3].map((ballot) => replica.confirm(SLICE, ballot).ok)).toEqual([
      false,
      true,
      false,
    ]);
  });

  test("READFAST needs no promise and tells epoch and members", async () => {
    expect(replica.promised(SLICE)).toBe(NO_BALLOT);
    expect(replica.readFast(SLICE, key, "body")).toEqual({
      ok: true,
      epoch: 1,
      members: voters,
      register: { key, version: "" },
    });
  });
});

describe("SYNC", () => {
  test("takes what is newer and not below the promise, and names what it may not take", async () => {
    await accept(b1, [write(b1, 1, "old")]);
    await promise(b2);
    const below = write(b1, 2, "undecided");
    expect(await durably(replica.sync(SLICE, 1, [below]))).toEqual([key]);
    expect(replica.read(SLICE, key, "value").value).toBe("old");
    for (const [taken, value] of [
      [write(b2, 1, "same ballot"), "same ballot"],
      [write(b3, 1, "higher ballot"), "higher ballot"],
      [write(b2, 2, "older version"), "higher ballot"],
    ] as const) {
      expect(await durably(replica.sync(SLICE, 1, [taken]))).toEqual([]);
      expect(replica.read(SLICE, key, "value").value).toBe(value);
    }
    expect(replica.promised(SLICE)).toBe(b2);
  });

  test("with the fault switched on, takes what lies below the promise", async () => {
    await promise(b2);
    replica = open(store, { syncIgnoresPromise: true });
    await durably(replica.sync(SLICE, 1, [write(b1, 1, "undecided")]));
    expect(replica.read(SLICE, key, "value").value).toBe("undecided");
  });

  test("ignores another epoch", async () => {
    expect(await replica.sync(SLICE, 2, [write(b1, 1, "x")])).toEqual([]);
    expect(store.waiting).toEqual([]);
  });
});

describe("pages", () => {
  const names = (count: number): string[] =>
    Array.from({ length: count }, (_, i) => `${key}${String(i).padStart(5, "0")}`);
  const fill = (count: number, valueBytes: number): void => {
    const value = "x".repeat(valueBytes);
    for (const [i, name] of names(count).entries()) {
      store.rows.set(registerRow(SLICE, name), encodeRow(makeVersion(b1, i + 1), value));
    }
  };
  const range = { slice: SLICE, from: key, to: `${key}z`, limit: scanRowsMax } as const;

  test("a scan is bounded by rows and says when there are more", async () => {
    fill(100, 1);
    const page = await replica.scan({ ...range, limit: 40, want: "version" });
    expect(page).toMatchObject({ ok: true, more: true });
    expect(page.ok && page.rows.map((row) => row.key)).toEqual(names(100).slice(0, 40));
    const rest = await replica.scan({ ...range, from: names(100)[40]!, want: "value" });
    expect(rest.ok && rest.rows).toHaveLength(60);
    expect(rest).toMatchObject({ more: false });
  });

  test("pages of chains of a megabyte stay below a frame, and no read takes many at once", async () => {
    fill(40, 1024 * 1024);
    const page = await replica.scan({ ...range, want: "value" });
    expect(page).toMatchObject({ ok: true, more: true });
    expect(page.ok && page.rows.length).toBe(scanBytesMax / (1024 * 1024));
    expect(store.largestRange).toBeLessThanOrEqual(32);
    const eight = Array.from({ length: 8 }, () => ({ ...range, want: "value" as const }));
    const pages = await replica.scanAll(eight);
    const bytes = pages.flatMap((one) => (one.ok ? one.rows : [])).map((row) => row.value!.length);
    expect(bytes.reduce((a, b) => a + b)).toBeLessThan(frameBytesMax);
    for (const one of pages) expect(one.ok && one.rows.length).toBeGreaterThanOrEqual(1);
  });

  test("scanAll gives every range what the ones before left of the bytes", async () => {
    fill(60, 1024 * 100);
    const small = { ...range, to: names(60)[1]!, want: "value" as const };
    const [first, second] = await replica.scanAll([small, { ...range, want: "value" }]);
    expect(first!.ok && first!.rows).toHaveLength(1);
    expect(second!.ok && second!.rows.length).toBeGreaterThan(30);
  });

  test("fetch gives the first registers that fit into a reply, at least one", async () => {
    fill(40, 3 * 1024 * 1024);
    const fetched = replica.fetch(SLICE, names(40));
    expect(fetched.registers.map((register) => register.key)).toEqual(names(2));
    expect(replica.fetch(SLICE, names(1)).registers).toHaveLength(1);
  });

  test("names and versions page through a slice without gaps", async () => {
    fill(2_345, 1);
    await promise(b1);
    for (const page of [
      async (after: string) => {
        const reply = await replica.names(SLICE, b1, after);
        return reply.ok ? { keys: reply.keys, more: reply.more } : { keys: [], more: false };
      },
      async (after: string) => {
        const { rows, more } = await replica.versions(SLICE, after);
        return { keys: rows.map((row) => row.key), more };
      },
    ]) {
      const found: string[] = [];
      for (let after = ""; ;) {
        const { keys, more } = await page(after);
        found.push(...keys);
        if (!more) break;
        after = keys.at(-1)!;
      }
      expect(found).toEqual(names(2_345));
    }
  });

  test("a promise names no registers of a slice that has too many", async () => {
    fill(2_001, 1);
    const [reply] = await durably(replica.prepare([{ slice: SLICE, ballot: b1 }]));
    expect(reply).toEqual({ ok: true, keys: undefined });
  });
});
