// A leader's rules (first touch, confirmation, leases, gates) over three real replicas.
import { beforeEach, describe, expect, test } from "vitest";
import { LeaderNames } from "../../../node/index/leader-names.ts";
import { NotLeader } from "../../../node/index/quorum.ts";
import { SettledCache } from "../../../node/index/settled-cache.ts";
import { type SliceLeader } from "../../../node/index/slice-leader.ts";
import { NO_STATE } from "../../../node/index/register-state.ts";
import { registerKey } from "../../../node/index/types.ts";
import { dedupMax, quorumTimeoutMs } from "../../../shared/limits.ts";
import { type BlockId, type UploadId } from "../../../shared/ids.ts";
import { NO_VERSION, ballotOf, makeBallot, makeVersion } from "../../../shared/versions.ts";
import { BUCKET } from "./index-cluster.ts";
import { LeaderBench, SLICE } from "./leader-bench.ts";

let bench: LeaderBench;

beforeEach(() => {
  bench = new LeaderBench();
});

const count = (call: string): number => bench.calls.filter((one) => one.call === call).length;
const acquire = { type: "acquire", holder: "h", leaseMs: 10_000 } as const;

async function fence(leader: SliceLeader, name: string): Promise<number> {
  const granted = await bench.do(leader, name, acquire);
  return granted.type === "granted" ? granted.fence : 0;
}

describe("writes and reads", () => {
  test("a new key that no promise named is written without a read, in one round", async () => {
    const leader = await bench.elect(0, 1);
    const before = bench.clock.now;
    await bench.do(leader, "a", bench.put("e"));
    expect(bench.clock.now - before).toBe(2); // a message of 1 ms and a sync of 1 ms
    expect([count("readReg"), count("accept"), count("confirm")]).toEqual([0, 3, 0]);
  });

  test("the first touch of a named key reads from a majority and writes it again under the ballot", async () => {
    await bench.do(await bench.elect(0, 1), "a", bench.put("e"));
    const leader = await bench.elect(1, 2);
    const { version } = await bench.run(leader.read(bench.key("a"), true));
    expect(ballotOf(version)).toBe(leader.ballot);
    expect([count("readReg"), count("accept")]).toEqual([3, 6]);
    expect(await bench.etag(leader, "a")).toBe("e");
    expect([count("readReg"), count("confirm")]).toEqual([3, 3]);
  });

  test("takes the newest value of the majority, and a value of a minority when it meets it", async () => {
    const first = await bench.elect(0, 1);
    await bench.do(first, "a", bench.put("old"));
    bench.fate = (call, to) => call !== "accept" || to === 2;
    void bench.begin(first, "a", bench.put("undecided")).catch(() => {});
    await bench.clock.runFor(50);
    bench.fate = () => true;
    const leader = await bench.elect(1, 2, [1, 2]);
    bench.fate = (call, to) => call !== "readReg" || to !== 0;
    expect(await bench.etag(leader, "a")).toBe("undecided");
    await bench.clock.runFor(10); // the third one's ACCEPT
    for (const replica of bench.replicas) {
      expect(ballotOf(replica.read(SLICE, bench.key("a"), "version").version)).toBe(leader.ballot);
    }
  });

  test("an inline body moves with the value to the new ballot", async () => {
    await bench.do(await bench.elect(0, 1), "a", bench.put("e"));
    const leader = await bench.elect(1, 2);
    const { body } = await bench.run(leader.read(bench.key("a"), true));
    expect(new TextDecoder().decode(body)).toBe("a");
    expect(bench.replicas[2]!.read(SLICE, bench.key("a"), "body").body).toEqual(body);
  });

  test("operations on one key run in order of arrival, on two keys together", async () => {
    const leader = await bench.elect(0, 1);
    const begunMs = bench.clock.now;
    const all = [
      bench.begin(leader, "a", bench.put("1")),
      bench.begin(leader, "a", bench.put("2", { ifMatch: ["1"] })),
      bench.begin(leader, "b", bench.put("3")),
    ];
    const results = await bench.run(Promise.all(all));
    expect(results.map((result) => result.type === "committed" && result.version)).toEqual([
      1, 2, 1,
    ]);
    expect(bench.clock.now - begunMs).toBe(4);
  });

  test("a member that was silent is told when the write was decided without it", async () => {
    const leader = await bench.elect(0, 1);
    bench.fate = (call, to) => to !== 2;
    await bench.do(leader, "a", bench.put("e"));
    expect(bench.missed).toEqual([]);
    bench.fate = () => true;
    await bench.clock.runFor(1_000);
    expect(bench.missed).toEqual([]); // its call never ended; a transport would have timed out
  });
});

describe("CONFIRM", () => {
  test("one round serves all that wait, and it began after they came", async () => {
    const leader = await bench.elect(0, 1);
    for (const name of ["a", "b", "c"]) await bench.do(leader, name, bench.put("e"));
    bench.calls.length = 0;
    const first = leader.read(bench.key("a"), false);
    await bench.clock.runFor(0.5); // the first round is under way
    const begunMs = bench.clock.now;
    const others = [leader.read(bench.key("b"), false), leader.read(bench.key("c"), false)];
    await bench.run(Promise.all([first, ...others]));
    const rounds = new Set(bench.calls.map(({ atMs }) => atMs));
    expect(count("confirm")).toBe(6);
    expect(rounds.size).toBe(2);
    expect(Math.max(...rounds)).toBeGreaterThanOrEqual(begunMs);
  });

  test("a refused precondition and a delete of nothing are answered only after a round", async () => {
    const leader = await bench.elect(0, 1);
    await bench.do(leader, "a", bench.put("e"));
    bench.calls.length = 0;
    await expect(
      bench.do(leader, "a", bench.put("x", { ifNoneMatch: ["*"] })),
    ).rejects.toMatchObject({ code: "PreconditionFailed" });
    expect(count("confirm")).toBe(3);
    await bench.do(leader, "none", { type: "delete", precondition: {} });
    expect(count("confirm")).toBe(6);
  });

  test("a deposed leader answers nothing: no read, no refusal, no write, no duplicate", async () => {
    const old = await bench.elect(0, 1);
    const requestId = bench.requestId();
    await bench.do(old, "a", bench.put("e"), requestId);
    await bench.elect(1, 2, [1, 2]);
    const attempts: (() => Promise<unknown>)[] = [
      () => old.read(bench.key("a"), false),
      () => bench.begin(old, "a", bench.put("x", { ifNoneMatch: ["*"] })),
      () => bench.begin(old, "b", bench.put("x")),
      () => bench.begin(old, "a", bench.put("e"), requestId),
    ];
    for (const attempt of attempts) await expect(bench.run(attempt())).rejects.toThrow(NotLeader);
    expect(old.deposed).toBe(true);
  });

  test("a leader without a majority gives up after a bounded time", async () => {
    const leader = await bench.elect(0, 1);
    bench.fate = (_, to) => to === 0;
    const begunMs = bench.clock.now;
    await expect(bench.do(leader, "a", bench.put("e"))).rejects.toThrow(NotLeader);
    expect(bench.clock.now - begunMs).toBe(quorumTimeoutMs);
  });
});

describe("absent keys", () => {
  const undecided = async (): Promise<SliceLeader> => {
    const register = {
      key: bench.key("a"),
      version: makeVersion(makeBallot(1, 1, bench.voters[0]!), 1),
      value: JSON.stringify({ value: undefined, answered: [] }),
    };
    await bench.run(
      bench.replicas[0]!.accept(SLICE, makeBallot(1, 1, bench.voters[0]!), [register]),
    );
    return bench.elect(1, 2, [1, 2]);
  };
  const versions = () =>
    bench.replicas.map((one) => one.read(SLICE, bench.key("a"), "version").version);

  test("a read of a key that is nowhere writes nothing", async () => {
    const leader = await bench.elect(0, 1);
    expect(await bench.etag(leader, "a")).toBeUndefined();
    expect([count("accept"), versions()]).toEqual([0, [NO_VERSION, NO_VERSION, NO_VERSION]]);
  });

  test.each([0, 20])(
    "an undecided value outside of the majority is buried, also when it shows %i ms later",
    async (lateMs) => {
      const leader = await undecided();
      bench.fate = (call, to) =>
        call === "readReg" && to === 0 ? bench.clock.sleep(lateMs) : true;
      // The first read brings the third member to the ballot, the second one finds what it holds.
      for (let i = 0; i < 2; i++) {
        expect(await bench.etag(leader, "a")).toBeUndefined();
        await bench.clock.runFor(500);
      }
      expect(new Set(versions()).size).toBe(1);
      expect(ballotOf(versions()[0]!)).toBe(leader.ballot);
    },
  );
});

describe("request ids", () => {
  test("a request that comes again is answered as before and not done again, by the next leader too", async () => {
    const leader = await bench.elect(0, 1);
    const requestId = bench.requestId();
    const made = await bench.do(leader, "a", bench.put("1"), requestId);
    await bench.do(leader, "a", bench.put("2"));
    expect(await bench.do(leader, "a", bench.put("1"), requestId)).toEqual(made);
    const next = await bench.elect(1, 2);
    expect(await bench.do(next, "a", bench.put("1"), requestId)).toEqual(made);
    expect(await bench.etag(next, "a")).toBe("2");
  });

  test("another operation under the same id is refused", async () => {
    const leader = await bench.elect(0, 1);
    const requestId = bench.requestId();
    await bench.do(leader, "a", bench.put("1"), requestId);
    await expect(bench.do(leader, "a", bench.put("2"), requestId)).rejects.toMatchObject({
      code: "InvalidRequest",
    });
  });

  test("a crowded register slows down and goes on when the oldest ids are old enough", async () => {
    const leader = await bench.elect(0, 1);
    for (let i = 0; i < dedupMax; i++) await bench.do(leader, "a", bench.put(`${i}`));
    await expect(bench.do(leader, "a", bench.put("x"))).rejects.toMatchObject({ code: "SlowDown" });
    await bench.clock.runFor(22_000);
    await bench.do(leader, "a", bench.put("y"));
    expect(await bench.etag(leader, "a")).toBe("y");
  });
});

describe("leases", () => {
  test("a lease that runs out unlocks, a renewed one does not", async () => {
    const leader = await bench.elect(0, 1);
    const held = await fence(leader, "a");
    await bench.clock.runFor(8_000);
    await bench.do(leader, "a", { type: "renew", fence: held });
    await bench.clock.runFor(8_000);
    await expect(bench.do(leader, "a", bench.put("e"))).rejects.toMatchObject({ code: "Locked" });
    await bench.clock.runFor(3_000);
    await bench.do(leader, "a", bench.put("e"));
  });

  test("a waiter that asks again under its id is granted the lock when its turn came", async () => {
    const leader = await bench.elect(0, 1);
    const held = await fence(leader, "a");
    const waiter = bench.requestId();
    expect(await bench.do(leader, "a", acquire, waiter)).toEqual({ type: "queued", place: 0 });
    await bench.do(leader, "a", { type: "release", fence: held });
    expect(await bench.do(leader, "a", acquire, waiter)).toMatchObject({
      type: "granted",
      fence: held + 1,
    });
    await bench.do(leader, "a", { type: "release", fence: held + 1 });
    await expect(bench.do(leader, "a", acquire, waiter)).rejects.toMatchObject({
      code: "FenceTooOld",
    });
  });

  test("a copy of an old holder's renewal does not touch the next holder's lease", async () => {
    const leader = await bench.elect(0, 1);
    const held = await fence(leader, "a");
    const renewal = bench.requestId();
    await bench.do(leader, "a", { type: "renew", fence: held }, renewal);
    await bench.do(leader, "a", { type: "release", fence: held });
    await fence(leader, "a");
    await bench.do(leader, "a", { type: "renew", fence: held }, renewal).catch(() => {});
    await bench.clock.runFor(11_000);
    await bench.do(leader, "a", bench.put("e"));
  });

  test("a release brings its own inline body, other operations leave the body alone", async () => {
    const leader = await bench.elect(0, 1);
    const key = bench.key("a");
    const bodyOf = async () => (await bench.run(leader.read(key, true))).body;
    await bench.do(leader, "a", bench.put("e"));
    const held = await fence(leader, "a");
    expect(await bodyOf()).toEqual(new TextEncoder().encode("a"));
    const entry = {
      headers: {},
      metadata: {},
      size: 1,
      etag: "n",
      body: { kind: "inline" },
    } as const;
    const release = { type: "release", fence: held, entry } as const;
    await bench.run(leader.execute(key, release, bench.requestId(), Uint8Array.of(9)));
    expect(await bodyOf()).toEqual(Uint8Array.of(9));
  });

  test("a lease whose end was refused is ended later", async () => {
    const leader = await bench.elect(0, 1);
    await fence(leader, "a");
    // The register is crowded: one lock after the other waits in its queue and is cancelled.
    for (let i = 1; i < dedupMax; i += 2) {
      const waiter = bench.requestId();
      await bench.do(leader, "a", acquire, waiter);
      await bench.do(leader, "a", { type: "cancel", requestId: waiter }).catch(() => {});
    }
    await bench.clock.runFor(60_000);
    await bench.do(leader, "a", bench.put("e"));
  });

  test("a renewal that comes before the end of the lease was written keeps the lock", async () => {
    const leader = await bench.elect(0, 1);
    const held = await fence(leader, "a");
    await bench.clock.runFor(9_990);
    // Something slow is in line before the renewal, and the lease runs out meanwhile.
    let arrive = (): void => {};
    const slow = new Promise<void>((resolve) => (arrive = resolve));
    bench.fate = (call) => (call === "accept" ? slow : true);
    const block = "d".repeat(32) as BlockId;
    const before = bench.begin(leader, "a", { type: "disown", block });
    const renewed = bench.begin(leader, "a", { type: "renew", fence: held });
    await bench.clock.runFor(1_000);
    arrive();
    await bench.run(before);
    expect(await bench.run(renewed)).toMatchObject({ type: "granted", fence: held });
    await bench.clock.runFor(8_000);
    await expect(bench.do(leader, "a", bench.put("e"))).rejects.toMatchObject({ code: "Locked" });
    await bench.clock.runFor(3_000);
    await bench.do(leader, "a", bench.put("e"));
  });

  test("an ACQUIRE that comes after its CANCEL takes no lock, under the next leader neither", async () => {
    const leader = await bench.elect(0, 1);
    const given = bench.requestId();
    await bench.do(leader, "a", { type: "cancel", requestId: given });
    const late = { code: "FenceTooOld" };
    await expect(bench.do(leader, "a", acquire, given)).rejects.toMatchObject(late);
    const next = await bench.elect(1, 2);
    await expect(bench.do(next, "a", acquire, given)).rejects.toMatchObject(late);
    const granted = bench.requestId();
    await bench.do(next, "a", acquire, granted);
    await bench.do(next, "a", { type: "cancel", requestId: granted });
    await expect(bench.do(next, "a", acquire, granted)).rejects.toMatchObject(late);
    await bench.do(next, "a", bench.put("e"));
  });

  test("the next leader gives the full lease again when it first sees the lock", async () => {
    await fence(await bench.elect(0, 1), "a");
    await bench.clock.runFor(9_000);
    const next = await bench.elect(1, 2);
    await expect(bench.do(next, "a", bench.put("e"))).rejects.toMatchObject({ code: "Locked" });
    await bench.clock.runFor(9_000);
    await expect(bench.do(next, "a", bench.put("e"))).rejects.toMatchObject({ code: "Locked" });
    await bench.clock.runFor(2_000);
    await bench.do(next, "a", bench.put("e"));
  });
});

describe("gates", () => {
  const described = { headers: {}, metadata: {} };
  const gate = registerKey("gate", BUCKET, "");
  const setGate = (leader: SliceLeader, open: boolean, closer = "c".repeat(32)) => {
    const operation = { type: "setGate", open, closer: closer as never } as const;
    return leader.execute(gate, operation, bench.requestId(), undefined);
  };

  test("closing waits for the writes that passed and refuses those that come", async () => {
    const leader = await bench.elect(0, 1);
    let arrive = (): void => {};
    const held = new Promise<void>((go) => void (arrive = go));
    bench.fate = (call, to) => (call === "accept" && to > 0 ? held : true);
    const passed = bench.begin(leader, "a", bench.put("e"));
    await bench.clock.runFor(5);
    let closed = false;
    const closing = setGate(leader, false).then(() => void (closed = true));
    await bench.clock.runFor(5);
    await expect(bench.do(leader, "b", bench.put("e"))).rejects.toMatchObject({ code: "SlowDown" });
    expect(closed).toBe(false);
    bench.fate = () => true;
    arrive();
    await bench.run(Promise.all([passed, closing]));
    for (const operation of [
      bench.put("e"),
      {
        type: "createUpload",
        upload: { id: "f".repeat(32) as UploadId, ...described },
      },
      acquire,
      {
        type: "release",
        fence: 1,
        entry: { ...described, size: 1, etag: "e", body: { kind: "inline" } },
      },
    ] as const) {
      await expect(bench.do(leader, "b", operation)).rejects.toMatchObject({
        code: "NoSuchBucket",
      });
    }
    await bench.do(leader, "a", { type: "delete", precondition: {} });
  });

  test("a closed gate holds under the next leader, and opens for the one that closed it last", async () => {
    await bench.run(setGate(await bench.elect(0, 1), false));
    const leader = await bench.elect(1, 2);
    await bench.run(setGate(leader, true, "d".repeat(32)));
    await expect(bench.do(leader, "a", bench.put("e"))).rejects.toMatchObject({
      code: "NoSuchBucket",
    });
    await bench.run(setGate(leader, true));
    await bench.do(leader, "a", bench.put("e"));
  });

  test("a write that was answered is answered again although the gate has closed since", async () => {
    const leader = await bench.elect(0, 1);
    const requestId = bench.requestId();
    const made = await bench.do(leader, "a", bench.put("e"), requestId);
    await bench.run(setGate(leader, false));
    expect(await bench.do(leader, "a", bench.put("e"), requestId)).toEqual(made);
  });
});

describe("LeaderNames", () => {
  const page = (keys: string[], more = false) => Promise.resolve({ ok: true, keys, more } as const);

  test("lacks what no promise named, until it is written", () => {
    const names = new LeaderNames(new Set(["a"]));
    expect([names.lack("a"), names.lack("b")]).toEqual([false, true]);
    names.add("b");
    expect(names.lack("b")).toBe(false);
  });

  test("is unknown until a majority told all names; what was written meanwhile counts", async () => {
    const names = new LeaderNames(undefined);
    names.add("written");
    expect(names.lack("other")).toBe(false);
    const told = [["a"], ["b"], []];
    await names.load(
      bench.voters,
      2,
      (voter) => page(told[bench.voters.indexOf(voter)]!),
      () => false,
    );
    expect(["a", "b", "written", "other"].map((key) => names.lack(key))).toEqual([
      false,
      false,
      false,
      true,
    ]);
  });

  test("gives up on too many names, told or written: then nothing is known to be absent", async () => {
    const told = new LeaderNames(undefined, 3);
    let pages = 0;
    const endless = () => page([`${++pages}`], true);
    await told.load(bench.voters, 2, endless, () => false);
    expect(pages).toBeLessThan(10);
    expect(told.lack("x")).toBe(false);
    const written = new LeaderNames(new Set(), 3);
    for (const key of ["a", "b", "c"]) written.add(key);
    expect(written.lack("x")).toBe(true);
    written.add("d");
    expect(written.lack("x")).toBe(false);
  });
});

test("SettledCache keeps the bytes of all leaders of a node below one bound, the latest used last", () => {
  const cache = new SettledCache(20_000);
  const [one, two] = [cache.part(), cache.part()];
  const touched = (text: string) => ({
    version: NO_VERSION,
    state: NO_STATE,
    text,
    answeredAt: [],
    settled: true,
  });
  one.set("kept", touched("x"));
  for (let i = 0; i < 100; i++) {
    two.set(`k${i}`, touched("x".repeat(100)));
    expect(one.get("kept")?.text).toBe("x");
  }
  expect(two.get("kept")).toBeUndefined();
  expect(two.get("k0")).toBeUndefined();
  expect(two.get("k99")).toBeDefined();
  expect(cache.size).toBeLessThan(30);
  two.delete("k99");
  expect(two.get("k99")).toBeUndefined();
});
