// The leader of one slice under one ballot: runs operations on registers, one at a time each, and decides them with a
// majority.
// Invariants: an answer depends only on a value that a majority acknowledged under this ballot; a value of an older
// ballot is written again under this one before it is told; an answer without a write is given after a CONFIRM round
// that began after the request came.
import { RingstowError, assert } from "../../shared/errors.ts";
import { type BucketId, type RequestId, type VoterId } from "../../shared/ids.ts";
import { leaseRetryMs, queueMax } from "../../shared/limits.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, NO_VERSION, epochOf, makeVersion } from "../../shared/versions.ts";
import { type Clock, type Log } from "../ports.ts";
import { Electorate } from "./electorate.ts";
import { Gates } from "./gates.ts";
import { LeaderNames } from "./leader-names.ts";
import { Leases } from "./leases.ts";
import { type IndexFaults } from "./faults.ts";
import { type MemberLink } from "./member-link.ts";
import { hasRegister, newestOf, readRegAt } from "./newest-register.ts";
import { type NoEffects } from "./no-effects.ts";
import { NotLeader, type Question } from "./quorum.ts";
import {
  NO_STATE,
  type RegisterState,
  decodeState,
  digestOf,
  encodeState,
  hasInlineBody,
  isOpen,
  needsOpenGate,
  resultOf,
} from "./register-state.ts";
import {
  type RegisterKey,
  type RegisterOperation,
  type RegisterResult,
  bucketOf,
  registerKey,
} from "./types.ts";
import { SettledCache, type SettledPart } from "./settled-cache.ts";
import { SharedRound } from "./shared-round.ts";
import { type Touched, answersAfter } from "./touched.ts";
import { Turns } from "./turns.ts";
import { type LeaderRequest, type Verdict, judge } from "./verdict.ts";
import { type KnownView, type View } from "./views.ts";

export interface SliceLeaderOptions {
  readonly slice: Slice;
  readonly ballot: Ballot;
  readonly members: readonly VoterId[];
  /** Names of all registers of the slice by a majority's word; undefined: not known yet. */
  readonly names: ReadonlySet<string> | undefined;
  readonly link: MemberLink;
  readonly clock: Clock;
  readonly log: Log;
  /** The node's own: it outlives this leader. */
  readonly noEffects: NoEffects;
  /** The node's own; a leader without one keeps its own. */
  readonly settled?: SettledCache | undefined;
  /** A random id for the leader's own operations. */
  readonly newRequestId: () => RequestId;
  readonly faults?: IndexFaults | undefined;
  /** A member missed writes that were decided without it. */
  readonly onMissed: (slice: Slice, member: VoterId) => void;
  /** A member is not yet active in this leader's view. */
  readonly onBehind?: ((slice: Slice, view: View, member: VoterId) => void) | undefined;
  /** A member is in a later view, or knows of one. */
  readonly onPassed?: ((slice: Slice, view: KnownView) => void) | undefined;
  /** Another ballot, or no majority: this leader is over. */
  readonly onDeposed: (leader: SliceLeader) => void;
}

export class SliceLeader {
  readonly slice: Slice;
  readonly ballot: Ballot;
  readonly members: readonly VoterId[];
  readonly #options: SliceLeaderOptions;
  readonly #electorate: Electorate;
  readonly #settled: SettledPart;
  readonly #turns = new Turns<string>(queueMax);
  readonly #gates = new Gates();
  readonly #leases: Leases;
  readonly #names: LeaderNames;
  #sequence = 0;
  #deposed = false;
  /** Operations that have begun and not ended, and what is to be done when there are none. */
  #running = 0;
  #idle: (() => void) | undefined;
  readonly #askConfirm = (member: VoterId): ReturnType<MemberLink["confirm"]> =>
    this.#options.link.confirm(member, this);
  readonly #confirms = new SharedRound(async () => {
    await this.#ask({ ask: this.#askConfirm });
  });

  constructor(options: SliceLeaderOptions) {
    this.#options = options;
    this.slice = options.slice;
    this.ballot = options.ballot;
    this.members = options.members;
    const { link, members, ballot, clock, faults, onBehind, onPassed } = options;
    this.#electorate = new Electorate({
      ...{ members, ballot, clock, faults },
      prepare: (member) => link.prepare(member, [{ slice: this.slice, ballot }]),
      // Else a member whose campaign failed would stay out for good: it refuses all that this leader writes. The
      // next election is won above its promise.
      overtaken: () => this.depose(),
      behind: (member) => onBehind?.(this.slice, this.view, member),
      passed: (view) => onPassed?.(this.slice, view),
    });
    this.#settled = (options.settled ?? new SettledCache()).part();
    this.#names = new LeaderNames(options.names);
    this.#leases = new Leases(options.clock, (key, fence) => this.#expire(key, fence));
  }

  get view(): View {
    return { epoch: epochOf(this.ballot), members: this.members };
  }

  get deposed(): boolean {
    return this.#deposed;
  }

  /** Ends the leader: what waits is rejected with NotLeader. */
  depose(): void {
    if (this.#deposed) return;
    this.#deposed = true;
    this.#leases.clear();
    this.#options.onDeposed(this);
  }

  /**
   * Runs an operation. Throws RingstowError when it is refused, NotLeader when its outcome is unknown.
   * @param again an earlier attempt under this request id may still be under way: the outcome is remembered by the
   *   members even when the operation has no effect, so that the attempt has none under any later leader.
   */
  execute(
    key: RegisterKey,
    operation: RegisterOperation,
    requestId: RequestId,
    body: Uint8Array | undefined,
    again = false,
  ): Promise<RegisterResult> {
    const request: LeaderRequest = { operation, requestId, body, again };
    return this.#inLine(key, async () => {
      if (operation.type === "setGate" && !operation.open) {
        return this.#gates.close(bucketOf(key), () => this.#run(key, request, true));
      }
      if (!needsOpenGate(operation)) return this.#run(key, request, true);
      return this.#throughGate(bucketOf(key), (open) => this.#run(key, request, open));
    });
  }

  /** Linearizable read of a register as it is stored. */
  read(key: RegisterKey, withBody: boolean): Promise<StoredRegister> {
    return this.#inLine(key, async () => {
      const found = await this.#touch(key);
      if (found.settled && found.version === NO_VERSION) return this.#readAbsent(key);
      const touched = await this.#assure(key, found);
      this.#leases.follow(key, touched.state);
      const register = { key, version: touched.version, value: touched.text };
      if (!withBody || !hasInlineBody(touched.state.value)) return register;
      return { ...register, body: await this.#bodyOf(key, touched) };
    });
  }

  /** Reads the names of a slice too large for the promises, so that new keys need no read any more. */
  loadNames(): Promise<void> {
    return this.#names.load(
      this.members,
      this.#electorate.needed,
      (member, after) => this.#options.link.names(member, this, after),
      () => this.#deposed,
    );
  }

  // ------------------------------------------------------------------ handing over

  /**
   * From now on a majority of these members has to agree as well, who are to vote next. Resolves when all that was asked
   * before is decided.
   */
  widen(members: readonly VoterId[]): Promise<void> {
    return this.#electorate.widen(members);
  }

  /** Resolves when a majority, of each view, has promised nobody else until now. */
  confirm(): Promise<void> {
    return this.#confirms.join();
  }

  /**
   * Ends the leader when no operation is under way any more; whoever calls begins no other. Gives the names of all
   * registers, as far as they are known; undefined when it was over before.
   */
  finish(): Promise<{ names: ReadonlySet<string> | undefined } | undefined> {
    return new Promise((resolve) => {
      const end = (): void => {
        resolve(this.#deposed ? undefined : { names: this.#names.all });
        this.depose();
      };
      if (this.#running === 0) end();
      else this.#idle = end;
    });
  }

  // ------------------------------------------------------------------ one operation

  async #run(key: RegisterKey, request: LeaderRequest, gateOpen: boolean): Promise<RegisterResult> {
    const touched = await this.#touch(key);
    const { clock, noEffects } = this.#options;
    const remembered = noEffects.find(key, request.requestId);
    const context = { wallMs: clock.wallMs() };
    const verdict = judge(key, touched.state, request, remembered, gateOpen, context);
    if (verdict.type !== "change") return this.#answer(key, touched, request, verdict);
    const { value, result, replacesBody } = verdict.step;
    const { answered, at } = answersAfter(touched, request, result, clock.monotonicMs());
    let nextBody: Uint8Array | undefined;
    if (hasInlineBody(value)) {
      nextBody = replacesBody ? request.body : await this.#bodyOf(key, touched);
      if (!nextBody)
        throw new RingstowError("InvalidRequest", "Cannot commit an inline body: it is missing");
    }
    await this.#write(key, { value, answered }, nextBody, at);
    return result;
  }

  /** Answers a request that changes nothing (any more): as much an answer as any, never from a leader that is over. */
  async #answer(
    key: RegisterKey,
    touched: Touched,
    request: LeaderRequest,
    verdict: Exclude<Verdict, { type: "change" }>,
  ): Promise<RegisterResult> {
    const { outcome } = verdict;
    const final = verdict.type === "noEffect" && verdict.final;
    if (final && request.again) {
      const { value } = touched.state;
      const nowMs = this.#options.clock.monotonicMs();
      const { answered, at } = answersAfter(touched, request, outcome, nowMs);
      const body = hasInlineBody(value) ? await this.#bodyOf(key, touched) : undefined;
      await this.#write(key, { value, answered }, body, at);
    } else {
      await this.#assure(key, touched);
    }
    const { operation, requestId } = request;
    if (final) this.#options.noEffects.remember(key, requestId, digestOf(operation), outcome);
    if (operation.type === "renew" && outcome.type === "granted") {
      this.#leases.renew(key, outcome.fence, outcome.leaseMs);
    }
    return resultOf(outcome);
  }

  /** The newest value of a register; not settled when it comes from an older ballot. */
  async #touch(key: string): Promise<Touched> {
    const settled = this.#settled.get(key);
    if (settled) return settled;
    if (this.#names.lack(key)) {
      return { version: NO_VERSION, state: NO_STATE, text: "", answeredAt: [], settled: true };
    }
    const newest = await this.#readNewest(key);
    const state = decodeState(newest.value ?? "");
    const now = this.#options.clock.monotonicMs();
    return {
      version: newest.version,
      state,
      text: newest.value ?? "",
      answeredAt: state.answered.map(() => now),
      settled: false,
      body: newest.body,
    };
  }

  /** Makes sure that a value may be told: by a CONFIRM round, or by writing it again under this ballot. */
  async #assure(key: string, touched: Touched): Promise<Touched> {
    const { faults } = this.#options;
    if (touched.settled) {
      if (faults?.noConfirm !== true) await this.#confirms.join();
      return touched;
    }
    if (faults?.noRewrite === true) return touched;
    return this.#write(key, touched.state, touched.body, touched.answeredAt);
  }

  async #write(
    key: string,
    state: RegisterState,
    body: Uint8Array | undefined,
    answeredAt: readonly number[],
  ): Promise<Touched> {
    this.#requireLead();
    const version = makeVersion(this.ballot, ++this.#sequence);
    const text = encodeState(state);
    const register: StoredRegister = body
      ? { key, version, value: text, body }
      : { key, version, value: text };
    this.#names.add(key);
    this.#settled.delete(key);
    await this.#ask({
      ask: (member) => this.#options.link.accept(member, this, [register]),
      missed: (member) => this.#options.onMissed(this.slice, member),
    });
    const settled: Touched = { version, state, text, answeredAt, settled: true };
    this.#settled.set(key, settled);
    this.#leases.follow(key, state);
    return settled;
  }

  /**
   * Reads a register that no promise named. READREG is as good as CONFIRM; and where it finds an undecided value of an
   * older ballot, the absence is written: else that value would be found again by every read, and by a later leader.
   */
  async #readAbsent(key: RegisterKey): Promise<StoredRegister> {
    let answered = false;
    const newest = await this.#readNewest(key, () => {
      if (answered) this.#settleAbsent(key);
    });
    answered = true;
    if (newest.version === NO_VERSION) return { key, version: NO_VERSION, value: "" };
    const { version, text } = await this.#write(key, NO_STATE, undefined, []);
    return { key, version, value: text };
  }

  #settleAbsent(key: RegisterKey): void {
    this.#inLine(key, async () => {
      const { settled, version } = await this.#touch(key);
      if (settled && version === NO_VERSION) await this.#write(key, NO_STATE, undefined, []);
    }).catch((error: unknown) => {
      this.#options.log.info("Cannot settle an absent register", { key, error: String(error) });
    });
  }

  /** @param onFound called for each member that has the register, also for one that answers after the majority. */
  async #readNewest(key: string, onFound?: () => void): Promise<StoredRegister> {
    const answers = await this.#ask({
      ask: async (member) => {
        const reply = await readRegAt(this.#options.link, this, member, key);
        if (hasRegister(reply)) onFound?.();
        return reply;
      },
    });
    return newestOf(key, answers);
  }

  /** The inline body that belongs to a value. */
  async #bodyOf(key: string, touched: Touched): Promise<Uint8Array> {
    if (touched.body) return touched.body;
    const local = this.#options.link.readLocal(this.slice, key);
    if (local.version === touched.version && local.body) return local.body;
    const newest = await this.#readNewest(key);
    assert(newest.version === touched.version, `leader of slice ${this.slice} lost its own write`);
    if (!newest.body)
      throw new RingstowError("Corrupt", "An inline body is missing beside its register");
    return newest.body;
  }

  // ------------------------------------------------------------------ quorums

  async #ask<T extends { ok: true }>(
    question: Pick<Question<T>, "ask" | "missed">,
  ): Promise<Map<VoterId, T>> {
    this.#requireLead();
    try {
      const answers = await this.#electorate.ask<T>(question);
      this.#requireLead();
      return answers;
    } catch (error) {
      this.depose();
      throw error;
    }
  }

  #requireLead(): void {
    if (this.#deposed) throw new NotLeader("Another leader was elected");
  }

  /** A lease ran out: unlock. When this leader is over, the next one restarts the lease. */
  #expire(key: RegisterKey, fence: number): void {
    const request: LeaderRequest = {
      operation: { type: "expire", fence },
      requestId: this.#options.newRequestId(),
      body: undefined,
      again: false,
    };
    this.#inLine(key, async () => {
      // A renewal may have been in line before.
      if (this.#leases.isOver(key, fence)) await this.#run(key, request, true);
    }).catch((error: unknown) => {
      if (this.#deposed) return;
      this.#options.log.warn("Cannot end a lease", { key, fence, error: String(error) });
      if (this.#leases.isOver(key, fence)) this.#leases.renew(key, fence, leaseRetryMs);
    });
  }

  // ------------------------------------------------------------------ order

  /** One operation at a time on a register, in the order of arrival. */
  async #inLine<T>(key: string, work: () => Promise<T>): Promise<T> {
    this.#requireLead();
    this.#running++;
    try {
      return await this.#turns.take(key, work);
    } finally {
      if (--this.#running === 0) this.#idle?.();
    }
  }

  /** Passes the bucket's gate when it is settled open; a closed one is for `work` to answer, outside of the gate. */
  async #throughGate<T>(bucket: BucketId, work: (open: boolean) => Promise<T>): Promise<T> {
    const key = registerKey("gate", bucket, "");
    let touched = await this.#touch(key);
    if (!touched.settled) {
      touched = await this.#inLine(key, async () => this.#assure(key, await this.#touch(key)));
    }
    // From here to the passing nothing waits: a gate that closed meanwhile is seen.
    touched = this.#settled.get(key) ?? touched;
    if (isOpen(touched.state.value)) return this.#gates.through(bucket, () => work(true));
    return work(false);
  }
}
