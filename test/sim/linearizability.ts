// Checks the history of one key against a sequential register with put, get and delete, all maybe conditional
// (Wing and Gong 1993, with Lowe's memo of visited states). Values are unique, so a state is one value, and an
// operation that fits the present state without changing it can be placed at once: histories of hundreds of
// operations take a few hundred steps. An operation of unknown outcome may take effect once, any time after its
// call, or never.

/** Identity of a written value (its ETag); undefined: the key does not exist. */
export type Value = string | undefined;

export interface Condition {
  /** "*" or a value: must exist (with it). */
  readonly ifMatch?: string | undefined;
  /** "*" or a value: must not exist (with it). */
  readonly ifNoneMatch?: string | undefined;
}

export type Action =
  | { readonly kind: "get" }
  | { readonly kind: "put"; readonly value: string; readonly condition?: Condition | undefined }
  | { readonly kind: "delete"; readonly condition?: Condition | undefined };

export type Outcome =
  /** A get's value; a put that took effect; a delete, and whether there was something. */
  | { readonly kind: "ok"; readonly value?: Value; readonly existed?: boolean | undefined }
  /** The condition did not hold: no effect, but it tells about the state. */
  | { readonly kind: "refused" }
  /** No effect for sure, for reasons that tell nothing about the state. */
  | { readonly kind: "failed" }
  | { readonly kind: "unknown" };

export interface Operation {
  readonly action: Action;
  readonly outcome: Outcome;
  /** Place of the call and of the answer in the one order of all events; an unknown outcome has no answer. */
  readonly calledAt: number;
  readonly answeredAt: number;
  /** For people: who, when, where. */
  readonly note?: string | undefined;
}

export type Verdict =
  | { readonly kind: "linearizable"; readonly states: number }
  | { readonly kind: "violation"; readonly story: string }
  /** The search passed its bound: to be looked at, never to be taken for a success. */
  | { readonly kind: "undecided"; readonly states: number };

interface Node {
  readonly operation: Operation;
  readonly required: boolean;
  readonly endsAt: number;
  /** Operations of unknown outcome that nothing tells apart share a group; the earliest goes first. */
  readonly group: string;
}

function holds(condition: Condition | undefined, state: Value): boolean {
  if (condition?.ifMatch !== undefined) {
    if (state === undefined || (condition.ifMatch !== "*" && condition.ifMatch !== state))
      return false;
  }
  if (condition?.ifNoneMatch !== undefined) {
    if (state !== undefined && (condition.ifNoneMatch === "*" || condition.ifNoneMatch === state))
      return false;
  }
  return true;
}

/** The state after the operation when it can stand here; "no" when it cannot. */
function step({ action, outcome }: Operation, state: Value): { next: Value } | "no" {
  if (action.kind === "get")
    return outcome.kind === "ok" && outcome.value === state ? { next: state } : "no";
  const allowed = holds(action.condition, state);
  if (outcome.kind === "refused") return allowed ? "no" : { next: state };
  if (!allowed) return "no";
  if (action.kind === "put") return { next: action.value };
  if (outcome.kind === "ok" && outcome.existed !== undefined)
    if (outcome.existed !== (state !== undefined)) return "no";
  return { next: undefined };
}

/** S3 does not tell whether there was something: a delete that fits where it changes nothing may be needed later. */
function isBlindDelete({ action, outcome }: Operation): boolean {
  return action.kind === "delete" && outcome.kind === "ok" && outcome.existed === undefined;
}

function prepare(history: readonly Operation[]): Node[] {
  const observed = new Set<string>();
  for (const { action, outcome } of history) {
    if (outcome.kind === "ok" && outcome.value !== undefined) observed.add(outcome.value);
    if (action.kind === "get") continue;
    for (const value of [action.condition?.ifMatch, action.condition?.ifNoneMatch])
      if (value !== undefined) observed.add(value);
  }
  const nodes: Node[] = [];
  for (const operation of history) {
    const { action, outcome } = operation;
    if (outcome.kind === "failed") continue;
    const required = outcome.kind !== "unknown";
    if (!required && action.kind === "get") continue;
    let group = "";
    if (!required && action.kind !== "get") {
      const seen = action.kind === "put" && observed.has(action.value) ? action.value : "";
      group = JSON.stringify([action.kind, seen, action.condition]);
    }
    const endsAt = required ? operation.answeredAt : Number.POSITIVE_INFINITY;
    nodes.push({ operation, required, endsAt, group });
  }
  return nodes.toSorted((a, b) => a.operation.calledAt - b.operation.calledAt);
}

/** One search; a class only to keep its state in one place. */
class Search {
  readonly #nodes: Node[];
  readonly #placed: boolean[];
  readonly #visited = new Set<string>();
  readonly #statesMax: number;
  states = 0;
  exceeded = false;
  deepest: number[] = [];
  deepestState: Value;
  readonly #order: number[] = [];
  #left: number;

  constructor(nodes: Node[], statesMax: number) {
    this.#nodes = nodes;
    this.#placed = nodes.map(() => false);
    this.#statesMax = statesMax;
    this.#left = nodes.filter((node) => node.required).length;
  }

  /** Tries to place everything that is left, from this state on. Leaves its own placements undone on failure. */
  run(start: Value): boolean {
    const greedy = this.#placeWhatFits(start);
    if (this.#left === 0) return true;
    if (this.#order.length > this.deepest.length) {
      this.deepest = [...this.#order];
      this.deepestState = start;
    }
    const key = this.#key(start);
    if (!this.#visited.has(key)) {
      this.#visited.add(key);
      if (++this.states > this.#statesMax) this.exceeded = true;
      else
        for (const [i, next] of this.#candidates(start)) {
          this.#place(i);
          if (this.run(next)) return true;
          this.#undo();
          if (this.exceeded) break;
        }
    }
    for (let i = 0; i < greedy; i++) this.#undo();
    return false;
  }

  /** Operations that fit the state and do not change it can be placed now without loss. Gives their number. */
  #placeWhatFits(state: Value): number {
    let count = 0;
    for (let again = true; again;) {
      again = false;
      for (const i of this.#open()) {
        const node = this.#nodes[i]!;
        if (!node.required) continue;
        const taken = step(node.operation, state);
        if (taken === "no" || taken.next !== state || isBlindDelete(node.operation)) continue;
        this.#place(i);
        count++;
        again = true;
      }
    }
    return count;
  }

  /** Operations that may come next and change the state: certain ones by their end first, then unknown ones. */
  #candidates(state: Value): [number, Value][] {
    const found: [number, Value][] = [];
    const groups = new Set<string>();
    const open = this.#open().toSorted(
      (a, b) => this.#nodes[a]!.endsAt - this.#nodes[b]!.endsAt || a - b,
    );
    for (const i of open) {
      const node = this.#nodes[i]!;
      if (!node.required) {
        if (groups.has(node.group)) continue;
        groups.add(node.group);
      }
      const taken = step(node.operation, state);
      if (taken === "no") continue;
      if (taken.next !== state || isBlindDelete(node.operation)) found.push([i, taken.next]);
    }
    return found;
  }

  /** Indices not yet placed that were called before every certain one left has ended. */
  #open(): number[] {
    let firstEnd = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#nodes.length; i++) {
      const node = this.#nodes[i]!;
      if (node.operation.calledAt > firstEnd) break;
      if (!this.#placed[i] && node.endsAt < firstEnd) firstEnd = node.endsAt;
    }
    const open: number[] = [];
    for (let i = 0; i < this.#nodes.length; i++) {
      if (this.#nodes[i]!.operation.calledAt > firstEnd) break;
      if (!this.#placed[i]) open.push(i);
    }
    return open;
  }

  #key(state: Value): string {
    let bits = "";
    for (let i = 0; i < this.#placed.length; i += 15) {
      let word = 0;
      for (let j = 0; j < 15; j++) if (this.#placed[i + j]) word |= 1 << j;
      bits += String.fromCharCode(word);
    }
    return `${bits}|${state ?? ""}`;
  }

  #place(i: number): void {
    this.#placed[i] = true;
    this.#order.push(i);
    if (this.#nodes[i]!.required) this.#left--;
  }

  #undo(): void {
    const i = this.#order.pop()!;
    this.#placed[i] = false;
    if (this.#nodes[i]!.required) this.#left++;
  }
}

/** One line about an operation. */
export function describe({ action, outcome, calledAt, answeredAt, note }: Operation): string {
  const condition =
    action.kind !== "get" && action.condition ? ` ${JSON.stringify(action.condition)}` : "";
  const what = action.kind === "put" ? `put ${action.value}` : action.kind;
  const end = outcome.kind === "unknown" ? "?" : answeredAt;
  const result =
    outcome.kind !== "ok"
      ? outcome.kind
      : action.kind === "get"
        ? (outcome.value ?? "nothing")
        : action.kind === "delete"
          ? `existed=${outcome.existed}`
          : "ok";
  return `[${calledAt}..${end}] ${what}${condition} -> ${result}${note ? `  (${note})` : ""}`;
}

function tell(nodes: Node[], search: Search): string {
  const placed = new Set(search.deepest);
  const last = search.deepest.slice(-6).map((i) => `  ${describe(nodes[i]!.operation)}`);
  const left = nodes
    .filter((node, i) => !placed.has(i) && node.required)
    .toSorted((a, b) => a.endsAt - b.endsAt)
    .slice(0, 6)
    .map((node) => `  ${describe(node.operation)}`);
  return [
    `after ${search.deepest.length} of ${nodes.length} operations, the last being`,
    ...last,
    `the key holds ${search.deepestState ?? "nothing"}, and none of these fits:`,
    ...left,
  ].join("\n");
}

/**
 * Whether one order of the operations explains all answers.
 * @param history operations on one key that starts without a value, in any order
 */
export function checkKey(history: readonly Operation[], statesMax = 3_000_000): Verdict {
  const nodes = prepare(history);
  const search = new Search(nodes, statesMax);
  if (search.run(undefined)) return { kind: "linearizable", states: search.states };
  if (search.exceeded) return { kind: "undecided", states: search.states };
  return { kind: "violation", story: tell(nodes, search) };
}
