// One slice with three replicas and as many leaders as a directed schedule wants, message by message: a call is
// carried out, held back, or never arrives, as the schedule says.
import { SliceLeader } from "../../node/index/slice-leader.ts";
import { fastRead } from "../../node/index/fast-read.ts";
import { type IndexFaults } from "../../node/index/faults.ts";
import { type MemberLink } from "../../node/index/member-link.ts";
import { NoEffects } from "../../node/index/no-effects.ts";
import { ReplyTimes } from "../../node/index/reply-times.ts";
import { Replica } from "../../node/index/replica.ts";
import { type RegisterKey, registerKey } from "../../node/index/types.ts";
import { silentLog } from "../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../node/runtime/memory-store.ts";
import { makeBody } from "./bodies.ts";
import { History } from "./history.ts";
import { type Condition } from "./linearizability.ts";
import { SeededChance } from "./seeded-chance.ts";
import { VirtualClock } from "./virtual-clock.ts";
import {
  type BucketId,
  parseFolderId,
  parseNodeId,
  parseRequestId,
  toHex,
  type VoterId,
  voterIdOf,
} from "../../shared/ids.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Slice } from "../../shared/slices.ts";
import { makeBallot } from "../../shared/versions.ts";

/** What a schedule decides about a call from one member to another. */
export type Fate = "pass" | "hold" | "lose";
export type MemberName = "A" | "B" | "C";
export type BenchCall = "prepare" | "accept" | "readReg" | "confirm" | "readFast";

export const BENCH_KEY: RegisterKey = registerKey("object", "0".repeat(32) as BucketId, "x");
const SLICE = 0 as Slice;
const NAMES: readonly MemberName[] = ["A", "B", "C"];

export class SliceBench {
  readonly clock = new VirtualClock();
  readonly history = new History();
  readonly replicas = new Map<MemberName, Replica>();
  /** Decides about every call that is made from now on. */
  fate: (call: BenchCall, from: MemberName, to: MemberName) => Fate = () => "pass";
  readonly #voters: readonly VoterId[];
  readonly #chance = new SeededChance(1);
  readonly #faults: IndexFaults;
  #held: { call: BenchCall; from: MemberName; to: MemberName; go: () => void }[] = [];
  readonly #noEffects = new Map<MemberName, NoEffects>();
  #bodies = 0;

  constructor(faults: IndexFaults) {
    this.#faults = faults;
    this.#voters = NAMES.map((_, i) =>
      voterIdOf(
        parseNodeId(String(i + 1).repeat(32)),
        parseFolderId(String(i + 1).padStart(16, "0")),
      ),
    );
    const view = { epoch: 1, members: this.#voters };
    for (const [i, name] of NAMES.entries()) {
      const store = openMemoryStore(new MemoryDisk(), this.clock, { syncMs: 0 });
      const voter = this.#voters[i]!;
      this.replicas.set(name, new Replica({ store, voter, viewOf: () => view, faults }));
    }
  }

  /** Makes `name` the leader by the promises of these members alone. */
  async elect(name: MemberName, round: number, by: readonly MemberName[]): Promise<SliceLeader> {
    const ballot = makeBallot(1, round, this.#voter(name));
    for (const member of by) {
      const [reply] = await this.run(
        this.replicas.get(member)!.prepare([{ slice: SLICE, ballot }]),
      );
      if (!reply?.ok) throw new Error(`Cannot elect ${name}: ${member} refuses`);
    }
    return new SliceLeader({
      slice: SLICE,
      ballot,
      members: this.#voters,
      names: new Set([BENCH_KEY]),
      link: this.#link(name),
      clock: this.clock,
      log: silentLog,
      noEffects: this.#noEffectsOf(name),
      newRequestId: () => parseRequestId(toHex(this.#chance.bytes(16))),
      faults: this.#faults,
      onMissed: () => {},
      onDeposed: () => {},
    });
  }

  /** Begins a put at a leader; its outcome goes into the history when it comes. */
  put(leader: SliceLeader, condition: Condition): string {
    const { bytes, etag } = makeBody(`body ${++this.#bodies}`, 20);
    const open = this.history.call("x", { kind: "put", value: etag, condition }, `put ${etag}`);
    const precondition = {
      ...(condition.ifMatch === undefined ? {} : { ifMatch: [condition.ifMatch] }),
      ...(condition.ifNoneMatch === undefined ? {} : { ifNoneMatch: [condition.ifNoneMatch] }),
    };
    const entry = {
      headers: {},
      metadata: {},
      size: bytes.length,
      etag,
      body: { kind: "inline" },
    } as const;
    const requestId = parseRequestId(toHex(this.#chance.bytes(16)));
    leader.execute(BENCH_KEY, { type: "commit", entry, precondition }, requestId, bytes).then(
      () => open.answer({ kind: "ok" }),
      (error: unknown) => {
        if (error instanceof RingstowError && error.code === "PreconditionFailed")
          open.answer({ kind: "refused" });
      },
    );
    return etag;
  }

  /** A fast read by the link of `reader`; undefined when the members it reaches disagree. */
  async readFast(reader: MemberName): Promise<{ etag: string | undefined } | undefined> {
    const open = this.history.call("x", { kind: "get" }, `fast read by ${reader}`);
    const view = { epoch: 1, members: this.#voters };
    const register = await this.run(
      fastRead(
        {
          link: this.#link(reader),
          clock: this.clock,
          route: { find: () => undefined },
          viewOf: () => view,
          replyTimes: new ReplyTimes(),
        },
        SLICE,
        BENCH_KEY,
        true,
      ),
    );
    if (!register) return undefined;
    const value = this.etagIn(register.value ?? "");
    open.answer({ kind: "ok", value });
    return { etag: value };
  }

  /** Anti-entropy of one register from one replica to another. */
  async sync(from: MemberName, to: MemberName): Promise<void> {
    const register = this.replicas.get(from)!.read(SLICE, BENCH_KEY, "body");
    await this.run(this.replicas.get(to)!.sync(SLICE, 1, [register]));
  }

  /** ETag of the newest entry in a register's stored text; it is the last one made that the text names. */
  etagIn(text: string): string | undefined {
    const known = this.history
      .of("x")
      .flatMap(({ action }) => (action.kind === "put" ? [action.value] : []));
    const at = (etag: string): number => text.indexOf(etag);
    return known.filter((etag) => at(etag) >= 0).toSorted((a, b) => at(a) - at(b))[0];
  }

  /** Carries out held calls. */
  async release(call: BenchCall, from: MemberName, to: MemberName): Promise<void> {
    const ready = this.#held.filter(
      (held) => held.call === call && held.from === from && held.to === to,
    );
    if (ready.length === 0) throw new Error(`Cannot release ${call} ${from}->${to}: none is held`);
    this.#held = this.#held.filter((held) => !ready.includes(held));
    for (const { go } of ready) go();
    await this.settle();
  }

  /** Runs what is under way, for a few virtual milliseconds. */
  settle(): Promise<void> {
    return this.clock.runFor(5);
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.settle(work, { deadlineMs: this.clock.now + 60_000 });
  }

  #noEffectsOf(name: MemberName): NoEffects {
    const known = this.#noEffects.get(name) ?? new NoEffects(this.clock);
    this.#noEffects.set(name, known);
    return known;
  }

  #voter(name: MemberName): VoterId {
    return this.#voters[NAMES.indexOf(name)]!;
  }

  #link(from: MemberName): MemberLink {
    const carry = async <T>(
      call: BenchCall,
      member: VoterId,
      work: (replica: Replica) => Promise<T> | T,
    ): Promise<T> => {
      const to = NAMES[this.#voters.indexOf(member)]!;
      const fate = this.fate(call, from, to);
      if (fate === "lose") return new Promise(() => {});
      if (fate === "hold") await new Promise<void>((go) => this.#held.push({ call, from, to, go }));
      return work(this.replicas.get(to)!);
    };
    return {
      self: this.#voter(from),
      prepare: (member, claims) => carry("prepare", member, (replica) => replica.prepare(claims)),
      accept: (member, { slice, ballot }, writes) =>
        carry("accept", member, (replica) => replica.accept(slice, ballot, writes)),
      readReg: (member, { slice, ballot }, keys) =>
        carry("readReg", member, (replica) => replica.readReg(slice, ballot, keys)),
      names: () => Promise.reject(new Error("Not used here")),
      confirm: (member, { slice, ballot }) =>
        carry("confirm", member, (replica) => replica.confirm(slice, ballot)),
      readFast: (member, slice, key, want) =>
        carry("readFast", member, (replica) => replica.readFast(slice, key, want)),
      scan: () => Promise.reject(new Error("Not used here")),
      readLocal: (slice, key) => this.replicas.get(from)!.read(slice, key, "body"),
    };
  }
}
