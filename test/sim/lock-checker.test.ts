// The checker of lock histories: good ones pass, each kind of bad one is caught.
import { expect, test } from "vitest";
import {
  type LockAction,
  type LockOperation,
  type LockOutcome,
  checkLocks,
} from "./lock-checker.ts";

const LEASE = { leaseMs: 1_000 };
const acquire = (requestId: string): LockAction => ({ kind: "acquire", requestId });
const cancel = (requestId: string): LockAction => ({ kind: "cancel", requestId });
const renew = (fence: number): LockAction => ({ kind: "renew", fence });
const release = (fence: number): LockAction => ({ kind: "release", fence });
const write = (fence: number): LockAction => ({ kind: "write", fence });
const read: LockAction = { kind: "read" };
const granted = (fence: number): LockOutcome => ({ kind: "granted", fence });
const queued = (place: number): LockOutcome => ({ kind: "queued", place });
const version = (number: number): LockOutcome => ({ kind: "version", version: number });
const ok: LockOutcome = { kind: "ok" };
const refused: LockOutcome = { kind: "refused" };
const unknown: LockOutcome = { kind: "unknown" };

type Line = readonly [action: LockAction, outcome: LockOutcome, fromMs: number, toMs: number];

/** Call and answer by their times; equal times in the order of the lines. */
function history(...lines: readonly Line[]): LockOperation[] {
  return lines.map(([action, outcome, calledMs, answeredMs], i) => ({
    action,
    outcome,
    calledMs,
    answeredMs,
    calledAt: calledMs * 100 + i,
    answeredAt: answeredMs * 100 + i,
  }));
}

/** One after another, 10 ms each. */
const inTurn = (...lines: readonly (readonly [LockAction, LockOutcome])[]): LockOperation[] =>
  history(...lines.map(([action, outcome], i): Line => [action, outcome, i * 10, i * 10 + 5]));

const kindOf = (operations: readonly LockOperation[]) => checkLocks(operations, LEASE).kind;

test("checkLocks explains turns, polls, refusals, renewals, cancellations and writes", () => {
  expect(
    kindOf(
      inTurn(
        [acquire("a"), granted(1)],
        [acquire("b"), queued(0)],
        [acquire("c"), queued(1)],
        [acquire("d"), queued(2)],
        [acquire("b"), queued(0)],
        [cancel("c"), ok],
        [acquire("d"), queued(1)],
        [renew(1), ok],
        [write(1), version(1)],
        [release(1), ok],
        [write(1), refused],
        [renew(1), refused],
        [release(1), refused],
        [acquire("b"), granted(2)],
        [write(2), version(2)],
        [cancel("b"), ok],
        [acquire("d"), granted(3)],
        [read, version(2)],
        [release(3), ok],
        [acquire("d"), granted(3)], // a copy: told what the first was told
        [acquire("c"), refused],
        [acquire("e"), granted(4)],
      ),
    ),
  ).toBe("explained");
});

test("checkLocks takes concurrent operations in any order", () => {
  expect(
    kindOf(
      history(
        [acquire("a"), granted(2), 0, 100],
        [acquire("b"), granted(1), 0, 100],
        [release(1), ok, 50, 60],
      ),
    ),
  ).toBe("explained");
  expect(
    kindOf(
      history(
        [acquire("a"), granted(1), 0, 10],
        [acquire("b"), queued(1), 20, 90],
        [acquire("c"), queued(0), 20, 90],
      ),
    ),
  ).toBe("explained");
});

test("checkLocks lets an unknown operation happen late, or never", () => {
  const lost = history(
    [acquire("a"), granted(1), 0, 10],
    [release(1), unknown, 20, 0],
    [acquire("b"), queued(0), 30, 40],
    [acquire("b"), granted(2), 500, 510],
  );
  expect(kindOf(lost)).toBe("explained");
  expect(kindOf(lost.slice(0, 3))).toBe("explained");
  // Before it was called it cannot have happened.
  expect(
    kindOf(
      history(
        [acquire("a"), granted(1), 0, 10],
        [acquire("b"), granted(2), 20, 30],
        [release(1), unknown, 40, 0],
      ),
    ),
  ).toBe("violation");
});

test("checkLocks ends a lease after its time, not before", () => {
  const next = (atMs: number, renewedMs?: number): LockOperation[] =>
    history(
      [acquire("a"), granted(1), 0, 10],
      ...(renewedMs === undefined ? [] : [[renew(1), ok, renewedMs, renewedMs + 5] as const]),
      [acquire("b"), granted(2), atMs, atMs + 5],
    );
  expect(kindOf(next(1_000))).toBe("explained");
  expect(kindOf(next(900))).toBe("violation");
  expect(kindOf(next(1_000, 500))).toBe("violation");
  expect(kindOf(next(1_500, 500))).toBe("explained");
});

const bad: Record<string, LockOperation[]> = {
  "two holders at once": inTurn([acquire("a"), granted(1)], [acquire("b"), granted(2)]),
  "one fence twice": inTurn(
    [acquire("a"), granted(1)],
    [release(1), ok],
    [acquire("b"), granted(1)],
  ),
  "a fence that falls": inTurn(
    [acquire("a"), granted(1)],
    [release(1), ok],
    [acquire("b"), granted(2)],
    [release(2), ok],
    [acquire("c"), granted(1)],
  ),
  "a write under an old fence": history(
    [acquire("a"), granted(1), 0, 10],
    [acquire("b"), granted(2), 1_500, 1_510],
    [write(1), version(1), 1_520, 1_530],
  ),
  "a write after the release": inTurn(
    [acquire("a"), granted(1)],
    [release(1), ok],
    [write(1), version(1)],
  ),
  "a write that is refused under the lock": inTurn([acquire("a"), granted(1)], [write(1), refused]),
  "one version twice": inTurn(
    [acquire("a"), granted(1)],
    [write(1), version(1)],
    [write(1), version(1)],
  ),
  "a lost write": inTurn(
    [acquire("a"), granted(1)],
    [write(1), version(1)],
    [release(1), ok],
    [read, version(0)],
  ),
  "the second in the queue before the first": inTurn(
    [acquire("a"), granted(1)],
    [acquire("b"), queued(0)],
    [acquire("c"), queued(1)],
    [release(1), ok],
    [acquire("c"), granted(2)],
  ),
  "places that change their order": inTurn(
    [acquire("a"), granted(1)],
    [acquire("b"), queued(0)],
    [acquire("c"), queued(1)],
    [acquire("c"), queued(0)],
  ),
  "a place that is taken twice": inTurn(
    [acquire("a"), granted(1)],
    [acquire("b"), queued(0)],
    [release(1), ok],
    [acquire("b"), granted(2)],
    [release(2), ok],
    [acquire("b"), granted(3)],
  ),
  "a grant after the cancellation": inTurn([cancel("a"), ok], [acquire("a"), granted(1)]),
  "a cancelled waiter that keeps its place": inTurn(
    [acquire("a"), granted(1)],
    [acquire("b"), queued(0)],
    [cancel("b"), ok],
    [acquire("c"), queued(1)],
  ),
  "a release that opens nothing": inTurn(
    [acquire("a"), granted(1)],
    [release(1), ok],
    [acquire("b"), queued(0)],
  ),
  "a renewal under an old fence": inTurn(
    [acquire("a"), granted(1)],
    [release(1), ok],
    [renew(1), ok],
  ),
};

for (const [name, operations] of Object.entries(bad)) {
  test(`checkLocks catches ${name}`, () => {
    expect(checkLocks(operations, LEASE)).toMatchObject({ kind: "violation" });
  });
}

test("checkLocks never alarms because of what was asked meanwhile", () => {
  expect(
    kindOf(
      history(
        [acquire("a"), granted(1), 0, 600],
        [read, version(0), 500, 510],
        [acquire("b"), granted(2), 1_050, 1_060],
      ),
    ),
  ).toBe("explained");
});

test("checkLocks says so when it gives up", () => {
  const lost = Array.from({ length: 12 }, (_, i): Line => [acquire(`${i}`), unknown, 0, 0]);
  expect(checkLocks(history(...lost, [read, version(1), 0, 100]), LEASE, 50).kind).toBe(
    "undecided",
  );
});
