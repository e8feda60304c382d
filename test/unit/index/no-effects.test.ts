import { expect, test } from "vitest";
import { NoEffects } from "../../../node/index/no-effects.ts";
import { type RegisterResult, registerKey } from "../../../node/index/types.ts";
import { type RequestId } from "../../../shared/ids.ts";
import { dedupMs, noEffectsMax } from "../../../shared/limits.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { BUCKET } from "./index-cluster.ts";

const id = (n: number): RequestId => n.toString(16).padStart(32, "0") as RequestId;
const key = registerKey("object", BUCKET, "a");
const missing: RegisterResult = { type: "deleted", existed: false, version: 0 };

test("NoEffects tells what a request about a register was answered, and of no other", () => {
  const known = new NoEffects(new VirtualClock());
  known.remember(key, id(1), "delete", missing);
  expect(known.find(key, id(1))).toEqual([id(1), "delete", missing]);
  expect(known.find(key, id(2))).toBeUndefined();
  expect(known.find(registerKey("object", BUCKET, "b"), id(1))).toBeUndefined();
});

test("NoEffects forgets dedupMs after the last answer", async () => {
  const clock = new VirtualClock();
  const known = new NoEffects(clock);
  known.remember(key, id(1), "delete", missing);
  known.remember(key, id(2), "delete", missing);
  await clock.runFor(dedupMs - 10);
  known.remember(key, id(1), "delete", missing);
  await clock.runFor(20);
  expect(known.find(key, id(2))).toBeUndefined();
  expect(known.find(key, id(1))).toBeDefined();
  expect(known.size).toBe(1);
  await clock.runFor(dedupMs);
  expect(known.find(key, id(1))).toBeUndefined();
});

test("NoEffects holds noEffectsMax answers and drops the oldest", () => {
  const known = new NoEffects(new VirtualClock());
  for (let n = 0; n < noEffectsMax; n++) known.remember(key, id(n), "delete", missing);
  known.remember(key, id(0), "delete", missing);
  known.remember(key, id(noEffectsMax), "delete", missing);
  expect(known.size).toBe(noEffectsMax);
  expect(known.find(key, id(1))).toBeUndefined();
  expect(known.find(key, id(0))).toBeDefined();
  expect(known.find(key, id(noEffectsMax))).toBeDefined();
});
