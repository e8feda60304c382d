// Operations on registers that are no chains: parts of uploads, bucket records, access keys, gates, the number of
// copies, views. Pure functions like chain.ts.
import { RingstowError } from "../../shared/errors.ts";
import { type AccessKey, type Bucket, type Part } from "../../shared/records.ts";
import { type PointerOperation, changePointers } from "./block-pointers.ts";
import { type OperationContext } from "./chain-step.ts";
import {
  type AccessKeyOperation,
  type BucketOperation,
  type ChainOperation,
  type CopiesOperation,
  type GateOperation,
  type PartOperation,
  type RegisterResult,
  type RegisterValue,
  type ViewOperation,
  isGivenUp,
} from "./types.ts";

/** `value` undefined: the register becomes a tombstone. `changed` false: nothing is written. */
export interface PlainStep<T> {
  readonly value: T | undefined;
  readonly changed: boolean;
  readonly result: RegisterResult;
}

export function applyToPart(
  part: Part | undefined,
  operation: PartOperation | PointerOperation | Extract<ChainOperation, { type: "disown" }>,
  context: OperationContext,
): PlainStep<Part> {
  switch (operation.type) {
    case "putPart": {
      if (part && isGivenUp(part)) throw new RingstowError("BlockDisowned");
      const next = {
        ...operation.part,
        lastModifiedMs: Math.max(context.wallMs, (part?.lastModifiedMs ?? 0) + 1),
      };
      return { value: next, changed: true, result: { type: "part", part: next, replaced: part } };
    }
    case "deletePart":
      return { value: undefined, changed: part !== undefined, result: { type: "done" } };
    case "addPointer":
    case "repair":
    case "released": {
      if (part?.body.kind !== "blocks") {
        return { value: part, changed: false, result: { type: "pointer", changed: false } };
      }
      const before = part.body.blocks;
      const blocks = before.map((block) => changePointers(block, operation));
      const changed = blocks.some((block, at) => block !== before[at]);
      const value: Part = { ...part, body: { kind: "blocks", blocks } };
      return { value, changed, result: { type: "pointer", changed } };
    }
    case "disown": {
      const named =
        part?.body.kind === "blocks" && part.body.blocks.some(({ id }) => id === operation.block);
      if (part && named) return { value: part, changed: false, result: { type: "referenced" } };
      if (part) return { value: part, changed: false, result: { type: "disowned" } };
      // A register is written once, so one mark gives up every block that a late putPart might bring.
      const mark: Part = {
        size: 0,
        etag: "",
        lastModifiedMs: context.wallMs,
        body: { kind: "blocks", blocks: [] },
      };
      return { value: mark, changed: true, result: { type: "disowned" } };
    }
  }
}

export function applyToBucket(
  bucket: Bucket | undefined,
  operation: BucketOperation,
  context: OperationContext,
): PlainStep<Bucket> {
  switch (operation.type) {
    case "createBucket": {
      if (bucket) {
        throw new RingstowError(
          bucket.owner === operation.bucket.owner
            ? "BucketAlreadyOwnedByYou"
            : "BucketAlreadyExists",
        );
      }
      const made = { ...operation.bucket, createdMs: context.wallMs };
      return { value: made, changed: true, result: { type: "bucket", bucket: made } };
    }
    case "deleteBucket":
      if (bucket?.id !== operation.id) throw new RingstowError("NoSuchBucket");
      return { value: undefined, changed: true, result: { type: "done" } };
  }
}

export function applyToAccessKey(
  accessKey: AccessKey | undefined,
  operation: AccessKeyOperation,
  context: OperationContext,
): PlainStep<AccessKey> {
  if (operation.type === "createKey") {
    if (accessKey) throw new RingstowError("AccessKeyExists");
    return keyStep({ ...operation.accessKey, createdMs: context.wallMs }, true);
  }
  if (!accessKey) throw new RingstowError("NoSuchAccessKey");
  switch (operation.type) {
    case "changeKey": {
      const { name = accessKey.name, grants = accessKey.grants, expiresMs } = operation.change;
      const end = expiresMs === undefined ? accessKey.expiresMs : (expiresMs ?? undefined);
      return keyStep({ ...accessKey, name, grants, expiresMs: end }, true);
    }
    case "touchKey": {
      const newer = operation.usedMs > (accessKey.lastUsedMs ?? 0);
      return keyStep(newer ? { ...accessKey, lastUsedMs: operation.usedMs } : accessKey, newer);
    }
    case "deleteKey":
      return { value: undefined, changed: true, result: { type: "done" } };
  }
}

function keyStep(accessKey: AccessKey, changed: boolean): PlainStep<AccessKey> {
  return { value: accessKey, changed, result: { type: "accessKey", accessKey } };
}

/** A gate that was never written is open. */
export function applyToGate(
  gate: Extract<RegisterValue, { kind: "gate" }> | undefined,
  operation: GateOperation,
): PlainStep<Extract<RegisterValue, { kind: "gate" }>> {
  const { open, closer } = operation;
  // Opening needs to have closed it last; a gate that is open already stays as it is.
  const changed = open ? gate?.open === false && gate.closer === closer : true;
  return {
    value: changed ? { kind: "gate", open, closer } : gate,
    changed,
    result: { type: "done" },
  };
}

/** A setting that says the same already stays as it is, unless its version is behind what is in use. */
export function applyToCopies(
  present: Extract<RegisterValue, { kind: "copies" }> | undefined,
  { copies, above }: CopiesOperation,
): PlainStep<Extract<RegisterValue, { kind: "copies" }>> {
  const version = present?.setting.version ?? 0;
  const stays = present?.setting.copies === copies && version >= above;
  const setting = stays ? present.setting : { version: Math.max(version, above) + 1, copies };
  return {
    value: { kind: "copies", setting },
    changed: !stays,
    result: { type: "copies", setting },
  };
}

/** The first decision stands. */
export function applyToView(
  view: Extract<RegisterValue, { kind: "view" }> | undefined,
  operation: ViewOperation,
): PlainStep<Extract<RegisterValue, { kind: "view" }>> {
  const value = view ?? { kind: "view", members: operation.members };
  return {
    value,
    changed: view === undefined,
    result: { type: "view", members: value.members },
  };
}
