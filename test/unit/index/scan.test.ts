// Merged pages against replicas that lag, fall silent, and cut their pages where they like.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type MemberLink, type ScanRange } from "../../../node/index/member-link.ts";
import { ReplyTimes } from "../../../node/index/reply-times.ts";
import { encodeState } from "../../../node/index/register-state.ts";
import { type ScanReply } from "../../../node/index/replica-replies.ts";
import { scan } from "../../../node/index/scan.ts";
import { type ScanPage, nameOf, registerKey } from "../../../node/index/types.ts";
import { type VoterId, parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";
import { callTimeoutMs, prepareTimeoutMs, scanLeaderReadsMax } from "../../../shared/limits.ts";
import { type Slice } from "../../../shared/slices.ts";
import { compareUtf8 } from "../../../shared/utf8.ts";
import { NO_VERSION, type Version, makeBallot, makeVersion } from "../../../shared/versions.ts";
import { TransportError } from "../../../node/ports.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { BUCKET } from "./index-cluster.ts";
import { fixedView } from "./fixed-view.ts";

const SLICE = 1 as Slice;
const voters = ["1", "2", "3"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
);
const ballot = makeBallot(1, 1, voters[0]!);
const view = { epoch: 1, members: voters };

/** What one write left: a live part, or a tombstone. */
interface Written {
  readonly version: Version;
  readonly etag: string | undefined;
}

type Registers = Map<string, Written>;

const textOf = ({ etag }: Written): string =>
  encodeState({
    answered: [],
    value:
      etag === undefined
        ? undefined
        : {
            kind: "part",
            part: { size: 1, etag, lastModifiedMs: 1, body: { kind: "blocks", blocks: [] } },
          },
  });

class Bench {
  readonly clock = new VirtualClock();
  readonly replicas: Registers[] = [new Map(), new Map(), new Map()];
  readonly asked: { member: number; range: ScanRange }[] = [];
  isOver = false;
  leaderReads = 0;
  leaderReadsAtOnce = 0;
  leaderReadsMost = 0;
  /** Members that do not answer, by number of the call. */
  silent: (member: number, call: number) => boolean = () => false;
  /** How long members take, by number; a call that takes `prepareTimeoutMs` has no answer then. */
  tookMs: (member: number) => number = () => 0;
  /** Rows of a reply at most, as its bytes would bound it. */
  rowsMax: (member: number) => number = () => Number.POSITIVE_INFINITY;

  /** A write that these members have; it counts as decided when they are a majority. */
  write(name: string, sequence: number, etag: string | undefined, members: number[]): void {
    const written = { version: makeVersion(ballot, sequence), etag };
    for (const member of members) this.replicas[member]!.set(name, written);
  }

  newest(name: string): Written {
    const none: Written = { version: NO_VERSION, etag: undefined };
    return this.replicas
      .map((replica) => replica.get(name) ?? none)
      .reduce((a, b) => (b.version > a.version ? b : a));
  }

  pages(limit: number, from = ""): Promise<ScanPage[]> {
    const key = registerKey("part", BUCKET, "");
    const request = { slice: SLICE, from: (key + from) as typeof key, limit };
    const work = scan(
      {
        link: { self: voters[0]!, scan: (...args) => this.#scan(...args) } as MemberLink,
        clock: this.clock,
        replyTimes: new ReplyTimes(),
        route: { find: () => undefined },
        views: fixedView(view),
        readByLeader: (_, name) => this.#readByLeader(name),
      },
      [{ ...request, to: `${key}\u{10ffff}` as typeof key }],
      () => this.isOver,
    );
    return this.clock.settle(work, { deadlineMs: this.clock.now + 60_000 });
  }

  async list(limit: number): Promise<[string, string][]> {
    const found: [string, string][] = [];
    let from = "";
    for (let pages = 0; pages < 1_000; pages++) {
      const [page] = await this.pages(limit, from);
      expect(page!.rows.length).toBeLessThanOrEqual(limit);
      for (const { key, value } of page!.rows) {
        found.push([nameOf(key), value.kind === "part" ? value.part.etag : ""]);
      }
      if (page!.next === undefined) return found;
      from = nameOf(page!.next);
    }
    throw new Error("Cannot end the list");
  }

  async #scan(voter: VoterId, ranges: ScanRange[]): Promise<ScanReply[]> {
    const member = voters.indexOf(voter);
    const call = this.asked.length;
    for (const range of ranges) this.asked.push({ member, range });
    const tookMs = this.tookMs(member);
    if (tookMs > 0) await this.clock.sleep(Math.min(tookMs, prepareTimeoutMs));
    if (this.silent(member, call) || tookMs >= prepareTimeoutMs)
      throw new TransportError("timeout", "silent");
    return ranges.map((range) => this.#reply(member, range));
  }

  #reply(member: number, { from, to, limit, want }: ScanRange): ScanReply {
    const all = [...this.replicas[member]!]
      .map(([name, written]) => ({ key: registerKey("part", BUCKET, name) as string, written }))
      .filter(({ key }) => compareUtf8(key, from) >= 0 && compareUtf8(key, to) < 0)
      .toSorted((a, b) => compareUtf8(a.key, b.key));
    const rows = all.slice(0, Math.min(limit, this.rowsMax(member)));
    return {
      ok: true,
      epoch: 1,
      members: [...voters],
      rows: rows.map(({ key, written }) => ({
        key,
        version: written.version,
        ...(want === "version" ? {} : { value: textOf(written) }),
      })),
      more: rows.length < all.length,
    };
  }

  async #readByLeader(name: string) {
    this.leaderReads++;
    this.leaderReadsMost = Math.max(this.leaderReadsMost, ++this.leaderReadsAtOnce);
    await this.clock.sleep(1);
    this.leaderReadsAtOnce--;
    const newest = this.newest(name.slice(33));
    return { key: name, version: newest.version, value: textOf(newest) };
  }
}

const ALL = [0, 1, 2];
const named = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `k${String(i).padStart(4, "0")}`);

describe("scan", () => {
  test("answers from a majority alone when it agrees", async () => {
    const bench = new Bench();
    for (const [i, name] of named(5).entries()) bench.write(name, i + 1, `e${i}`, ALL);
    expect(await bench.list(10)).toEqual(named(5).map((name, i) => [name, `e${i}`]));
    expect(bench.leaderReads).toBe(0);
    expect(bench.asked.map(({ range }) => range.want)).toEqual(["value", "version"]);
  });

  test("does not skip a key that two of three hold when the third one's page goes further", async () => {
    const bench = new Bench();
    for (const [i, name] of named(6).entries()) bench.write(name, i + 1, "e", i < 4 ? [1, 2] : ALL);
    expect((await bench.list(2)).map(([name]) => name)).toEqual(named(6));
  });

  test("ends a page at the smallest last key of a truncated reply", async () => {
    const bench = new Bench();
    for (const [i, name] of named(9).entries()) bench.write(name, i + 1, "e", ALL);
    bench.rowsMax = (member) => (member === 0 ? 5 : 3);
    const [page] = await bench.pages(100);
    expect(page!.rows.map(({ key }) => nameOf(key))).toEqual(named(9).slice(0, 3));
    expect(nameOf(page!.next!)).toBe("k0002\u0001");
    expect((await bench.list(100)).map(([name]) => name)).toEqual(named(9));
  });

  test("keeps to the limit when two replies name different keys", async () => {
    const bench = new Bench();
    for (const [i, name] of named(10).entries()) bench.write(name, i + 1, "e", [i % 2, 2]);
    const [page] = await bench.pages(4);
    expect(page!.rows.map(({ key }) => nameOf(key))).toEqual(named(4));
    expect((await bench.list(4)).map(([name]) => name)).toEqual(named(10));
  });

  test("asks the leader for the keys on which the members disagree, a few at a time", async () => {
    const bench = new Bench();
    for (const [i, name] of named(100).entries()) {
      bench.write(name, i + 1, "old", ALL);
      bench.write(name, i + 1_001, "new", [0, 2]);
    }
    const [page] = await bench.pages(100);
    expect(
      page!.rows.every(({ value }) => value.kind === "part" && value.part.etag === "new"),
    ).toBe(true);
    expect(bench.leaderReads).toBe(100);
    expect(bench.leaderReadsMost).toBe(scanLeaderReadsMax);
  });

  test("asks another member for values when the one that should give them is silent", async () => {
    const bench = new Bench();
    for (const [i, name] of named(20).entries()) bench.write(name, i + 1, "e", ALL);
    bench.silent = (member) => member === 0;
    expect(await bench.list(100)).toHaveLength(20);
    expect(bench.leaderReads).toBe(0);
    expect(bench.asked.map(({ member, range }) => [member, range.want])).toEqual([
      [0, "value"],
      [1, "version"],
      [2, "value"],
    ]);
  });

  test("asks the third member beside one that gave no answer in 300 ms", async () => {
    for (const mute of [0, 1]) {
      const bench = new Bench();
      for (const [i, name] of named(20).entries()) bench.write(name, i + 1, "e", ALL);
      bench.tookMs = (member) => (member === mute ? prepareTimeoutMs : 2);
      expect(await bench.list(100)).toHaveLength(20);
      expect(bench.clock.now).toBe(callTimeoutMs + 2);
      expect(bench.asked.map(({ member, range }) => [member, range.want])).toEqual([
        [0, "value"],
        [1, "version"],
        [2, mute === 0 ? "value" : "version"],
      ]);
      expect(bench.leaderReads).toBe(0);
    }
  });

  test("takes the answer of a slow member that comes before that of the other one", async () => {
    const bench = new Bench();
    bench.write("k", 1, "e", ALL);
    bench.tookMs = (member) => [1, 320, 400][member]!;
    expect(await bench.list(100)).toEqual([["k", "e"]]);
    expect(bench.clock.now).toBe(320);
  });

  test("ends when nobody waits any more", async () => {
    const bench = new Bench();
    bench.silent = () => true;
    void bench.clock.after(500, () => (bench.isOver = true));
    await expect(bench.pages(10)).rejects.toMatchObject({ code: "Unavailable" });
    expect(bench.clock.now).toBeLessThan(700);
  });

  test("asks again, and only those that were silent, until a majority answers", async () => {
    const bench = new Bench();
    for (const [i, name] of named(3).entries()) bench.write(name, i + 1, "e", ALL);
    bench.silent = (member, call) => member !== 0 && call < 7;
    expect(await bench.list(100)).toHaveLength(3);
    expect(bench.asked.filter(({ member }) => member === 0)).toHaveLength(1);
    expect(bench.leaderReads).toBe(0);
  });

  test("gives up with Unavailable after a bounded time without a majority", async () => {
    const bench = new Bench();
    bench.silent = (member) => member !== 0;
    await expect(bench.pages(10)).rejects.toMatchObject({ code: "Unavailable" });
    expect(bench.clock.now).toBeLessThan(25_000);
    expect(bench.asked.length).toBeLessThan(500);
  });

  test("lists like an oracle, however replicas lag, cut their pages and fall silent", async () => {
    const write = fc.record({
      name: fc.constantFrom("a", "aa", "b", "\u{ffff}", "\u{10000}", "c/1", "c/2", "d", "e", "f"),
      live: fc.boolean(),
      lagging: fc.integer({ min: -1, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(write, { maxLength: 25 }),
        fc.integer({ min: 1, max: 5 }),
        fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
        fc.integer({ min: -1, max: 2 }),
        async (writes, limit, [cutA, cutB], silent) => {
          const bench = new Bench();
          const oracle = new Map<string, string>();
          for (const [i, { name, live, lagging }] of writes.entries()) {
            const etag = live ? `e${i}` : undefined;
            bench.write(
              name,
              i + 1,
              etag,
              ALL.filter((member) => member !== lagging),
            );
            if (etag === undefined) oracle.delete(name);
            else oracle.set(name, etag);
          }
          bench.rowsMax = (member) => (member === 0 ? cutA : cutB);
          bench.silent = (member) => member === silent;
          const sorted = [...oracle].toSorted(([a], [b]) => compareUtf8(a, b));
          expect(await bench.list(limit)).toEqual(sorted);
        },
      ),
      { numRuns: 300 },
    );
  });
});
