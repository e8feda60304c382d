import { expect, test } from "vitest";
import { checkRing, isIdeal, principals } from "../../sim/ring-invariants.ts";
import { R, RingWalk, type Variant } from "./ring-walk.ts";

const WALKS = 120;
const STEPS = 400;

/** First fault of a walk with churn; undefined when every state of it keeps the invariants. */
function firstFault(walk: RingWalk): string | undefined {
  let before = principals([...walk.states.values()]).length;
  for (let step = 0; step < STEPS; step++) {
    const done = walk.step(true);
    const states = [...walk.states.values()];
    const faults = checkRing(states, R);
    if (faults[0]) return `step ${step} (${done}): ${faults[0]}`;
    const now = principals(states).length;
    if (now < before && done !== "failed") return `step ${step} (${done}): Z9 ${before} -> ${now}`;
    before = now;
  }
  return undefined;
}

function brokenWalks(variant: Variant, walks: number): number {
  let broken = 0;
  for (let seed = 1; seed <= walks; seed++) {
    if (firstFault(new RingWalk(seed, variant))) broken++;
  }
  return broken;
}

test("ring steps keep Z1-Z9 and Z11 at every step of 120 walks with churn, then reach Z10 (Zave section 6)", () => {
  let largest = 0;
  for (let seed = 1; seed <= WALKS; seed++) {
    const walk = new RingWalk(seed, "correct");
    expect(firstFault(walk), `seed ${seed}`).toBeUndefined();
    largest = Math.max(largest, walk.states.size);
    let quiet = 0;
    const states = () => [...walk.states.values()];
    while (!isIdeal(states(), R) && quiet < 200 * walk.states.size) {
      walk.step(false);
      quiet++;
    }
    expect(isIdeal(states(), R), `seed ${seed} after ${quiet} quiet steps`).toBe(true);
    for (let step = 0; step < 50; step++) walk.step(false);
    expect(isIdeal(states(), R), `seed ${seed} stays ideal`).toBe(true);
  }
  expect(largest).toBeGreaterThan(8);
}, 60_000);

test("checkRing catches a ring that adopts unchecked pointers (Zave section 4.2)", () => {
  expect(brokenWalks("adopt unchecked pointers", WALKS)).toBeGreaterThan(0);
}, 60_000);

test("checkRing catches joins with short successor lists (Zave section 4.1)", () => {
  expect(brokenWalks("join with short lists", 20)).toBe(20);
});
