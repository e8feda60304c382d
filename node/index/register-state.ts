// What one register holds besides its version: the value by kind, and the request ids answered lately. Encoded as
// text for the replicas, decoded only where operations run or answers are given.
import { type ErrorCode, RingstowError } from "../../shared/errors.ts";
import { dedupMax } from "../../shared/limits.ts";
import { type Bucket } from "../../shared/records.ts";
import { type RequestId } from "../../shared/ids.ts";
import { applyToChain, isSpent } from "./chain.ts";
import { type OperationContext } from "./chain-step.ts";
import {
  applyToAccessKey,
  applyToBucket,
  applyToCopies,
  applyToGate,
  applyToPart,
  applyToView,
} from "./plain-registers.ts";
import {
  type AccessKeyOperation,
  type BucketOperation,
  type Chain,
  type ChainOperation,
  type CopiesOperation,
  EMPTY_CHAIN,
  type GateOperation,
  type PartOperation,
  type RegisterKey,
  type RegisterOperation,
  type RegisterResult,
  type RegisterValue,
  type ViewOperation,
  kindOf,
} from "./types.ts";

/** A RingstowError that a request was refused with, as data. */
export interface Refused {
  readonly type: "refused";
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, string>>;
}

export type Outcome = RegisterResult | Refused;

/** One answered request: what it was, and what it was told. */
export type Answered = readonly [requestId: RequestId, digest: string, outcome: Outcome];

export interface RegisterState {
  /** undefined: never written, or a tombstone of a plain register. A spent chain keeps version and fence. */
  readonly value: RegisterValue | undefined;
  readonly answered: readonly Answered[];
}

export const NO_STATE: RegisterState = { value: undefined, answered: [] };

/** First character of the text of a state that no reader needs to decode. */
export const TOMBSTONE = ".";

export function isTombstone(text: string): boolean {
  return text === "" || text.startsWith(TOMBSTONE);
}

export function encodeState(state: RegisterState): string {
  const text = JSON.stringify(state);
  return isLive(state.value) ? text : TOMBSTONE + text;
}

export function decodeState(text: string): RegisterState {
  if (text === "") return NO_STATE;
  return JSON.parse(text.startsWith(TOMBSTONE) ? text.slice(1) : text) as RegisterState;
}

function isLive(value: RegisterValue | undefined): boolean {
  return value !== undefined && !(value.kind === "object" && isSpent(value.chain));
}

/** What readers are told: a spent chain is as good as none. */
export function valueOf(state: RegisterState): RegisterValue | undefined {
  return isLive(state.value) ? state.value : undefined;
}

/** Whether a register's state carries an inline body beside it. */
export function hasInlineBody(value: RegisterValue | undefined): boolean {
  if (value?.kind === "object") return value.chain.entries[0]?.body.kind === "inline";
  return value?.kind === "part" && value.part.body.kind === "inline";
}

export interface OperationStep {
  readonly value: RegisterValue | undefined;
  readonly changed: boolean;
  readonly result: RegisterResult;
  /** Whether the operation brought a new body (or none) instead of the one that is there. */
  readonly replacesBody: boolean;
}

/** Runs an operation on a register's value. Throws RingstowError when the operation is refused. */
export function applyOperation(
  key: RegisterKey,
  value: RegisterValue | undefined,
  operation: RegisterOperation,
  context: OperationContext,
): OperationStep {
  const kind = kindOf(key);
  const onPart = ON_PARTS_TOO.has(operation.type);
  if (KIND_OF_OPERATION[operation.type] !== kind && !(kind === "part" && onPart)) {
    throw new RingstowError(
      "InvalidRequest",
      `Cannot run "${operation.type}" on a register of kind "${kind}"`,
    );
  }
  switch (kind) {
    case "object": {
      const chain: Chain = value?.kind === "object" ? value.chain : EMPTY_CHAIN;
      const step = applyToChain(chain, operation as ChainOperation, context);
      const replacesBody =
        operation.type === "commit" ||
        operation.type === "delete" ||
        operation.type === "publish" ||
        (operation.type === "release" && operation.entry !== undefined);
      return {
        value: { kind, chain: step.chain },
        changed: step.chain !== chain,
        result: step.result,
        replacesBody: replacesBody && step.chain !== chain,
      };
    }
    case "part": {
      const step = applyToPart(
        value?.kind === "part" ? value.part : undefined,
        operation as PartOperation,
        context,
      );
      // A late pointer leaves an inline body alone (there is none then, but a mark must not bring one either).
      const replacesBody =
        step.changed && (operation.type === "putPart" || operation.type === "deletePart");
      return { ...step, value: step.value && { kind, part: step.value }, replacesBody };
    }
    case "bucket": {
      const bucket: Bucket | undefined = value?.kind === "bucket" ? value.bucket : undefined;
      const step = applyToBucket(bucket, operation as BucketOperation, context);
      return { ...step, value: step.value && { kind, bucket: step.value }, replacesBody: false };
    }
    case "accessKey": {
      const accessKey = value?.kind === "accessKey" ? value.accessKey : undefined;
      const step = applyToAccessKey(accessKey, operation as AccessKeyOperation, context);
      return { ...step, value: step.value && { kind, accessKey: step.value }, replacesBody: false };
    }
    case "gate": {
      const gate = value?.kind === "gate" ? value : undefined;
      return { ...applyToGate(gate, operation as GateOperation), replacesBody: false };
    }
    case "copies": {
      const present = value?.kind === "copies" ? value : undefined;
      return { ...applyToCopies(present, operation as CopiesOperation), replacesBody: false };
    }
    case "view": {
      const view = value?.kind === "view" ? value : undefined;
      return { ...applyToView(view, operation as ViewOperation), replacesBody: false };
    }
  }
}

/** A gate that was never written is open. */
export function isOpen(value: RegisterValue | undefined): boolean {
  return value?.kind !== "gate" || value.open;
}

const KIND_OF_OPERATION: Record<RegisterOperation["type"], RegisterValue["kind"]> = {
  commit: "object",
  delete: "object",
  publish: "object",
  addPointer: "object",
  createUpload: "object",
  abortUpload: "object",
  disown: "object",
  repair: "object",
  released: "object",
  freed: "object",
  acquire: "object",
  renew: "object",
  update: "object",
  release: "object",
  expire: "object",
  cancel: "object",
  putPart: "part",
  deletePart: "part",
  createBucket: "bucket",
  deleteBucket: "bucket",
  createKey: "accessKey",
  changeKey: "accessKey",
  touchKey: "accessKey",
  deleteKey: "accessKey",
  setGate: "gate",
  setCopies: "copies",
  decideView: "view",
};

/** Operations on chains that parts know as well. */
const ON_PARTS_TOO: ReadonlySet<RegisterOperation["type"]> = new Set([
  "addPointer",
  "repair",
  "released",
  "disown",
]);

/** Whether an operation may make something exist in a bucket: its gate must be open. */
export function needsOpenGate(operation: RegisterOperation): boolean {
  return (
    operation.type === "commit" ||
    operation.type === "publish" ||
    operation.type === "createUpload" ||
    operation.type === "putPart" ||
    operation.type === "acquire" ||
    (operation.type === "release" && operation.entry !== undefined)
  );
}

/** Tells two requests under one id apart. */
export function digestOf(operation: RegisterOperation): string {
  switch (operation.type) {
    case "commit":
      return `commit ${operation.entry.etag}`;
    case "publish":
      return `publish ${operation.entry.etag}`;
    case "putPart":
      return `putPart ${operation.part.etag}`;
    case "setCopies":
      return `setCopies ${operation.copies}`;
    default:
      return operation.type;
  }
}

export function refusalOf({ code, message, details }: RingstowError): Refused {
  return { type: "refused", code, message, details };
}

/** Tells an outcome as it was told first: returns the result, or throws the refusal. */
export function resultOf(outcome: Outcome): RegisterResult {
  if (outcome.type !== "refused") return outcome;
  throw new RingstowError(outcome.code, outcome.message, outcome.details);
}

/**
 * What a register remembers of an answered request. A cancellation says it of the request that it cancels, too: a copy
 * of that one which comes late must neither take the lock nor a place in its queue.
 */
export function answersOf(
  operation: RegisterOperation,
  requestId: RequestId,
  outcome: Outcome,
): readonly Answered[] {
  const own: Answered = [requestId, digestOf(operation), outcome];
  if (operation.type !== "cancel") return [own];
  return [own, [operation.requestId, "acquire", { type: "queued", place: 0 }]];
}

/** Whether a cancellation must be written down although there is nothing to cancel: its request may still be on its way. */
export function cancelsUnheard(state: RegisterState, operation: RegisterOperation): boolean {
  return operation.type === "cancel" && !state.answered.some(([id]) => id === operation.requestId);
}

/** Adds answers, instead of older ones to the same requests. Throws SlowDown when there are too many. */
export function withAnswers(
  kept: readonly Answered[],
  added: readonly Answered[],
): readonly Answered[] {
  const all = [...kept.filter(([id]) => added.every(([other]) => other !== id)), ...added];
  if (all.length > dedupMax)
    throw new RingstowError("SlowDown", "Too many writes to one name in a minute");
  return all;
}

/** Operations cross the wire as JSON between nodes of one cluster and one protocol version. */
export function parseOperation(text: string): RegisterOperation {
  try {
    return JSON.parse(text) as RegisterOperation;
  } catch {
    throw new RingstowError("InvalidRequest", "Cannot read an operation: it is not JSON");
  }
}
