// Watches a ring of real route modules: after every event that changed the state of a node Zave's invariants are
// checked. Z9 is checked as her proof has it: who was a principal stays one for as long as that life is a member.
import { expect } from "vitest";
import { type RingState } from "../../node/route/ring-state.ts";
import { type RouteCluster } from "../unit/route/route-cluster.ts";
import { checkRing, localFaultsOf, principals } from "./ring-invariants.ts";

/** Z1-Z9 and Z11, or only what a node can check alone (Z7, Z8, Z11): that holds also when the ring has no base. */
export type WatchScope = "ring" | "local";

export class RingWatch {
  readonly #cluster: RouteCluster;
  #scope: WatchScope = "ring";
  #last: readonly RingState[] = [];
  #principals: ReadonlySet<string> = new Set();

  constructor(cluster: RouteCluster) {
    this.#cluster = cluster;
    this.check();
  }

  /** Checks this from now on. */
  look(scope: WatchScope): void {
    this.#scope = scope;
    this.#last = [];
    this.#principals = new Set();
    this.check();
  }

  /** Runs event by event for so many ms, or until something holds, and checks every state. */
  async run(until: number | (() => boolean), withinMs = 30_000): Promise<void> {
    const { clock } = this.#cluster;
    const end = clock.now + (typeof until === "number" ? until : withinMs);
    const done = typeof until === "number" ? () => false : until;
    let ended = false;
    clock.after(end - clock.now, () => {
      ended = true;
    });
    await clock.run(() => {
      this.check();
      return ended || done();
    });
    if (typeof until !== "number") expect(done(), `by ${clock.now} ms`).toBe(true);
  }

  check(): void {
    const states = this.#cluster.states();
    if (isSame(states, this.#last)) return;
    const { r, clock } = this.#cluster;
    const faults = this.#scope === "ring" ? this.#ringFaults(states) : localFaultsOf(states, r);
    expect(faults, `at ${clock.now} ms`).toEqual([]);
    this.#last = states;
  }

  #ringFaults(states: readonly RingState[]): string[] {
    const faults = checkRing(states, this.#cluster.r);
    const ids = new Set(principals(states));
    const now = new Set(states.filter(({ self }) => ids.has(self.id)).map(lifeOf));
    for (const life of states.map(lifeOf)) {
      if (this.#principals.has(life) && !now.has(life)) faults.push(`Z9 ${life} is skipped`);
    }
    this.#principals = now;
    return faults;
  }
}

const lifeOf = ({ self }: RingState): string => `${self.id} in life ${self.life}`;

function isSame(a: readonly RingState[], b: readonly RingState[]): boolean {
  return a.length === b.length && a.every((state, index) => state === b[index]);
}
