// What clients saw, key by key, in one order of calls and answers; and whether one register a key explains it.
import { checkKey, type Action, type Operation, type Outcome } from "./linearizability.ts";
import { checkOrdered, isOrdered } from "./ordered-register.ts";

export interface Open {
  /** Ends the operation; called at most once. Without it the outcome is unknown. */
  answer(outcome: Outcome, note?: string): void;
}

export class History {
  readonly #operations = new Map<string, Operation[]>();
  #order = 0;
  /** Ends of operations by kind, such as "put ok" and "get failed". */
  readonly counts = new Map<string, number>();

  /** Place in the order of all events. */
  tick(): number {
    return ++this.#order;
  }

  keys(): string[] {
    return [...this.#operations.keys()];
  }

  of(key: string): readonly Operation[] {
    return this.#operations.get(key) ?? [];
  }

  /** Adds a finished operation. */
  add(key: string, operation: Operation): void {
    let known = this.#operations.get(key);
    if (!known) this.#operations.set(key, (known = []));
    known.push(operation);
  }

  /** Opens an operation now; unless it is answered it stays unknown. */
  call(key: string, action: Action, note: string): Open {
    const calledAt = this.tick();
    let known = this.#operations.get(key);
    if (!known) this.#operations.set(key, (known = []));
    const place = known.length;
    known.push({ action, outcome: { kind: "unknown" }, calledAt, answeredAt: 0, note });
    return {
      answer: (outcome, more) => {
        this.count(action.kind, outcome.kind);
        const answeredAt = this.tick();
        known[place] = { action, outcome, calledAt, answeredAt, note: more ?? note };
      },
    };
  }

  count(kind: string, outcome: string): void {
    const name = `${kind} ${outcome}`;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  /** One text a key whose history no register explains, or whose check found no end. */
  violations(statesMax?: number): string[] {
    const found: string[] = [];
    for (const [key, operations] of this.#operations) {
      // Histories that name their order are checked without a search, however long they are.
      const verdict = isOrdered(operations)
        ? checkOrdered(operations)
        : checkKey(operations, statesMax);
      if (verdict.kind === "violation") found.push(`key "${key}": ${verdict.story}`);
      if (verdict.kind === "undecided")
        found.push(`key "${key}": undecided after ${verdict.states} states, look at it`);
    }
    return found;
  }
}
