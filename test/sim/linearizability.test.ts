import { expect, test } from "vitest";
import { checkKey, type Action, type Operation, type Outcome } from "./linearizability.ts";
import { SeededChance } from "./seeded-chance.ts";

const at = (calledAt: number, answeredAt: number, action: Action, outcome: Outcome): Operation => ({
  action,
  outcome,
  calledAt,
  answeredAt,
});
const put = (from: number, to: number, value: string, condition?: object): Operation =>
  at(from, to, { kind: "put", value, condition }, { kind: "ok" });
const lostPut = (from: number, value: string, condition?: object): Operation =>
  at(from, 0, { kind: "put", value, condition }, { kind: "unknown" });
const refusedPut = (from: number, to: number, value: string, condition: object): Operation =>
  at(from, to, { kind: "put", value, condition }, { kind: "refused" });
const get = (from: number, to: number, value: string | undefined): Operation =>
  at(from, to, { kind: "get" }, { kind: "ok", value });
const remove = (from: number, to: number, existed: boolean): Operation =>
  at(from, to, { kind: "delete" }, { kind: "ok", existed });
/** As S3 answers: not whether there was something. */
const blindRemove = (from: number, to: number): Operation =>
  at(from, to, { kind: "delete" }, { kind: "ok" });
const lostRemove = (from: number): Operation =>
  at(from, 0, { kind: "delete" }, { kind: "unknown" });
const absent = { ifNoneMatch: "*" };

const good: Record<string, Operation[]> = {
  "an empty history": [],
  "reads of the present value": [get(1, 2, undefined), put(3, 4, "a"), get(5, 6, "a")],
  "a read during a put, old or new": [
    put(1, 2, "a"),
    put(3, 8, "b"),
    get(4, 5, "a"),
    get(6, 7, "b"),
  ],
  "a put of unknown outcome that took effect": [put(1, 2, "a"), lostPut(3, "b"), get(4, 5, "b")],
  "a put of unknown outcome that did not": [put(1, 2, "a"), lostPut(3, "b"), get(4, 5, "a")],
  "a put of unknown outcome that takes effect late": [
    put(1, 2, "a"),
    lostPut(3, "b"),
    get(4, 5, "a"),
    put(6, 7, "c"),
    get(8, 9, "b"),
  ],
  "a delete of unknown outcome": [
    put(1, 2, "a"),
    lostRemove(3),
    get(4, 5, "a"),
    get(6, 7, undefined),
  ],
  "deletes that tell what was there": [put(1, 2, "a"), remove(3, 4, true), remove(5, 6, false)],
  "a blind delete where there is nothing": [blindRemove(1, 2), put(3, 4, "a"), blindRemove(5, 6)],
  "a blind delete that began before there was something": [
    get(1, 2, undefined),
    blindRemove(3, 8),
    put(4, 5, "a"),
    get(6, 9, undefined),
  ],
  "one winner of two creations": [
    put(1, 10, "a", absent),
    refusedPut(2, 9, "b", absent),
    get(11, 12, "a"),
  ],
  "a chain of conditional puts": [
    put(1, 2, "a", absent),
    put(3, 4, "b", { ifMatch: "a" }),
    refusedPut(5, 6, "c", { ifMatch: "a" }),
    get(7, 8, "b"),
  ],
  "an answer without effect": [
    put(1, 2, "a"),
    at(3, 4, { kind: "put", value: "b" }, { kind: "failed" }),
    get(5, 6, "a"),
  ],
  "a refusal that only a lost put explains": [lostPut(1, "a"), refusedPut(2, 3, "b", absent)],
};
for (const [story, history] of Object.entries(good)) {
  test(`checkKey accepts ${story}`, () => {
    expect(checkKey(history)).toMatchObject({ kind: "linearizable" });
    expect(checkKey(history.toReversed())).toMatchObject({ kind: "linearizable" });
  });
}

const bad: Record<string, Operation[]> = {
  "a stale read": [put(1, 2, "a"), put(3, 4, "b"), get(5, 6, "a")],
  "a read that goes back while a put runs": [
    put(1, 2, "a"),
    put(3, 10, "b"),
    get(4, 5, "b"),
    get(6, 7, "a"),
  ],
  "a lost acknowledged put": [put(1, 2, "a"), get(3, 4, undefined)],
  "a value read before its put was called": [get(1, 2, "a"), put(3, 4, "a")],
  "a value that nobody wrote": [put(1, 2, "a"), get(3, 4, "z")],
  "a lost update": [
    put(1, 2, "a"),
    put(3, 6, "b", { ifMatch: "a" }),
    put(4, 7, "c", { ifMatch: "a" }),
  ],
  "two winners of one creation": [put(1, 5, "a", absent), put(2, 6, "b", absent)],
  "a deleted value that comes back": [
    put(1, 2, "a"),
    remove(3, 4, true),
    get(5, 6, undefined),
    get(7, 8, "a"),
  ],
  "a lost put that takes effect twice": [
    lostPut(1, "a"),
    get(2, 3, "a"),
    put(4, 5, "b"),
    get(6, 7, "a"),
  ],
  "a blind delete that left something": [put(1, 2, "a"), blindRemove(3, 4), get(5, 6, "a")],
  "a delete that saw nothing where there was something": [put(1, 2, "a"), remove(3, 4, false)],
  "a refusal without a reason": [put(1, 2, "a"), refusedPut(3, 4, "b", { ifMatch: "a" })],
  "an effect of a failed put": [
    at(1, 2, { kind: "put", value: "a" }, { kind: "failed" }),
    get(3, 4, "a"),
  ],
  "a failed condition that took effect": [
    put(1, 2, "a"),
    refusedPut(3, 4, "b", absent),
    get(5, 6, "b"),
  ],
};
for (const [story, history] of Object.entries(bad)) {
  test(`checkKey finds ${story}`, () => {
    expect(checkKey(history)).toMatchObject({ kind: "violation" });
    expect(checkKey(history.toReversed())).toMatchObject({ kind: "violation" });
  });
}

/** Clients over a perfect register: the effect happens at a random moment between call and answer. */
function perfectHistory(seed: number, clients: number, operations: number): Operation[] {
  const chance = new SeededChance(seed);
  const history: Operation[] = [];
  const busy: { operation: Operation; effectAt: number }[] = [];
  const freeAt = Array.from({ length: clients }, () => 0);
  for (let i = 0; i < operations; i++) {
    const client = chance.below(clients);
    const calledAt = freeAt[client]! + chance.fraction();
    const answeredAt = calledAt + 1 + 20 * chance.fraction();
    freeAt[client] = answeredAt;
    const action: Action = chance.pick<Action>([
      { kind: "get" },
      { kind: "put", value: `v${i}` },
      { kind: "put", value: `v${i}`, condition: { ifNoneMatch: "*" } },
      { kind: "delete" },
    ]);
    const effectAt = calledAt + (answeredAt - calledAt) * chance.fraction();
    busy.push({ operation: at(calledAt, answeredAt, action, { kind: "ok" }), effectAt });
  }
  let state: string | undefined;
  for (const { operation } of busy.toSorted((a, b) => a.effectAt - b.effectAt)) {
    const { action } = operation;
    const lost = chance.happens(0.1);
    const takesEffect = !lost || chance.happens(0.5);
    let outcome: Outcome = { kind: "ok" };
    if (action.kind === "get") outcome = { kind: "ok", value: state };
    else if (action.kind === "delete") {
      outcome = { kind: "ok", existed: state !== undefined };
      if (takesEffect) state = undefined;
    } else if (action.condition && state !== undefined) outcome = { kind: "refused" };
    else if (takesEffect) state = action.value;
    history.push({ ...operation, outcome: lost ? { kind: "unknown" } : outcome });
  }
  return history;
}

test("checkKey accepts what a perfect register answers, and finds one stale answer in it", () => {
  for (let seed = 1; seed <= 15; seed++) {
    const history = perfectHistory(seed, 5, 200);
    expect(checkKey(history), `seed ${seed}`).toMatchObject({ kind: "linearizable" });
    const certain = history.filter(({ outcome }) => outcome.kind === "ok");
    const puts = certain.filter(({ action }) => action.kind === "put");
    const old = puts[Math.floor(puts.length / 10)]!;
    const next = puts.find((other) => other.calledAt > old.answeredAt)!;
    const stale = certain.find(
      ({ action, calledAt }) => action.kind === "get" && calledAt > next.answeredAt,
    )!;
    const value = old.action.kind === "put" ? old.action.value : undefined;
    const wrong = history.map((operation) =>
      operation === stale ? { ...operation, outcome: { kind: "ok", value } as const } : operation,
    );
    expect(checkKey(wrong, 10_000).kind, `seed ${seed}`).not.toBe("linearizable");
  }
});

test("checkKey says undecided when its search is bounded too tightly, never linearizable", () => {
  const history: Operation[] = [];
  for (let i = 0; i < 12; i++) {
    history.push(put(i, 100 + i, `v${i}`));
    history.push(get(200 + 2 * i, 201 + 2 * i, `v${i}`));
  }
  expect(checkKey(history, 50)).toMatchObject({ kind: "undecided" });
});
