// Parts, buckets, gates and the number of copies as pure functions, and what a register's state remembers of requests.
import { describe, expect, test } from "vitest";
import {
  applyToBucket,
  applyToCopies,
  applyToGate,
  applyToPart,
} from "../../../node/index/plain-registers.ts";
import {
  NO_STATE,
  answersOf,
  applyOperation,
  decodeState,
  encodeState,
  hasInlineBody,
  isTombstone,
  valueOf,
  withAnswers,
} from "../../../node/index/register-state.ts";
import { EMPTY_CHAIN } from "../../../node/index/types.ts";
import { keptAnswers } from "../../../node/index/touched.ts";
import { judge } from "../../../node/index/verdict.ts";
import { type RegisterOperation, isGivenUp, registerKey } from "../../../node/index/types.ts";
import { type BlockId, type BucketId, type NodeId, parseRequestId } from "../../../shared/ids.ts";
import { dedupMax, dedupMs, operationDeadlineMs } from "../../../shared/limits.ts";
import { type BodyRef } from "../../../shared/records.ts";
import { NO_VERSION } from "../../../shared/versions.ts";
import { BUCKET } from "./index-cluster.ts";

const requestId = (n: number) => parseRequestId(n.toString(16).padStart(32, "0"));
const context = { wallMs: 1_000, requestId: requestId(1) };
const block = "b".repeat(32) as BlockId;
const node = (digit: string) => digit.repeat(32) as NodeId;
const body: BodyRef = {
  kind: "blocks",
  blocks: [{ id: block, size: 1, replicas: [{ node: node("1"), version: 1 }] }],
};
const code = (expected: string) => expect.objectContaining({ code: expected });

describe("parts", () => {
  const put = { type: "putPart", part: { size: 1, etag: "e", body } } as const;

  test("a part is put, grows a pointer once, and is deleted once", () => {
    const { value: part } = applyToPart(undefined, put, context);
    expect(part).toMatchObject({ etag: "e", lastModifiedMs: 1_000 });
    const grow = { type: "addPointer", block, node: node("2") } as const;
    const grown = applyToPart(part, grow, context);
    expect(grown).toMatchObject({ changed: true, result: { changed: true } });
    expect(applyToPart(grown.value, grow, context).changed).toBe(false);
    expect(applyToPart(undefined, grow, context).changed).toBe(false);
    const deleted = applyToPart(part, { type: "deletePart" }, context);
    expect(deleted).toMatchObject({ value: undefined, changed: true });
    expect(applyToPart(undefined, { type: "deletePart" }, context).changed).toBe(false);
  });

  test("times of a register grow", () => {
    const { value: part } = applyToPart(undefined, put, context);
    expect(applyToPart(part, put, { ...context, wallMs: 5 }).value?.lastModifiedMs).toBe(1_001);
  });

  test("a block is either put or disowned, whoever comes first", () => {
    const disown = { type: "disown", block } as const;
    const { value: part } = applyToPart(undefined, put, context);
    expect(applyToPart(part, disown, context).result).toEqual({ type: "referenced" });
    const marked = applyToPart(undefined, disown, context);
    expect(marked).toMatchObject({ changed: true, result: { type: "disowned" } });
    expect(isGivenUp(marked.value!)).toBe(true);
    expect(() => applyToPart(marked.value, put, context)).toThrow(code("BlockDisowned"));
    expect(applyToPart(marked.value, disown, context).changed).toBe(false);
  });
});

describe("buckets", () => {
  const id = "a".repeat(32) as BucketId;
  const bucket = { name: "b", id, shards: 4, owner: "me" };
  const create = (owner: string) =>
    ({ type: "createBucket", bucket: { ...bucket, owner } }) as const;

  test("is made once, and told apart by its owner", () => {
    const { value } = applyToBucket(undefined, create("me"), context);
    expect(value).toEqual({ ...bucket, createdMs: 1_000 });
    expect(() => applyToBucket(value, create("me"), context)).toThrow(
      code("BucketAlreadyOwnedByYou"),
    );
    expect(() => applyToBucket(value, create("you"), context)).toThrow(code("BucketAlreadyExists"));
  });

  test("is deleted by the id of its creation alone", () => {
    const { value } = applyToBucket(undefined, create("me"), context);
    const remove = (of: BucketId) => ({ type: "deleteBucket", id: of }) as const;
    expect(() => applyToBucket(value, remove("c".repeat(32) as BucketId), context)).toThrow(
      code("NoSuchBucket"),
    );
    expect(() => applyToBucket(undefined, remove(id), context)).toThrow(code("NoSuchBucket"));
    expect(applyToBucket(value, remove(id), context).value).toBeUndefined();
  });
});

describe("gates", () => {
  const set = (open: boolean, closer: number) =>
    ({ type: "setGate", open, closer: requestId(closer) }) as const;

  test("open for the one that closed it last, for nobody else", () => {
    expect(applyToGate(undefined, set(true, 1)).changed).toBe(false);
    const closed = applyToGate(undefined, set(false, 1)).value;
    const taken = applyToGate(closed, set(false, 2)).value;
    expect(applyToGate(taken, set(true, 1))).toMatchObject({
      changed: false,
      value: { open: false },
    });
    const opened = applyToGate(taken, set(true, 2)).value;
    expect(opened?.open).toBe(true);
    expect(applyToGate(opened, set(true, 2)).changed).toBe(false);
  });
});

describe("the number of copies", () => {
  const set = (copies: 1 | 3 | 5, above = 0) => ({ type: "setCopies", copies, above }) as const;

  test("each change is the next version, and the same number again is none", () => {
    const first = applyToCopies(undefined, set(5));
    expect(first).toMatchObject({ changed: true, value: { setting: { version: 1, copies: 5 } } });
    expect(first.result).toEqual({ type: "copies", setting: { version: 1, copies: 5 } });
    const again = applyToCopies(first.value, set(5));
    expect(again).toMatchObject({ changed: false, result: first.result });
    expect(applyToCopies(first.value, set(3)).result).toEqual({
      type: "copies",
      setting: { version: 2, copies: 3 },
    });
  });

  test("a register that is behind what nodes have heard goes beyond it", () => {
    const { value } = applyToCopies(undefined, set(5));
    expect(applyToCopies(value, set(3, 7)).value?.setting).toEqual({ version: 8, copies: 3 });
    expect(applyToCopies(value, set(5, 7))).toMatchObject({
      changed: true,
      value: { setting: { version: 8, copies: 5 } },
    });
    expect(applyToCopies(undefined, set(3, 2)).value?.setting).toEqual({ version: 3, copies: 3 });
  });

  test("is an operation on its own register, told apart by its number under one request id", () => {
    const key = registerKey("copies", BUCKET, "");
    expect(applyOperation(key, undefined, set(5), context).result.type).toBe("copies");
    expect(() =>
      applyOperation(registerKey("gate", BUCKET, ""), undefined, set(5), context),
    ).toThrow(code("InvalidRequest"));
    const step = applyOperation(key, undefined, set(5), context);
    const answered = withAnswers([], answersOf(set(5), requestId(1), step.result));
    const state = { value: step.value, answered };
    const judged = (copies: 3 | 5) =>
      judge(
        key,
        state,
        { operation: set(copies), requestId: requestId(1), body: undefined, again: false },
        undefined,
        true,
        context,
      );
    expect(judged(5)).toMatchObject({ outcome: step.result });
    expect(judged(3)).not.toMatchObject({ outcome: step.result });
  });
});

describe("register state", () => {
  const object = registerKey("object", BUCKET, "a");

  test("is read back as it was written; what no reader needs is a tombstone", () => {
    const spent = {
      value: { kind: "object", chain: { ...EMPTY_CHAIN, version: 3 } },
      answered: [],
    } as const;
    const text = encodeState(spent);
    expect(isTombstone(text)).toBe(true);
    expect(decodeState(text).value).toMatchObject({ chain: { version: 3 } });
    expect(valueOf(spent)).toBeUndefined();
    expect(isTombstone(encodeState(NO_STATE))).toBe(true);
    const gate = {
      value: { kind: "gate", open: false, closer: requestId(1) },
      answered: [],
    } as const;
    expect(isTombstone(encodeState(gate))).toBe(false);
    expect(decodeState(encodeState(gate))).toEqual(gate);
    expect(decodeState("")).toEqual(NO_STATE);
    expect(hasInlineBody(gate.value)).toBe(false);
  });

  test.each<[RegisterOperation, string]>([
    [{ type: "deletePart" }, object],
    [{ type: "delete", precondition: {} }, registerKey("part", BUCKET, "u/1")],
    [{ type: "setGate", open: true, closer: requestId(1) }, object],
    [{ type: "freed", copies: [], uploads: [] }, registerKey("gate", BUCKET, "")],
  ])("refuses an operation on a register of another kind: %o", (operation, key) => {
    expect(() => applyOperation(key as typeof object, undefined, operation, context)).toThrow(
      code("InvalidRequest"),
    );
  });

  const answers = (count: number) =>
    Array.from({ length: count }, (_, i) => [requestId(i), "delete", { type: "done" }] as const);
  const touched = (count: number, at: (i: number) => number) => ({
    version: NO_VERSION,
    state: { value: undefined, answered: answers(count) },
    text: "",
    answeredAt: answers(count).map((_, i) => at(i)),
    settled: true,
  });

  test("answers are kept for a minute, of a crowded register as long as a retry may come", () => {
    const few = keptAnswers(
      touched(3, (i) => i * 1_000),
      dedupMs + 1_000,
    );
    expect(few.answers.map(([id]) => id)).toEqual([requestId(1), requestId(2)]);
    expect(few.at).toEqual([1_000, 2_000]);
    const many = keptAnswers(
      touched(dedupMax, (i) => i),
      operationDeadlineMs + 1_000 + 10,
    );
    expect(many.answers).toHaveLength(dedupMax - 10);
    expect(() =>
      withAnswers(answers(dedupMax), [["f".repeat(32) as never, "", { type: "done" }]]),
    ).toThrow(code("SlowDown"));
  });

  test("judge answers a request as before, a gate that closed since changes nothing", () => {
    const state = { value: undefined, answered: answers(2) };
    const request = (n: number, operation: RegisterOperation) => ({
      operation,
      requestId: requestId(n),
      body: undefined,
      again: false,
    });
    const remove = { type: "delete", precondition: {} } as const;
    const at = { wallMs: 1 };
    expect(judge(object, state, request(1, remove), undefined, false, at)).toEqual({
      type: "answered",
      outcome: { type: "done" },
    });
    expect(judge(object, state, request(9, remove), undefined, false, at)).toMatchObject({
      type: "noEffect",
      outcome: { code: "NoSuchBucket" },
    });
    expect(
      judge(object, state, request(1, { type: "expire", fence: 1 }), undefined, true, at),
    ).toMatchObject({ type: "answered", outcome: { code: "InvalidRequest" } });
  });
});
