// A check in O(n log n) of histories in which every write names the value that it replaces (If-Match, or
// If-None-Match for the first): a list to which clients append. Whoever reads a value then knows all before it, so
// the order of all writes is known and only the times are left to fit. Where linearizability.ts searches, this one
// counts; on small histories both are tested to agree.
import {
  type Operation,
  type Value,
  type Verdict,
  describe,
  type Action,
} from "./linearizability.ts";

type Put = Extract<Action, { kind: "put" }>;

/** Whether each write says what it replaces, and nothing is deleted: then checkOrdered() can decide. */
export function isOrdered(history: readonly Operation[]): boolean {
  return history.every(({ action }) => action.kind === "get" || predecessorOf(action) !== "any");
}

/** The value that a write replaces; "any" when it does not say. */
function predecessorOf(action: Exclude<Action, { kind: "get" }>): { value: Value } | "any" {
  if (action.kind === "delete" || !action.condition) return "any";
  const { ifMatch, ifNoneMatch } = action.condition;
  if (ifMatch !== undefined && ifMatch !== "*" && ifNoneMatch === undefined)
    return { value: ifMatch };
  return ifMatch === undefined && ifNoneMatch === "*" ? { value: undefined } : "any";
}

const replaced = (action: Put): Value => (predecessorOf(action) as { value: Value }).value;

class Violation extends Error {}

/** Values in the order in which the register had them; the first is none at all. */
class Trunk {
  readonly places = new Map<Value, number>([[undefined, 0]]);
  /** The write of each place; undefined at 0. */
  readonly writes: (Operation | undefined)[] = [undefined];

  constructor(written: ReadonlyMap<string, Operation>, observed: Iterable<Value>) {
    for (const value of observed) this.#add(value, written);
  }

  #add(value: Value, written: ReadonlyMap<string, Operation>): void {
    const missing: Operation[] = [];
    for (let at = value; !this.places.has(at);) {
      const write = written.get(at!);
      if (!write)
        throw new Violation(`the value ${at} was seen, and no put that may have worked wrote it`);
      if (missing.includes(write)) throw new Violation(`the value ${at} replaces itself`);
      missing.push(write);
      at = replaced(write.action as Put);
    }
    for (const write of missing.toReversed()) {
      const action = write.action as Put;
      const place = this.places.get(replaced(action))! + 1;
      const other = this.writes[place];
      if (other)
        throw new Violation(
          `two puts replaced one value:\n  ${describe(other)}\n  ${describe(write)}`,
        );
      this.places.set(action.value, place);
      this.writes[place] = write;
    }
  }
}

/**
 * Whether one order of the operations explains all answers. Conditions may name only values that the client got from
 * the register. @param history operations on one key that starts without a value, isOrdered(), in any order
 */
export function checkOrdered(history: readonly Operation[]): Verdict {
  try {
    fit(history);
    return { kind: "linearizable", states: history.length };
  } catch (error) {
    if (error instanceof Violation) return { kind: "violation", story: error.message };
    throw error;
  }
}

function fit(history: readonly Operation[]): void {
  const written = new Map<string, Operation>();
  const observed: Value[] = [];
  const lost: Operation[] = [];
  for (const operation of history) {
    const { action, outcome } = operation;
    if (action.kind === "get") {
      if (outcome.kind === "ok") observed.push(outcome.value);
    } else if (action.kind === "put" && outcome.kind !== "refused" && outcome.kind !== "failed") {
      written.set(action.value, operation);
      if (outcome.kind === "ok") observed.push(action.value);
      else lost.push(operation);
    }
  }
  const trunk = new Trunk(written, observed);
  const { places, writes } = trunk;
  const last = writes.length - 1;

  // The earliest moment at which each place can begin: after its write's call, and after the call of every read of
  // the place before. A lost put may stand behind the last one if that explains a refusal.
  const earliest = writes.map((write) => write?.calledAt ?? Number.NEGATIVE_INFINITY);
  const tail = lost
    .filter(({ action }) => places.get(replaced(action as Put)) === last)
    .reduce((first, { calledAt }) => Math.min(first, calledAt), Number.POSITIVE_INFINITY);
  earliest.push(tail);
  const refusals: { readonly operation: Operation; readonly place: number }[] = [];
  for (const operation of history) {
    const { action, outcome } = operation;
    if (action.kind === "get" && outcome.kind === "ok") {
      const next = places.get(outcome.value)! + 1;
      earliest[next] = Math.max(earliest[next]!, operation.calledAt);
    } else if (action.kind === "put" && outcome.kind === "refused") {
      const place = places.get(replaced(action));
      // A value that the register never had is no reason to accept.
      if (place !== undefined) refusals.push({ operation, place });
    }
  }
  explainRefusals(earliest, refusals);

  for (const { action, outcome, ...operation } of history) {
    if (outcome.kind !== "ok" || action.kind === "delete") continue;
    const place = places.get(action.kind === "get" ? outcome.value : action.value)!;
    if (operation.answeredAt < earliest[place]!)
      throw new Violation(
        tooEarly({ action, outcome, ...operation }, place, trunk, earliest[place]!),
      );
  }
}

/**
 * A refused put saw another value than it named: a later one, or else an earlier one, and then that place begins only
 * after its call. Raises `earliest` until all are explained.
 */
function explainRefusals(
  earliest: number[],
  refusals: readonly { readonly operation: Operation; readonly place: number }[],
): void {
  let open = refusals;
  for (;;) {
    for (let i = 1; i < earliest.length; i++)
      earliest[i] = Math.max(earliest[i]!, earliest[i - 1]!);
    const unexplained = open.filter(
      ({ operation, place }) => operation.answeredAt < earliest[place + 1]!,
    );
    if (unexplained.length === 0) return;
    for (const { operation, place } of unexplained) {
      if (place === 0)
        throw new Violation(`refused while there was nothing:\n  ${describe(operation)}`);
      earliest[place] = Math.max(earliest[place]!, operation.calledAt);
    }
    const done = new Set(unexplained);
    open = open.filter((refusal) => !done.has(refusal));
  }
}

function tooEarly(operation: Operation, place: number, trunk: Trunk, beginsAt: number): string {
  const write = trunk.writes[place];
  return [
    `value number ${place} of ${trunk.writes.length - 1} cannot stand before ${beginsAt}, but`,
    `  ${describe(operation)}`,
    ...(write && write !== operation ? [`  ${describe(write)}`] : []),
  ].join("\n");
}
