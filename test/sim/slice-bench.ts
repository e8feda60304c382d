// One slice with seven members, three of them in its first view, and as many leaders and changes of view as a directed
// schedule wants, message by message: a call is carried out, held back, or never arrives, as the schedule says.
import { SliceLeader } from "../../node/index/slice-leader.ts";
import { fastRead } from "../../node/index/fast-read.ts";
import { type IndexFaults } from "../../node/index/faults.ts";
import { type MemberLink } from "../../node/index/member-link.ts";
import { NoEffects } from "../../node/index/no-effects.ts";
import { ReplyTimes } from "../../node/index/reply-times.ts";
import { type Replica } from "../../node/index/replica.ts";
import { type RegisterKey, registerKey, viewKey } from "../../node/index/types.ts";
import { type View, type ViewChange } from "../../node/index/views.ts";
import { TransportError } from "../../node/ports.ts";
import { silentLog } from "../../node/runtime/json-log.ts";
import { BenchMember } from "./bench-member.ts";
import { makeBody } from "./bodies.ts";
import { History } from "./history.ts";
import { type Condition } from "./linearizability.ts";
import { SeededChance } from "./seeded-chance.ts";
import { VirtualClock } from "./virtual-clock.ts";
import {
  type BucketId,
  nodeOfVoter,
  parseFolderId,
  parseNodeId,
  parseRequestId,
  toHex,
  type VoterId,
  voterIdOf,
} from "../../shared/ids.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, makeBallot } from "../../shared/versions.ts";
import { fixedView } from "../unit/index/fixed-view.ts";

/** What a schedule decides about a call from one member to another. */
export type Fate = "pass" | "hold" | "lose";
export type MemberName = "A" | "B" | "C" | "D" | "E" | "F" | "G";
export type BenchCall =
  | "prepare"
  | "accept"
  | "readReg"
  | "confirm"
  | "readFast"
  | "seal"
  | "snapshot"
  | "fetch";

export const BENCH_KEY: RegisterKey = registerKey("object", "0".repeat(32) as BucketId, "x");
const SLICE = 0 as Slice;
const NAMES: readonly MemberName[] = ["A", "B", "C", "D", "E", "F", "G"];

/** The start of most schedules: A leads A, B and C, and one value is acknowledged by all of them. */
export async function openBench(faults: IndexFaults) {
  const bench = new SliceBench(faults);
  const leader = await bench.elect("A", 1, ["A", "B", "C"]);
  const v0 = bench.put(leader, { ifNoneMatch: "*" });
  await bench.settle();
  return { bench, leader, v0 };
}

export class SliceBench {
  readonly clock = new VirtualClock();
  readonly history = new History();
  /** Decides about every call that is made from now on. */
  fate: (call: BenchCall, from: MemberName, to: MemberName) => Fate = () => "pass";
  readonly #members = new Map<MemberName, BenchMember>();
  readonly #chance = new SeededChance(1);
  readonly #faults: IndexFaults;
  readonly #genesis: View;
  #held: { call: BenchCall; from: MemberName; to: MemberName; go: () => void }[] = [];
  readonly #noEffects = new Map<MemberName, NoEffects>();
  #bodies = 0;

  /** @param voters of the first view */
  constructor(faults: IndexFaults, voters: readonly MemberName[] = ["A", "B", "C"]) {
    this.#faults = faults;
    const genesis = { epoch: 1, members: this.#votersOf(voters) };
    this.#genesis = genesis;
    for (const name of NAMES) {
      const voter = this.#voter(name);
      const call = (peer: { address: string }, called: string, request: unknown) =>
        this.#call(name, peer.address, called, request);
      const member = new BenchMember({ voter, clock: this.clock, genesis, faults, call });
      this.#members.set(name, member);
    }
  }

  member(name: MemberName): BenchMember {
    return this.#members.get(name)!;
  }

  replica(name: MemberName): Replica {
    return this.member(name).replica;
  }

  /** Members that are active in the slice, with the epoch. */
  active(): Partial<Record<MemberName, number>> {
    const votes = NAMES.filter((name) => this.replica(name).votesIn(SLICE));
    return Object.fromEntries(votes.map((name) => [name, this.replica(name).viewOf(SLICE).epoch]));
  }

  /** Makes `name` the leader of its view by the promises of these members alone. */
  async elect(name: MemberName, round: number, by: readonly MemberName[]): Promise<SliceLeader> {
    const { epoch, members } = this.replica(name).viewOf(SLICE);
    const ballot = makeBallot(epoch, round, this.#voter(name));
    // The key counts as named: its first touch reads it, whoever promised.
    const names = new Set<string>([BENCH_KEY]);
    for (const member of by) {
      const [reply] = await this.run(this.replica(member).prepare([{ slice: SLICE, ballot }]));
      if (!reply?.ok) throw new Error(`Cannot elect ${name}: ${member} refuses`);
      for (const key of reply.keys ?? []) names.add(key);
    }
    return new SliceLeader({
      slice: SLICE,
      ballot,
      members,
      names,
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

  /** Begins a read by a leader; its outcome goes into the history when it comes. */
  read(leader: SliceLeader): void {
    const open = this.history.call("x", { kind: "get" }, "read by a leader");
    leader.read(BENCH_KEY, false).then(
      ({ value }) => open.answer({ kind: "ok", value: this.etagIn(value ?? "") }),
      () => {},
    );
  }

  /**
   * A fast read by the link of `reader`; undefined when the members it reaches disagree.
   * @param view what the reader believes: the first one, unless told otherwise
   */
  async readFast(
    reader: MemberName,
    view = this.#genesis,
  ): Promise<{ etag: string | undefined } | undefined> {
    const open = this.history.call("x", { kind: "get" }, `fast read by ${reader}`);
    const register = await this.run(
      fastRead(
        {
          link: this.#link(reader),
          clock: this.clock,
          route: { find: () => undefined },
          views: fixedView(view),
          replyTimes: new ReplyTimes(),
          faults: this.#faults,
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
    const register = this.replica(from).read(SLICE, BENCH_KEY, "body");
    await this.run(this.replica(to).sync(SLICE, 1, [register]));
  }

  // ------------------------------------------------------------------ changes of the view

  /** What follows a leader's view once these members are decided on. */
  change({ view }: SliceLeader, members: readonly MemberName[]): ViewChange {
    return {
      view: { epoch: view.epoch + 1, members: this.#votersOf(members) },
      previous: { epoch: view.epoch, members: view.members },
    };
  }

  /** Lets a leader decide on the next view; what was decided before stands. Rejects when it cannot. */
  async decide(leader: SliceLeader, members: readonly MemberName[]): Promise<ViewChange> {
    const decided = await leader.execute(
      viewKey(leader.view.epoch),
      { type: "decideView", members: this.#votersOf(members) },
      parseRequestId(toHex(this.#chance.bytes(16))),
      undefined,
    );
    if (decided.type !== "view") throw new Error(`Cannot decide a view: ${decided.type}`);
    return this.change(
      leader,
      decided.members.map((voter) => this.#name(voter)),
    );
  }

  /** INSTALL at one member: it is sealed if it was of the view before, and begins to join if it is of the next. */
  async install(change: ViewChange, name: MemberName): Promise<void> {
    const { standings, joiner } = this.member(name);
    if (await this.run(standings.install(SLICE, change))) void joiner.join(SLICE);
  }

  /** INSTALL at all these members, and time enough to become active. */
  async installAll(change: ViewChange, names: readonly MemberName[]): Promise<void> {
    for (const name of names) await this.install(change, name);
    await this.clock.runFor(1_000);
  }

  /** SEAL at one member; a leader that hands over is served on. */
  seal(
    change: ViewChange,
    name: MemberName,
    handing?: SliceLeader,
  ): ReturnType<BenchMember["standings"]["seal"]> {
    return this.run(this.member(name).standings.seal(SLICE, change, handing?.ballot));
  }

  /** A leader that has decided on a view begins to hand over: these enter it, and its quorums are widened. */
  async enter(
    change: ViewChange,
    names: readonly MemberName[],
    handing: SliceLeader,
  ): Promise<void> {
    for (const name of names) {
      const { standings } = this.member(name);
      if (!(await this.run(standings.enter(SLICE, change, handing.ballot))))
        throw new Error(`${name} does not serve the leader`);
    }
    await this.run(handing.widen(change.view.members));
  }

  /** Who has entered a view gathers what it needs; it is active when all calls for that have passed. */
  async join(names: readonly MemberName[]): Promise<void> {
    for (const name of names) void this.member(name).joiner.join(SLICE);
    await this.settle();
  }

  /** The process of a member dies and comes back; what it was joining goes on. */
  restart(name: MemberName): void {
    this.member(name).restart();
    void this.member(name).joiner.join(SLICE);
  }

  /** ETag of the newest entry that a member holds. */
  held(name: MemberName): string | undefined {
    return this.etagIn(this.replica(name).read(SLICE, BENCH_KEY, "value").value ?? "");
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
    const number = String(NAMES.indexOf(name) + 1);
    return voterIdOf(parseNodeId(number.repeat(32)), parseFolderId(number.padStart(16, "0")));
  }

  #votersOf(names: readonly MemberName[]): VoterId[] {
    return names.map((name) => this.#voter(name));
  }

  #name(voter: VoterId): MemberName {
    return NAMES.find((name) => this.#voter(name) === voter)!;
  }

  async #carry<T>(
    call: BenchCall,
    from: MemberName,
    to: MemberName,
    work: (member: BenchMember) => Promise<T> | T,
  ): Promise<T> {
    const fate = this.fate(call, from, to);
    if (fate === "lose") return new Promise(() => {});
    if (fate === "hold") await new Promise<void>((go) => this.#held.push({ call, from, to, go }));
    return work(this.member(to));
  }

  /** A call of one who joins a view. A lost one times out. */
  async #call(from: MemberName, node: string, called: string, request: unknown): Promise<unknown> {
    const to = NAMES.find((name) => nodeOfVoter(this.#voter(name)) === node)!;
    const lost = (call: BenchCall): void => {
      if (this.fate(call, from, to) === "lose") throw new TransportError("timeout", "Lost");
    };
    switch (called) {
      case "index.seal": {
        const seal = request as { slice: Slice; change: ViewChange; leader?: Ballot };
        const { slice, change, leader } = seal;
        lost("seal");
        return this.#carry("seal", from, to, ({ standings }) =>
          standings.seal(slice, change, leader),
        );
      }
      case "index.snapshot": {
        const { slice, epoch, after } = request as { slice: Slice; epoch: number; after: string };
        lost("snapshot");
        return this.#carry("snapshot", from, to, (member) =>
          member.standings.snapshot(slice, epoch, after),
        );
      }
      case "index.fetch": {
        const { slice, keys } = request as { slice: Slice; keys: string[] };
        lost("fetch");
        return this.#carry("fetch", from, to, (member) => member.replica.fetch(slice, keys));
      }
      default:
        throw new Error(`Cannot carry "${called}"`);
    }
  }

  #link(from: MemberName): MemberLink {
    const carry = <T>(
      call: BenchCall,
      member: VoterId,
      work: (replica: Replica) => Promise<T> | T,
    ): Promise<T> => this.#carry(call, from, this.#name(member), ({ replica }) => work(replica));
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
      readLocal: (slice, key) => this.replica(from).read(slice, key, "body"),
    };
  }
}
