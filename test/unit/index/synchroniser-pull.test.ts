// What one replica pulls from another, and what one bad slice may not hold up.
import { describe, expect, test } from "vitest";
import { Replica } from "../../../node/index/replica.ts";
import { SliceDigests } from "../../../node/index/slice-digests.ts";
import { Synchroniser } from "../../../node/index/synchroniser.ts";
import { registerKey } from "../../../node/index/types.ts";
import { type Peers } from "../../../node/peers.ts";
import { type Member } from "../../../node/route/types.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import { nodeDigest } from "../../../node/runtime/node-digest.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { nodeOfVoter, parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { type StoredRegister } from "../../../shared/protocol/index-calls.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Ballot, makeBallot, makeVersion } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { BUCKET } from "./index-cluster.ts";

const voters = ["1", "2"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const [me, other] = [voters[0]!, voters[1]!];
const b1 = makeBallot(1, 1, other);
const b2 = makeBallot(1, 2, other);
const key = (name: string): string => registerKey("object", BUCKET, name);

class Bench {
  readonly clock = new VirtualClock();
  readonly mine: Replica;
  readonly theirs: Replica;
  readonly synchroniser: Synchroniser;
  readonly calls: string[] = [];
  readonly settled: string[] = [];
  leaderless = false;

  constructor() {
    const view = { epoch: 1, members: voters };
    const open = (voter: typeof me): Replica => {
      const store = openMemoryStore(new MemoryDisk(), this.clock, { syncMs: 1 });
      return new Replica({ store, voter, viewOf: () => view });
    };
    this.mine = open(me);
    this.theirs = open(other);
    const theirDigests = new SliceDigests(this.theirs, nodeDigest);
    const answers: Record<string, (request: never) => unknown> = {
      "index.digests": async ({ slices }: { slices: Slice[] }) => {
        const digests: string[] = [];
        for (const slice of slices) digests.push(await theirDigests.of(slice));
        return { digests, views: [] };
      },
      "index.versions": ({ slice, after }: { slice: Slice; after: string }) =>
        this.theirs.versions(slice, after),
      "index.fetch": ({ slice, keys }: { slice: Slice; keys: string[] }) =>
        this.theirs.fetch(slice, keys),
      "index.behind": () => ({}),
    };
    const call = async (_: unknown, name: string, request: never): Promise<unknown> => {
      this.calls.push(name);
      await this.clock.sleep(1);
      return answers[name]!(request);
    };
    this.synchroniser = new Synchroniser({
      replica: this.mine,
      digests: new SliceDigests(this.mine, nodeDigest),
      peers: { call } as unknown as Peers,
      route: {
        live: () => [{ id: nodeOfVoter(other) } as Member],
        find: (id) => ({ id, state: "alive" }) as Member,
        peer: () => ({ address: "other:1" }),
        self: { id: nodeOfVoter(me) } as Member,
        onChange: () => () => {},
      },
      clock: this.clock,
      log: silentLog,
      slices: 64,
      views: { learn: () => false },
      readByLeader: (slice, name) => this.#readByLeader(slice, name),
    });
  }

  async #readByLeader(slice: Slice, name: string): Promise<StoredRegister> {
    await this.clock.sleep(1);
    if (this.leaderless) throw new RingstowError("Unavailable");
    this.settled.push(name);
    return this.theirs.read(slice, name, "version");
  }

  async write(replica: Replica, slice: number, name: string, ballot: Ballot, sequence: number) {
    const version = makeVersion(ballot, sequence);
    const register = { key: key(name), version, value: "v", body: Uint8Array.of(sequence) };
    await this.clock.settle(replica.accept(slice as Slice, ballot, [register]));
  }

  has(slice: number, name: string): boolean {
    const theirs = this.theirs.read(slice as Slice, key(name), "body");
    expect(theirs.version).not.toBe("");
    const mine = this.mine.read(slice as Slice, key(name), "body");
    return JSON.stringify(mine) === JSON.stringify(theirs);
  }
}

describe("Synchroniser", () => {
  test("pulls whole registers of all slices, bodies too, and pushes nothing", async () => {
    const bench = new Bench();
    for (let i = 0; i < 130; i++) await bench.write(bench.theirs, 3, `k${i}`, b1, i + 1);
    await bench.write(bench.theirs, 50, "k", b1, 1);
    await bench.write(bench.mine, 4, "own", b1, 1);
    bench.synchroniser.start();
    await bench.clock.runFor(10_000);
    for (let i = 0; i < 130; i++) expect(bench.has(3, `k${i}`)).toBe(true);
    expect(bench.has(50, "k")).toBe(true);
    expect(bench.theirs.read(4 as Slice, key("own"), "version").version).toBe("");
  });

  test("takes registers whose reply is cut for its size, in as many replies as it needs", async () => {
    const bench = new Bench();
    const value = "x".repeat(3 * 1024 * 1024);
    for (let i = 1; i <= 7; i++) {
      const register = { key: key(`k${i}`), version: makeVersion(b1, i), value };
      await bench.clock.settle(bench.theirs.accept(2 as Slice, b1, [register]));
    }
    bench.synchroniser.syncWith(nodeOfVoter(other), [2 as Slice]);
    await bench.clock.runFor(500); // less than the pause before a second round
    for (let i = 1; i <= 7; i++) expect(bench.has(2, `k${i}`)).toBe(true);
    expect(bench.calls.filter((name) => name === "index.fetch")).toHaveLength(4);
  });

  test("leaves to the leader what lies below the promise, and asks at a bounded rate", async () => {
    const bench = new Bench();
    await bench.write(bench.theirs, 1, "undecided", b1, 1);
    await bench.clock.settle(bench.mine.prepare([{ slice: 1 as Slice, ballot: b2 }]));
    bench.synchroniser.start();
    await bench.clock.runFor(30_000);
    expect(bench.settled).toContain(key("undecided"));
    expect(bench.has(1, "undecided")).toBe(false);
    const before = bench.calls.length;
    await bench.clock.runFor(600_000);
    expect((bench.calls.length - before) / 10, "calls a minute").toBeLessThan(20);
  });

  test("a slice without a leader holds up no other, and is tried again", async () => {
    const bench = new Bench();
    for (const slice of [1, 2, 40]) await bench.write(bench.theirs, slice, "k", b1, 1);
    await bench.clock.settle(bench.mine.prepare([{ slice: 1 as Slice, ballot: b2 }]));
    bench.leaderless = true;
    bench.synchroniser.start();
    await bench.clock.runFor(1_000);
    expect([1, 2, 40].map((slice) => bench.has(slice, "k"))).toEqual([false, true, true]);
    await bench.write(bench.theirs, 1, "k", b2, 1);
    await bench.clock.runFor(120_000);
    expect(bench.has(1, "k")).toBe(true);
  });

  test("compares only the slices that a leader names", async () => {
    const bench = new Bench();
    for (const slice of [1, 2]) await bench.write(bench.theirs, slice, "k", b1, 1);
    bench.synchroniser.syncWith(nodeOfVoter(other), [2 as Slice]);
    await bench.clock.runFor(10_000);
    expect([1, 2].map((slice) => bench.has(slice, "k"))).toEqual([false, true]);
  });
});
