import { expect, test } from "vitest";
import { EMPTY_CHAIN } from "../../../node/index/types.ts";
import { type Answered, NO_STATE, type RegisterState } from "../../../node/index/register-state.ts";
import { type RegisterOperation, registerKey } from "../../../node/index/types.ts";
import { judge } from "../../../node/index/verdict.ts";
import { type BlockId, type RequestId } from "../../../shared/ids.ts";
import { BUCKET } from "./index-cluster.ts";

const key = registerKey("object", BUCKET, "a");
const requestId = "1".repeat(32) as RequestId;
const remove: RegisterOperation = { type: "delete", precondition: {} };
const gone = { type: "deleted", existed: false, version: 0 } as const;

const judged = (
  operation: RegisterOperation,
  { state = NO_STATE, remembered, gateOpen = true }: Partial<Past> = {},
) =>
  judge(key, state, { operation, requestId, body: undefined, again: false }, remembered, gateOpen, {
    wallMs: 1,
  });
interface Past {
  readonly state: RegisterState;
  readonly remembered: Answered;
  readonly gateOpen: boolean;
}
const commit = (etag: string, block?: string): RegisterOperation => ({
  type: "commit",
  entry: {
    headers: {},
    metadata: {},
    size: 1,
    etag,
    body: block
      ? { kind: "blocks", blocks: [{ id: block as BlockId, size: 1, replicas: [] }] }
      : { kind: "inline" },
  },
  precondition: {},
});

test("judge finds no effect in a DELETE of nothing, finally", () => {
  expect(judged(remove)).toEqual({ type: "noEffect", outcome: gone, final: true });
});

test("judge takes a refusal for final unless it may be retried", () => {
  const unmet: RegisterOperation = { type: "delete", precondition: { ifMatch: ["x"] } };
  expect(judged(unmet)).toMatchObject({ outcome: { type: "refused", code: "NoSuchKey" } });
  expect(judged(unmet)).toMatchObject({ type: "noEffect", final: true });
  const block = "b".repeat(32);
  const chain = { ...EMPTY_CHAIN, disowned: [block as BlockId] };
  const state = { value: { kind: "object", chain }, answered: [] } as const;
  expect(judged(commit("e", block), { state })).toMatchObject({
    outcome: { code: "BlockDisowned" },
    final: false,
  });
});

test("judge refuses behind a closed gate, but not what was answered before it closed", () => {
  expect(judged(commit("e"), { gateOpen: false })).toMatchObject({
    type: "noEffect",
    outcome: { code: "NoSuchBucket" },
    final: true,
  });
  const done = { type: "committed", version: 1, etag: "e", lastModifiedMs: 1 } as const;
  const state: RegisterState = { value: undefined, answered: [[requestId, "commit e", done]] };
  expect(judged(commit("e"), { state, gateOpen: false })).toEqual({
    type: "answered",
    outcome: done,
  });
});

test("judge believes the register before this node's memory, and either before the operation", () => {
  const remembered: Answered = [requestId, "delete", gone];
  const entry = { version: 1, lastModifiedMs: 1, size: 0, etag: "e", headers: {}, metadata: {} };
  const chain = { ...EMPTY_CHAIN, entries: [{ ...entry, body: { kind: "inline" } as const }] };
  const full: RegisterState = { value: { kind: "object", chain }, answered: [] };
  expect(judged(remove, { state: full }).type).toBe("change");
  expect(judged(remove, { state: full, remembered })).toMatchObject({ outcome: gone, final: true });
  const existed = { type: "deleted", existed: true, version: 2 } as const;
  const state: RegisterState = { ...full, answered: [[requestId, "delete", existed]] };
  expect(judged(remove, { state, remembered })).toEqual({ type: "answered", outcome: existed });
});

test("judge refuses another operation under a known request id", () => {
  const remembered: Answered = [requestId, "commit e", gone];
  expect(judged(remove, { remembered })).toMatchObject({
    type: "answered",
    outcome: { type: "refused", code: "InvalidRequest" },
  });
});

test("judge lets a native writer ask for its lock until it is granted", () => {
  const acquire: RegisterOperation = { type: "acquire", holder: "h", leaseMs: 1_000 };
  const first = judged(acquire);
  if (first.type !== "change") throw new Error("the lock was free");
  const state: RegisterState = { value: first.step.value, answered: [] };
  expect(judged(acquire, { state })).toMatchObject({ type: "noEffect", final: false });
});
