// A random walk over the ring's pure steps with joins and failures, as in Zave's model: one step is one "ask and
// update". Broken variants live here, in the walk, not in the product.
import { type NodeId } from "../../../shared/ids.ts";
import { toRingId } from "../../../shared/ring.ts";
import {
  type Answer,
  initRing,
  joinRing,
  mustCheckPredecessor,
  type Pointer,
  rectify,
  type RingState,
  stabilize,
  stabilizeCandidate,
} from "../../../node/route/ring-state.ts";
import { SeededChance } from "../../sim/seeded-chance.ts";
import { principals } from "../../sim/ring-invariants.ts";

export type Variant = "correct" | "adopt unchecked pointers" | "join with short lists";

export const R = 3;
/** Positions around zero, next to each other: ids wrap, and made-up entries meet real nodes. */
const POSITIONS = 64;
const idAt = (position: number): NodeId => toRingId(BigInt(position - POSITIONS / 2)) as NodeId;

export class RingWalk {
  readonly states = new Map<NodeId, RingState>();
  readonly #notifies = new Map<NodeId, Pointer>();
  readonly #chance: SeededChance;
  readonly #variant: Variant;
  #life = 1;

  constructor(seed: number, variant: Variant) {
    this.#chance = new SeededChance(seed);
    this.#variant = variant;
    const ids = new Set<NodeId>();
    const members = R + 1 + this.#below(3);
    while (ids.size < members) ids.add(idAt(this.#below(POSITIONS)));
    const sorted = [...ids].toSorted();
    for (const [own, id] of sorted.entries()) {
      const after = [...sorted.slice(own + 1), ...sorted.slice(0, own)];
      this.states.set(id, initRing({ id, life: 1 }, after.slice(0, R), after.at(-1)!, R));
    }
  }

  /** One atomic step; what it was. */
  step(churn: boolean): "joined" | "failed" | "kept up" | "nothing" {
    const dice = this.#chance.fraction();
    if (churn && dice < 0.12) return this.#join() ? "joined" : "nothing";
    if (churn && dice < 0.22) return this.#fail() ? "failed" : "nothing";
    this.#maintain(this.#pick());
    return "kept up";
  }

  #below(limit: number): number {
    return Math.floor(this.#chance.fraction() * limit);
  }

  #pick(): RingState {
    return [...this.states.values()][this.#below(this.states.size)]!;
  }

  #find(pointer: Pointer): RingState | undefined {
    const state = this.states.get(pointer.id);
    return state && (pointer.life === 0 || pointer.life === state.self.life) ? state : undefined;
  }

  #ask(pointer: Pointer): Answer {
    return this.#find(pointer) ?? "failed";
  }

  #join(): boolean {
    const id = idAt(this.#below(POSITIONS));
    if (this.states.has(id)) return false;
    const self = { id, life: ++this.#life };
    let member: RingState | undefined = this.#pick();
    for (let hop = 0; member && hop <= 2 * this.states.size; hop++) {
      const joined = joinRing(self, member);
      if (joined) {
        const short = Array.from({ length: R }, () => joined.successors[0]!);
        const isShort = this.#variant === "join with short lists";
        this.states.set(id, isShort ? { ...joined, successors: short } : joined);
        return true;
      }
      const next: Pointer | undefined = member.successors.find((each) => this.#find(each));
      member = next && this.#find(next);
    }
    return false;
  }

  /** The operating assumption (section 4.4): everybody keeps a live successor, r + 1 principals stay. */
  #fail(): boolean {
    const { self } = this.#pick();
    if (this.states.size <= R + 1) return false;
    for (const other of this.states.values()) {
      if (other.self.id === self.id || !other.successors.some((each) => each.id === self.id))
        continue;
      const rest = other.successors.filter((each) => each.id !== self.id);
      if (!rest.some((each) => this.#find(each))) return false;
    }
    const important = principals([...this.states.values()]);
    if (important.includes(self.id) && important.length <= R + 1) return false;
    this.states.delete(self.id);
    this.#notifies.delete(self.id);
    return true;
  }

  #maintain(state: RingState): void {
    const { id } = state.self;
    const from = this.#notifies.get(id);
    if (from) {
      this.#notifies.delete(id);
      const known = state.predecessor;
      const failed = mustCheckPredecessor(state, from) && !this.#find(known!);
      this.states.set(id, rectify(state, from, failed));
      return;
    }
    const step = state.candidate
      ? stabilizeCandidate(state, this.#askCandidate(state, state.candidate))
      : stabilize(state, this.#ask(state.successors[0]!));
    this.states.set(id, step.state);
    if (step.notify && this.#find(step.notify)) this.#notifies.set(step.notify.id, state.self);
  }

  #askCandidate(state: RingState, candidate: Pointer): Answer {
    const answer = this.#ask(candidate);
    if (answer !== "failed" || this.#variant !== "adopt unchecked pointers") return answer;
    return { self: candidate, successors: state.successors, predecessor: undefined };
  }
}
