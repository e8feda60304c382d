// The ring's driver: asks the neighbours, feeds the pure steps of ring-state.ts, notifies. What the paper hides:
// one operation at a time; while one waits, state queries get BUSY, never the old state; pointers carry lives; silence
// is no failure, only the failure detector's verdict (or another life) is. The ring needs r + 1 live members; below
// that it is static: the table's order. When its base is lost (r successors at once) it starts anew from the table.
import { type NodeId } from "../../shared/ids.ts";
import {
  joinAskAtOnce,
  joinAskMax,
  notifiesMax,
  ringRetryMs,
  stabilizeMs,
  stabilizeQuietMs,
} from "../../shared/limits.ts";
import { between } from "../../shared/ring.ts";
import { type RequestOf, type ReplyOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Log, type Timer } from "../ports.ts";
import { type Background } from "./background.ts";
import { type Membership } from "./membership.ts";
import { hashNeighbours, type Heard, type RingCalls } from "./ring-calls.ts";
import {
  initRing,
  joinRing,
  localFaults,
  mustCheckPredecessor,
  type Neighbours,
  offerCandidate,
  type Pointer,
  rectify,
  type RingState,
  stabilize,
  stabilizeCandidate,
} from "./ring-state.ts";
import { type Ring } from "./types.ts";

interface Deps {
  readonly membership: Membership;
  readonly calls: RingCalls;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly log: Log;
  readonly background: Background;
  /** Length of successor lists. */
  readonly r: number;
}

/** A ring that found nothing to do so often in a row stabilizes less often. */
const quietAfterTurns = 3;

export class RingDriver {
  readonly #deps: Deps;
  #state: RingState | undefined;
  #operating = false;
  #rejoin = false;
  readonly #notifies = new Map<NodeId, Pointer>();
  #timer: Timer | undefined;
  /** Turns in a row that changed nothing. */
  #quietTurns = 0;
  #stopped = true;

  constructor(deps: Deps) {
    this.#deps = deps;
    deps.peers.onCall("route.neighbours", (request) => this.#answer(request));
    deps.peers.onCall("route.notify", (from) => {
      this.#onNotify(from);
      return {};
    });
  }

  /** Undefined while the ring is static or this node is about to join. */
  get state(): RingState | undefined {
    return this.#state;
  }

  get life(): number {
    return this.#state?.self.life ?? 0;
  }

  start(): void {
    this.#stopped = false;
    this.#deps.membership.onChange((row) => this.#onMemberChange(row.id));
    this.#schedule(this.#deps.chance.fraction() * ringRetryMs);
  }

  /** This node left: its neighbours read that in the table, and here that it is in no ring. */
  leave(): void {
    this.#timer?.cancel();
    this.#state = undefined;
  }

  /** The operation under way ends by itself; see Background. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** This node was declared dead and came back: it is a member again only by JOIN, in a new life. */
  joinAgain(): void {
    this.#rejoin = true;
    if (!this.#stopped) this.#schedule(0);
  }

  /** Neighbours by the ring, or by the table while the ring is static. Made-up entries are left out. */
  view(): Ring {
    const { membership, r } = this.#deps;
    const state = this.#state;
    if (state) {
      const known = state.successors.filter((each) => membership.table.find(each.id));
      return { successors: known.map((each) => each.id), predecessor: state.predecessor?.id };
    }
    const { table, self } = membership;
    const successors = table
      .liveAfterSelf()
      .take(r)
      .map((row) => row.id)
      .toArray();
    const before = table.liveBefore(self.id).next().value?.id;
    return { successors, predecessor: before === self.id ? undefined : before };
  }

  // ---------------------------------------------------------------- operations, one at a time

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#deps.clock.after(delayMs, () => {
      if (this.#stopped) return;
      if (this.#operating) {
        this.#schedule(this.#retryMs());
        return;
      }
      this.#operate("ring turn", async () => {
        const nextMs = await this.#takeTurn();
        if (!this.#stopped) this.#schedule(this.#rejoin ? 0 : nextMs);
      });
    });
  }

  #operate(what: string, operation: () => Promise<void>): void {
    this.#operating = true;
    this.#deps.background.run(what, async () => {
      try {
        await operation();
      } finally {
        this.#operating = false;
        this.#nextNotify();
      }
    });
  }

  /** Does one step and answers when to do the next, in ms. */
  async #takeTurn(): Promise<number> {
    const { membership, calls, r, log } = this.#deps;
    if (membership.hasLeft) {
      this.#state = undefined;
      return stabilizeQuietMs;
    }
    if (this.#rejoin) {
      this.#rejoin = false;
      this.#state = undefined;
    }
    if (membership.table.liveCount <= r) {
      if (this.#state) log.warn("Ring is static: too few members", { needed: r + 1 });
      this.#state = undefined;
      return this.#jittered(stabilizeMs);
    }
    const state = this.#state;
    if (!state) return this.#join();
    if (!state.successors.some((each) => calls.isLive(each))) {
      this.#startAnew("all successors are dead");
      return this.#retryMs();
    }
    return state.candidate ? this.#stabilizeCandidate(state) : this.#stabilize(state);
  }

  async #stabilize(state: RingState): Promise<number> {
    const { calls } = this.#deps;
    const first = state.successors[0]!;
    const heard = await calls.ask(first, "stabilize", state.self);
    if (heard === "busy") return this.#retryMs();
    // Silent, or expected by INIT and not there yet: the failure detector has the word.
    if (heard === "silent" || (heard === "absent" && first.life === 0)) return stabilizeMs / 4;
    const answer = heard === "absent" ? "failed" : heard;
    const step = stabilize(state, answer);
    this.#commit(step.state);
    // A notify that would tell nothing new can be left out, as if it were lost.
    const isKnown = answer !== "failed" && isSame(answer.predecessor, state.self);
    if (step.notify && !isKnown) calls.notify(step.notify, state.self);
    if (!this.#state?.candidate) this.#offerFromTable();
    if (this.#state?.candidate) return 0;
    const settled = this.#state?.successors.every((each, i) => each.id === state.successors[i]?.id);
    this.#quietTurns = settled && isKnown ? this.#quietTurns + 1 : 0;
    if (!settled) return this.#retryMs();
    return this.#jittered(this.#quietTurns > quietAfterTurns ? stabilizeQuietMs : stabilizeMs);
  }

  async #stabilizeCandidate(state: RingState): Promise<number> {
    const { calls } = this.#deps;
    const heard = await calls.ask(state.candidate!, "stabilize", state.self);
    if (heard === "busy") return this.#retryMs();
    const step = stabilizeCandidate(state, typeof heard === "string" ? "failed" : heard);
    this.#commit(step.state);
    if (step.notify) calls.notify(step.notify, state.self);
    return typeof heard === "string" ? this.#jittered(stabilizeMs) : this.#retryMs();
  }

  /** JOIN through the nearest live predecessor that is in the ring; when nobody is, INIT from the table. */
  async #join(): Promise<number> {
    const { membership, calls, r } = this.#deps;
    const self: Pointer = { id: membership.self.id, life: membership.self.incarnation };
    const before = membership.table.liveBefore(self.id).filter((row) => row.id !== self.id);
    const asked = before
      .take(joinAskMax)
      .map(({ id }) => ({ id, life: 0 }))
      .toArray();
    const answers: Heard[] = [];
    let member: Neighbours | undefined;
    for (let from = 0; !member && from < asked.length; from += joinAskAtOnce) {
      const batch = asked.slice(from, from + joinAskAtOnce);
      const heard = await Promise.all(batch.map((each) => calls.ask(each, "join", self)));
      answers.push(...heard);
      member = heard.find((each) => typeof each === "object");
    }
    if (!member) {
      if (!answers.includes("busy")) this.#startAnew("no member answers");
      return this.#retryMs();
    }
    const found = await this.#walk(member, self);
    if (found === "expected") this.#startAnew("the ring expects this node");
    else if (found) {
      const joined = joinRing(self, found);
      // A list that would break the local rules cannot come from a ring of r + 1 others: then ask again.
      if (joined && localFaults(joined, r).length === 0) this.#state = joined;
      else if (membership.table.liveCount <= r + 1) this.#startAnew("the ring has no base");
    }
    return this.#retryMs();
  }

  /** Follows first successors from `start` to the member that the joiner comes after. */
  async #walk(start: Neighbours, self: Pointer): Promise<Neighbours | "expected" | undefined> {
    const { calls } = this.#deps;
    let member = start;
    for (let step = 0; step < joinAskMax; step++) {
      const next = member.successors[0]!;
      // Made by INIT, it has this node in its list already and waits for it.
      if (next.id === self.id)
        return next.life === 0 || next.life === self.life ? "expected" : undefined;
      if (between(member.self.id, self.id, next.id)) return member;
      const alive = member.successors.find((each) => calls.isLive(each));
      const heard = alive && (await calls.ask(alive, "join", self));
      if (typeof heard !== "object") return undefined;
      member = heard;
    }
    return undefined;
  }

  /** INIT from the table. Also the way out when the ring lost its base, which only more than r failures can cause. */
  #startAnew(reason: string): void {
    const { membership, r, log } = this.#deps;
    const { table } = membership;
    if (table.liveCount <= r) return;
    const hadBase = this.#state !== undefined;
    const { id, incarnation } = membership.self;
    const successors = table
      .liveAfterSelf()
      .take(r)
      .map((row) => row.id)
      .toArray();
    const predecessor = table.liveBefore(id).next().value!.id;
    this.#state = initRing({ id, life: incarnation }, successors, predecessor, r);
    const fields = { reason, members: table.liveCount };
    // More than r failures at once: a matter for an operator.
    if (hadBase) log.warn("Ring starts from the member table", fields);
    else log.info("Ring starts from the member table", fields);
  }

  /** Takes over a new state; one that breaks the local invariants shows that the ring lost its base. */
  #commit(state: RingState): void {
    const faults = localFaults(state, this.#deps.r);
    if (faults.length === 0) this.#state = state;
    else this.#startAnew(faults.join(", "));
  }

  /** The table may know a nearer successor, after a heal even one of another ring: it must pass STABILIZE-2, too. */
  #offerFromTable(): void {
    const { membership } = this.#deps;
    const state = this.#state;
    if (!state) return;
    const next = membership.table.liveAfterSelf().next().value;
    if (next?.state !== "alive") return;
    this.#state = offerCandidate(state, { id: next.id, life: 0 });
  }

  /** A neighbour came or went: what the next turn would find is looked at now. */
  #onMemberChange(id: NodeId): void {
    const state = this.#state;
    if (this.#stopped || !state) return;
    const from = state.predecessor?.id ?? state.self.id;
    const isNear = state.successors.some((each) => each.id === id) || id === from;
    if (!isNear && !between(from, id, state.successors.at(-1)!.id)) return;
    this.#quietTurns = 0;
    if (!this.#operating) this.#schedule(this.#retryMs());
  }

  // ---------------------------------------------------------------- rectify

  #onNotify(from: Pointer): void {
    if (this.#stopped || !this.#state) return;
    if (this.#notifies.size >= notifiesMax && !this.#notifies.has(from.id)) return; // it notifies again
    this.#notifies.set(from.id, from);
    if (!this.#operating) this.#nextNotify();
  }

  #nextNotify(): void {
    const next = this.#notifies.values().next();
    if (next.done || this.#stopped || this.#operating) return;
    this.#notifies.delete(next.value.id);
    this.#operate("rectify", () => this.#rectify(next.value));
  }

  async #rectify(from: Pointer): Promise<void> {
    const state = this.#state;
    if (!state) return;
    const check = mustCheckPredecessor(state, from);
    const failed = check && (await this.#deps.calls.hasFailed(state.predecessor!));
    this.#state = rectify(state, from, failed);
  }

  // ---------------------------------------------------------------- answers

  #answer({ purpose, asker, seen }: RequestOf<"route.neighbours">): ReplyOf<"route.neighbours"> {
    if (this.#operating && this.#state) return { kind: "busy" };
    if (!this.#state) return { kind: "absent" };
    const first = this.#state.successors[0]!;
    if (
      purpose === "join" &&
      first.id === asker.id &&
      first.life !== 0 &&
      first.life < asker.life
    ) {
      // The joiner itself proves that its older life has ended: STABILIZE's time-out, without waiting for it.
      this.#commit(stabilize(this.#state, "failed").state);
    }
    const { self, successors, predecessor } = this.#state;
    if (seen === hashNeighbours(this.#state)) return { kind: "same" };
    return { kind: "member", life: self.life, successors: [...successors], predecessor };
  }

  #retryMs(): number {
    return ringRetryMs * (1 + this.#deps.chance.fraction());
  }

  #jittered(meanMs: number): number {
    return meanMs * (0.75 + 0.5 * this.#deps.chance.fraction());
  }
}

function isSame(a: Pointer | undefined, b: Pointer): boolean {
  return a?.id === b.id && a.life === b.life;
}
