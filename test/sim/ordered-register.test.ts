// The counting check of ordered histories: by examples, by size, and against the searching check on small histories.
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkKey, type Action, type Operation, type Outcome } from "./linearizability.ts";
import { checkOrdered, isOrdered } from "./ordered-register.ts";
import { SeededChance } from "./seeded-chance.ts";

const at = (calledAt: number, answeredAt: number, action: Action, outcome: Outcome): Operation => ({
  action,
  outcome,
  calledAt,
  answeredAt,
});
const replacing = (old: string | undefined): object =>
  old === undefined ? { ifNoneMatch: "*" } : { ifMatch: old };
const putAction = (value: string, old: string | undefined): Action => ({
  kind: "put",
  value,
  condition: replacing(old),
});
const put = (from: number, to: number, value: string, old?: string): Operation =>
  at(from, to, putAction(value, old), { kind: "ok" });
const lost = (from: number, value: string, old?: string): Operation =>
  at(from, 0, putAction(value, old), { kind: "unknown" });
const refused = (from: number, to: number, value: string, old?: string): Operation =>
  at(from, to, putAction(value, old), { kind: "refused" });
const get = (from: number, to: number, value: string | undefined): Operation =>
  at(from, to, { kind: "get" }, { kind: "ok", value });

const good: Record<string, Operation[]> = {
  "an empty history": [],
  "a list that grows": [put(1, 2, "a"), get(3, 4, "a"), put(5, 6, "b", "a"), get(7, 8, "b")],
  "a read during a put, old or new": [
    put(1, 2, "a"),
    put(3, 8, "b", "a"),
    get(4, 5, "a"),
    get(6, 7, "b"),
  ],
  "a lost put that somebody saw": [put(1, 2, "a"), lost(3, "b", "a"), get(4, 5, "b")],
  "a lost put that only a refusal shows": [
    put(1, 2, "a"),
    get(1.5, 4, "a"),
    lost(3, "b", "a"),
    refused(5, 6, "c", "a"),
  ],
  "one winner of two": [put(1, 9, "a"), refused(2, 8, "b"), get(10, 11, "a")],
};
for (const [story, history] of Object.entries(good)) {
  test(`checkOrdered accepts ${story}`, () => {
    expect(isOrdered(history)).toBe(true);
    expect(checkOrdered(history)).toMatchObject({ kind: "linearizable" });
    expect(checkOrdered(history.toReversed())).toMatchObject({ kind: "linearizable" });
    expect(checkKey(history)).toMatchObject({ kind: "linearizable" });
  });
}

const bad: Record<string, Operation[]> = {
  "a stale read": [put(1, 2, "a"), put(3, 4, "b", "a"), get(5, 6, "a")],
  "a lost acknowledged put": [put(1, 2, "a"), get(3, 4, undefined)],
  "a value read before its put was called": [get(1, 2, "a"), put(3, 4, "a")],
  "a value that nobody wrote": [put(1, 2, "a"), get(3, 4, "z")],
  "a value whose put was refused": [put(1, 2, "a"), refused(3, 4, "b", "z"), get(5, 6, "b")],
  "a lost update": [put(1, 2, "a"), put(3, 6, "b", "a"), put(4, 7, "c", "a")],
  "a refusal without a reason": [put(1, 2, "a"), refused(3, 4, "b", "a"), get(5, 6, "a")],
  "a refusal of a creation while there was nothing": [refused(1, 2, "b"), get(3, 4, undefined)],
  "a read that goes back": [put(1, 2, "a"), put(3, 10, "b", "a"), get(4, 5, "b"), get(6, 7, "a")],
  "a put that replaced what came later": [put(1, 2, "b", "a"), put(3, 4, "a")],
};
for (const [story, history] of Object.entries(bad)) {
  test(`checkOrdered finds ${story}`, () => {
    expect(checkOrdered(history)).toMatchObject({ kind: "violation" });
    expect(checkOrdered(history.toReversed())).toMatchObject({ kind: "violation" });
    expect(checkKey(history)).toMatchObject({ kind: "violation" });
  });
}

test("isOrdered is false when a write does not say what it replaces", () => {
  expect(isOrdered([at(1, 2, { kind: "put", value: "a" }, { kind: "ok" })])).toBe(false);
  expect(isOrdered([at(1, 2, { kind: "delete" }, { kind: "ok", existed: false })])).toBe(false);
  const any = { kind: "put", value: "a", condition: { ifMatch: "*" } } as const;
  expect(isOrdered([at(1, 2, any, { kind: "ok" })])).toBe(false);
});

interface Step {
  readonly client: number;
  readonly append: boolean;
  readonly lost: boolean;
  readonly effect: boolean;
  readonly waits: number;
  readonly takes: number;
  readonly moment: number;
}

/**
 * Clients append to a perfect register: each reads, and then may replace what it read. The effect comes at some moment
 * between call and answer, of a lost put maybe never.
 */
function perfectHistory(steps: readonly Step[], clients: number): Operation[] {
  const freeAt = Array.from({ length: clients }, () => 0);
  const planned: { step: Step; calledAt: number; answeredAt: number; effectAt: number }[] = [];
  steps.forEach((step, i) => {
    const calledAt = freeAt[step.client]! + step.waits + i / 10_000;
    const answeredAt = calledAt + step.takes + 1 / 20_000;
    freeAt[step.client] = answeredAt;
    const effectAt = calledAt + (answeredAt - calledAt) * step.moment;
    planned.push({ step, calledAt, answeredAt, effectAt });
  });
  // A client knows a value from its own last answer.
  const knows: (string | undefined)[] = [];
  let state: string | undefined;
  const history: Operation[] = [];
  planned
    .toSorted((a, b) => a.effectAt - b.effectAt)
    .forEach(({ step, calledAt, answeredAt }, i) => {
      const { client } = step;
      if (!step.append) {
        history.push(get(calledAt, answeredAt, state));
        knows[client] = state;
        return;
      }
      const old = knows[client];
      const holds = old === state;
      const action = putAction(`v${i}`, old);
      if (step.lost) {
        history.push(at(calledAt, 0, action, { kind: "unknown" }));
        if (holds && step.effect) state = `v${i}`;
      } else {
        history.push(at(calledAt, answeredAt, action, { kind: holds ? "ok" : "refused" }));
        if (holds) knows[client] = state = `v${i}`;
      }
    });
  return history;
}

const clients = 3;
const step = fc.record<Step>({
  client: fc.nat({ max: clients - 1 }),
  append: fc.boolean(),
  lost: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  effect: fc.boolean(),
  waits: fc.integer({ min: 0, max: 3 }),
  takes: fc.integer({ min: 1, max: 6 }),
  moment: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
});
const steps = fc.array(step, { maxLength: 14 });

test("checkOrdered and checkKey accept what a perfect register answers", () => {
  fc.assert(
    fc.property(steps, (drawn) => {
      const history = perfectHistory(drawn, clients);
      expect(checkKey(history).kind).toBe("linearizable");
      expect(checkOrdered(history).kind).toBe("linearizable");
    }),
    { numRuns: 1_000 },
  );
});

/** Changes one answer, one time, or one outcome of a history: most results are wrong, some still right. */
function damage(history: readonly Operation[], chance: SeededChance): Operation[] {
  const i = chance.below(history.length);
  const { action, outcome, calledAt, answeredAt } = history[i]!;
  const values = history.flatMap((other) =>
    other.action.kind === "put" ? [other.action.value] : [],
  );
  let changed: Operation;
  if (action.kind === "get") {
    const value = chance.pick([undefined, ...values]);
    changed = { action, outcome: { kind: "ok", value }, calledAt, answeredAt };
  } else if (chance.happens(0.5) && outcome.kind !== "unknown") {
    const kind = outcome.kind === "ok" ? "refused" : "ok";
    changed = { action, outcome: { kind }, calledAt, answeredAt };
  } else {
    const shift = chance.range(-8, 8);
    changed = { action, outcome, calledAt: calledAt + shift, answeredAt: answeredAt + shift };
  }
  return history.map((other, j) => (j === i ? changed : other));
}

/** What checkOrdered() asks for: no condition names a value that no answer showed. Damage can take an answer away. */
function namesOnlySeen(history: readonly Operation[]): boolean {
  const seen = new Set<string | undefined>([undefined]);
  for (const { action, outcome } of history) {
    if (outcome.kind !== "ok") continue;
    if (action.kind === "get") seen.add(outcome.value);
    else if (action.kind === "put") seen.add(action.value);
  }
  return history.every(
    ({ action }) => action.kind !== "put" || seen.has(action.condition?.ifMatch),
  );
}

test("checkOrdered and checkKey agree about damaged histories", () => {
  const verdicts = { linearizable: 0, violation: 0, undecided: 0 };
  fc.assert(
    fc.property(steps, fc.nat(), (drawn, seed) => {
      const chance = new SeededChance(seed);
      let history = perfectHistory(drawn, clients);
      if (history.length === 0) return;
      for (let n = 0; n < 1 + (seed % 3); n++) history = damage(history, chance);
      if (!namesOnlySeen(history)) return;
      const verdict = checkKey(history);
      verdicts[verdict.kind]++;
      expect(checkOrdered(history).kind).toBe(verdict.kind);
    }),
    { numRuns: 3_000 },
  );
  expect(verdicts.violation).toBeGreaterThan(500);
  expect(verdicts.linearizable).toBeGreaterThan(300);
  expect(verdicts.undecided).toBe(0);
});

test("checkOrdered takes 200,000 operations, and finds one stale read among them", () => {
  const chance = new SeededChance(1);
  const drawn = Array.from({ length: 200_000 }, (): Step => ({
    client: chance.below(clients),
    append: chance.happens(0.5),
    lost: chance.happens(0.02),
    effect: chance.happens(0.5),
    waits: chance.below(3),
    takes: 1 + chance.below(5),
    moment: chance.range(0.01, 0.99),
  }));
  const history = perfectHistory(drawn, clients);
  expect(checkOrdered(history).kind).toBe("linearizable");
  const reads = history.filter(({ action }) => action.kind === "get");
  const old = reads[1_000]!.outcome;
  const stale = reads.at(-1)!;
  const wrong = history.map((each) => (each === stale ? { ...each, outcome: old } : each));
  expect(checkOrdered(wrong).kind).toBe("violation");
});
