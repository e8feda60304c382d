// Checks the history of one name's lock against a sequential lock: one holder at a time, fences that grow by one with
// every grant, a queue in the order of arrival, no write under a fence that is not the present one, and no lease that
// ends before its time. A search for one order of the operations that explains all answers (Wing and Gong 1993, with
// Lowe's memo). A lease that ends is no operation of the history: the search may end one wherever time allows it.
// An operation of unknown outcome may take effect once, any time after its call, or never.

export type LockAction =
  | { readonly kind: "acquire"; readonly requestId: string }
  | { readonly kind: "renew"; readonly fence: number }
  | { readonly kind: "release"; readonly fence: number }
  /** By the requestId of the acquire. */
  | { readonly kind: "cancel"; readonly requestId: string }
  | { readonly kind: "write"; readonly fence: number }
  /** Of the version. */
  | { readonly kind: "read" };

export type LockOutcome =
  | { readonly kind: "granted"; readonly fence: number }
  | { readonly kind: "queued"; readonly place: number }
  | { readonly kind: "ok" }
  /** Of a write or a read. */
  | { readonly kind: "version"; readonly version: number }
  /** The fence is too old; of an acquire: its turn has passed, or its place was given up. */
  | { readonly kind: "refused" }
  | { readonly kind: "unknown" };

export interface LockOperation {
  readonly action: LockAction;
  readonly outcome: LockOutcome;
  /** Place of call and answer in the one order of all events; an unknown outcome has no answer. */
  readonly calledAt: number;
  readonly answeredAt: number;
  /** Virtual ms of call and answer. */
  readonly calledMs: number;
  readonly answeredMs: number;
  /** For people: who and where. */
  readonly note?: string | undefined;
}

export interface LockRules {
  /** Shortest lease that any holder may be given, in the checker's time: the lease less what clocks may drift. */
  readonly leaseMs: number;
}

export type LockVerdict =
  | { readonly kind: "explained"; readonly states: number }
  | { readonly kind: "violation"; readonly story: string }
  /** The search passed its bound: to be looked at, never to be taken for a success. */
  | { readonly kind: "undecided"; readonly states: number };

interface LockState {
  readonly holder: { readonly requestId: string; readonly fence: number } | undefined;
  /** No earlier than this the present lease began. */
  readonly leasedMs: number;
  readonly queue: readonly string[];
  readonly fence: number;
  readonly version: number;
  /** Acquires that held the lock once, with their fence, or were given up (fence 0). */
  readonly past: readonly (readonly [requestId: string, fence: number])[];
  /** No earlier than this the newest step happened. */
  readonly nowMs: number;
}

const START: LockState = {
  holder: undefined,
  leasedMs: 0,
  queue: [],
  fence: 0,
  version: 0,
  past: [],
  nowMs: 0,
};

/** Opens the lock and grants the head of the queue in the same step. */
function openLock(state: LockState): LockState {
  const { holder, queue } = state;
  if (!holder) return state;
  const past = [...state.past, [holder.requestId, holder.fence] as const];
  const [head, ...rest] = queue;
  if (head === undefined) return { ...state, past, holder: undefined };
  const fence = state.fence + 1;
  return {
    ...state,
    past,
    fence,
    holder: { requestId: head, fence },
    leasedMs: state.nowMs,
    queue: rest,
  };
}

/** The state after an operation, the very same when it changes nothing; undefined when its outcome does not fit here. */
function step({ action, outcome }: LockOperation, state: LockState): LockState | undefined {
  const { holder, queue } = state;
  const unknown = outcome.kind === "unknown";
  const fits = (answer: LockOutcome): boolean =>
    unknown || JSON.stringify(answer) === JSON.stringify(outcome);
  switch (action.kind) {
    case "acquire": {
      const { requestId } = action;
      if (holder?.requestId === requestId)
        return fits({ kind: "granted", fence: holder.fence }) ? state : undefined;
      const place = queue.indexOf(requestId);
      if (place >= 0) return fits({ kind: "queued", place }) ? state : undefined;
      const before = state.past.find(([id]) => id === requestId);
      if (before) {
        // A copy is refused, or told what the first one was told: a fence that is good for nothing any more.
        const [, fence] = before;
        if (fence > 0 && fits({ kind: "granted", fence })) return state;
        return fits({ kind: "refused" }) ? state : undefined;
      }
      if (holder) {
        if (!fits({ kind: "queued", place: queue.length })) return undefined;
        return { ...state, queue: [...queue, requestId] };
      }
      const fence = state.fence + 1;
      if (!fits({ kind: "granted", fence })) return undefined;
      return { ...state, fence, holder: { requestId, fence }, leasedMs: state.nowMs };
    }
    case "renew":
      if (holder?.fence !== action.fence) return fits({ kind: "refused" }) ? state : undefined;
      return fits({ kind: "ok" }) ? { ...state, leasedMs: state.nowMs } : undefined;
    case "release":
      if (holder?.fence !== action.fence) return fits({ kind: "refused" }) ? state : undefined;
      return fits({ kind: "ok" }) ? openLock(state) : undefined;
    case "write": {
      if (holder?.fence !== action.fence) return fits({ kind: "refused" }) ? state : undefined;
      const version = state.version + 1;
      return fits({ kind: "version", version }) ? { ...state, version } : undefined;
    }
    case "cancel": {
      if (!fits({ kind: "ok" })) return undefined;
      const { requestId } = action;
      if (holder?.requestId === requestId) return openLock(state);
      if (state.past.some(([id]) => id === requestId)) return state;
      const rest = queue.filter((id) => id !== requestId);
      return { ...state, queue: rest, past: [...state.past, [requestId, 0]] };
    }
    case "read":
      return fits({ kind: "version", version: state.version }) ? state : undefined;
  }
}

/** One search; a class only to keep its state in one place. */
class Search {
  readonly #operations: readonly LockOperation[];
  readonly #rules: LockRules;
  readonly #statesMax: number;
  readonly #placed: boolean[];
  readonly #visited = new Set<string>();
  readonly #order: string[] = [];
  #left: number;
  states = 0;
  exceeded = false;
  deepest: {
    readonly order: readonly string[];
    readonly state: LockState;
    readonly left: number[];
  };

  constructor(operations: readonly LockOperation[], rules: LockRules, statesMax: number) {
    this.#operations = operations;
    this.#rules = rules;
    this.#statesMax = statesMax;
    this.#placed = operations.map(() => false);
    this.#left = operations.filter(isCertain).length;
    this.deepest = { order: [], state: START, left: [] };
  }

  run(state: LockState): boolean {
    if (this.#left === 0) return true;
    const key = this.#placed.map(Number).join("") + JSON.stringify(state);
    if (this.#visited.has(key)) return false;
    this.#visited.add(key);
    if (++this.states > this.#statesMax) this.exceeded = true;
    if (this.exceeded) return false;
    if (this.#order.length >= this.deepest.order.length)
      this.deepest = { order: [...this.#order], state, left: this.#open() };
    for (const i of this.#open()) {
      const operation = this.#operations[i]!;
      const certain = isCertain(operation);
      const now = { ...state, nowMs: Math.max(state.nowMs, operation.calledMs) };
      if (certain && now.nowMs > operation.answeredMs) continue;
      const stepped = step(operation, now);
      if (!stepped) continue;
      // What changes nothing does not move time either: it can go here without loss, and nothing else needs a try.
      const next = stepped === now ? state : stepped;
      if (next === state && !certain) continue; // as good as never
      this.#placed[i] = true;
      this.#order.push(tell(operation));
      if (certain) this.#left--;
      if (this.run(next)) return true;
      if (certain) this.#left++;
      this.#order.pop();
      this.#placed[i] = false;
      if (next === state) return false;
    }
    return this.#expire(state);
  }

  #expire(state: LockState): boolean {
    if (!state.holder) return false;
    const nowMs = Math.max(state.nowMs, state.leasedMs + this.#rules.leaseMs);
    this.#order.push(`the lease of fence ${state.holder.fence} ends, at ${nowMs} ms or later`);
    if (this.run(openLock({ ...state, nowMs }))) return true;
    this.#order.pop();
    return false;
  }

  /** Not yet placed, and called before every certain one that is left was answered. */
  #open(): number[] {
    const left = this.#operations.flatMap((operation, i) => (this.#placed[i] ? [] : [i]));
    const ends = left.map((i) => this.#operations[i]!).filter(isCertain);
    const firstEnd = Math.min(...ends.map(({ answeredAt }) => answeredAt));
    return left.filter((i) => this.#operations[i]!.calledAt < firstEnd);
  }
}

/**
 * An acquire whose answer was lost inside the cluster is asked again there: it may have taken its place some time before
 * the moment that its answer tells of.
 */
function attemptsOf(operation: LockOperation): LockOperation[] {
  if (operation.action.kind !== "acquire" || !isCertain(operation)) return [operation];
  return [{ ...operation, outcome: { kind: "unknown" } }, operation];
}

function isCertain({ outcome }: LockOperation): boolean {
  return outcome.kind !== "unknown";
}

function tell({ action, outcome, calledMs, answeredMs, note }: LockOperation): string {
  const { kind, ...what } = action;
  const { kind: end, ...told } = outcome;
  const ms = `${calledMs.toFixed(0)}..${end === "unknown" ? "?" : answeredMs.toFixed(0)} ms`;
  const more = Object.keys(told).length > 0 ? ` ${JSON.stringify(told)}` : "";
  return `${kind} ${JSON.stringify(what)} -> ${end}${more}  (${ms}${note ? `, ${note}` : ""})`;
}

/** Whether one order of the operations explains all answers. The lock starts open, at version 0 and fence 0. */
export function checkLocks(
  history: readonly LockOperation[],
  rules: LockRules,
  statesMax = 300_000,
): LockVerdict {
  const operations = history.flatMap(attemptsOf).toSorted((a, b) => a.calledAt - b.calledAt);
  const search = new Search(operations, rules, statesMax);
  if (search.run(START)) return { kind: "explained", states: search.states };
  if (search.exceeded) return { kind: "undecided", states: search.states };
  const { order, state, left } = search.deepest;
  const story = [
    "no order explains the answers; the longest one found is",
    ...order.slice(-12).map((line) => `  ${line}`),
    `the lock is then ${JSON.stringify(state)}, and none of these fits:`,
    ...left.slice(0, 8).map((i) => `  ${tell(operations[i]!)}`),
  ].join("\n");
  return { kind: "violation", story };
}
