// Operations on an object's chain as pure functions (the paper's section 3.3, made fault tolerant): an operation
// takes a chain and gives the next one with its answer, or throws the RingstowError that refuses it. Returning the
// very same chain means that nothing changes.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId } from "../../shared/ids.ts";
import { disownedMax, garbageMax, uploadsMax } from "../../shared/limits.ts";
import { checkPrecondition } from "../../shared/precondition.ts";
import { type BlockRef, type Entry, type NewEntry } from "../../shared/records.ts";
import { type PointerOperation, changePointers } from "./block-pointers.ts";
import { acquire, cancel, grantNext, requireFence, update } from "./chain-lock.ts";
import { type ChainStep, type OperationContext, step } from "./chain-step.ts";
import {
  type Chain,
  type ChainOperation,
  type ChainResult,
  type Garbage,
  blocksOf,
  withFormer,
} from "./types.ts";

/** Whether a chain says nothing any more and may become a tombstone. */
export function isSpent(chain: Chain): boolean {
  return (
    chain.entries.length === 0 &&
    chain.uploads.length === 0 &&
    chain.lock === undefined &&
    chain.queue.length === 0 &&
    chain.garbage.length === 0 &&
    chain.disowned.length === 0
  );
}

export function applyToChain(
  chain: Chain,
  operation: ChainOperation,
  context: OperationContext,
): ChainStep {
  switch (operation.type) {
    case "commit":
      return commit(chain, operation, context);
    case "delete":
      return remove(chain, operation, context);
    case "publish": {
      const present = chain.entries[0];
      const ids = blocksOf(operation.entry).map(({ id }) => id);
      // Finished twice: a block has one entry, or it would become its own garbage.
      if (present && blocksOf(present).some(({ id }) => ids.includes(id)))
        return step(chain, committed(present));
      requireFence(chain, operation.fence);
      requireOwned(chain, operation.entry);
      const next = withEntry(chain, operation.entry, context);
      return step(next, committed(next.entries[0]!));
    }
    case "addPointer":
    case "repair":
    case "released":
      return changeBlocks(chain, operation);
    case "createUpload":
      return createUpload(chain, operation, context);
    case "abortUpload":
      return abortUpload(chain, operation, context);
    case "disown":
      return disown(chain, operation.block);
    case "freed":
      return freed(chain, operation);
    case "acquire":
      return acquire(chain, operation, context);
    case "renew": {
      requireFence(chain, operation.fence);
      return step(chain, { type: "granted", fence: operation.fence, leaseMs: chain.lock!.leaseMs });
    }
    case "update":
      return update(chain, operation);
    case "release": {
      requireFence(chain, operation.fence);
      if (operation.entry) requireOwned(chain, operation.entry);
      const written = operation.entry ? withEntry(chain, operation.entry, context) : chain;
      return step(grantNext(written), { type: "done" });
    }
    case "expire":
      return chain.lock?.fence === operation.fence
        ? step(grantNext(chain), { type: "done" })
        : step(chain, { type: "done" });
    case "cancel":
      return cancel(chain, operation.requestId);
  }
}

// ---------------------------------------------------------------- writes

function commit(
  chain: Chain,
  operation: Extract<ChainOperation, { type: "commit" }>,
  context: OperationContext,
): ChainStep {
  const { entry, precondition, uploadId, fence } = operation;
  const present = chain.entries[0];
  if (uploadId !== undefined && !chain.uploads.some((upload) => upload.id === uploadId)) {
    // Complete sent twice: the first one's answer again, as long as its object is still the newest.
    if (present?.body.kind === "parts" && present.body.uploadId === uploadId) {
      return step(chain, committed(present));
    }
    throw new RingstowError("NoSuchUpload");
  }
  requireUnlocked(chain, fence);
  checkPrecondition(present, precondition);
  requireOwned(chain, entry);
  const next = withEntry(chain, entry, context);
  const ended = uploadId === undefined ? next : endUpload(next, uploadId, context);
  return step(fence === undefined ? ended : grantNext(ended), committed(next.entries[0]!));
}

/** A write by S3 waits its turn: it holds the lock by `fence`, or there is no lock. */
function requireUnlocked(chain: Chain, fence: number | undefined): void {
  if (fence !== undefined) requireFence(chain, fence);
  else if (chain.lock) throw new RingstowError("Locked");
}

function requireOwned(chain: Chain, entry: NewEntry): void {
  for (const block of blocksOf(entry)) {
    if (chain.disowned.includes(block.id)) throw new RingstowError("BlockDisowned");
  }
}

function committed(entry: Entry): ChainResult {
  return {
    type: "committed",
    version: entry.version,
    etag: entry.etag,
    lastModifiedMs: entry.lastModifiedMs,
  };
}

/** A chain is one register, written whole: what it must remember is bounded. */
function requireRoom(chain: Chain): void {
  if (chain.garbage.length >= garbageMax) {
    throw new RingstowError("SlowDown", "Too many replaced blocks of one object wait for deletion");
  }
}

/** The chain with a new newest entry; the replaced one's blocks become garbage. */
function withEntry(chain: Chain, entry: NewEntry, context: OperationContext): Chain {
  requireRoom(chain);
  const present = chain.entries[0];
  const version = chain.version + 1;
  const lastModifiedMs = Math.max(context.wallMs, (present?.lastModifiedMs ?? 0) + 1);
  return {
    ...chain,
    version,
    entries: [{ ...entry, version, lastModifiedMs }],
    garbage: mergeGarbage(chain.garbage, garbageOf(chain.entries, context)),
  };
}

function remove(
  chain: Chain,
  { precondition, fence }: Extract<ChainOperation, { type: "delete" }>,
  context: OperationContext,
): ChainStep {
  const present = chain.entries[0];
  requireUnlocked(chain, fence);
  checkPrecondition(present, precondition);
  const opened = fence === undefined ? chain : grantNext(chain);
  if (!present) return step(opened, { type: "deleted", existed: false, version: chain.version });
  const version = chain.version + 1;
  return step(
    {
      ...opened,
      version,
      entries: [],
      garbage: mergeGarbage(chain.garbage, garbageOf(chain.entries, context)),
    },
    { type: "deleted", existed: true, version },
  );
}

function garbageOf(entries: readonly Entry[], context: OperationContext): Garbage[] {
  const sinceMs = context.wallMs;
  return entries.flatMap((entry): Garbage[] =>
    entry.body.kind === "parts"
      ? [{ kind: "upload", sinceMs, uploadId: entry.body.uploadId }]
      : blocksOf(entry).map((block) => ({ kind: "block", sinceMs, block: withFormer(block) })),
  );
}

/** At most one item an upload: its parts are read for as long after the latest cause as after the first. */
function mergeGarbage(garbage: readonly Garbage[], added: readonly Garbage[]): Garbage[] {
  const again = new Set(added.flatMap((item) => (item.kind === "upload" ? [item.uploadId] : [])));
  return [
    ...garbage.filter((item) => item.kind !== "upload" || !again.has(item.uploadId)),
    ...added,
  ];
}

// ---------------------------------------------------------------- replicas and garbage

function changeBlocks(chain: Chain, operation: PointerOperation): ChainStep {
  let changed = false;
  const change = (block: BlockRef): BlockRef => {
    const next = changePointers(block, operation);
    changed ||= next !== block;
    return next;
  };
  const entries = chain.entries.map((entry) =>
    entry.body.kind === "blocks"
      ? { ...entry, body: { ...entry.body, blocks: entry.body.blocks.map(change) } }
      : entry,
  );
  // A late copy of what is garbage by now must be deleted with the others.
  const garbage = chain.garbage.map((item) =>
    item.kind === "block" && operation.type === "addPointer"
      ? { ...item, block: change(item.block) }
      : item,
  );
  return step(changed ? { ...chain, entries, garbage } : chain, { type: "pointer", changed });
}

function disown(chain: Chain, block: BlockId): ChainStep {
  const named =
    chain.entries.some((entry) => blocksOf(entry).some((one) => one.id === block)) ||
    chain.garbage.some((item) => item.kind === "block" && item.block.id === block);
  if (named) return step(chain, { type: "referenced" });
  if (chain.disowned.includes(block)) return step(chain, { type: "disowned" });
  // The oldest marks go: a commit that names a block comes within its request's time, not a thousand orphans later.
  const disowned = [...chain.disowned, block].slice(-disownedMax);
  return step({ ...chain, disowned }, { type: "disowned" });
}

function freed(chain: Chain, operation: Extract<ChainOperation, { type: "freed" }>): ChainStep {
  const gone = new Set(operation.copies.map(({ block, node }) => `${block}/${node}`));
  const garbage = chain.garbage.flatMap((item): Garbage[] => {
    if (item.kind === "upload") {
      const swept = operation.uploads.some(
        (upload) => upload.uploadId === item.uploadId && upload.sinceMs === item.sinceMs,
      );
      return swept ? [] : [item];
    }
    const replicas = item.block.replicas.filter(
      ({ node }) => !gone.has(`${item.block.id}/${node}`),
    );
    if (replicas.length === item.block.replicas.length) return [item];
    return replicas.length === 0 ? [] : [{ ...item, block: { ...item.block, replicas } }];
  });
  const disowned = chain.disowned.filter(
    (block) => !operation.copies.some((copy) => copy.block === block),
  );
  return step({ ...chain, garbage, disowned }, { type: "freed" });
}

// ---------------------------------------------------------------- uploads

function createUpload(
  chain: Chain,
  operation: Extract<ChainOperation, { type: "createUpload" }>,
  context: OperationContext,
): ChainStep {
  const there = chain.uploads.find(({ id }) => id === operation.upload.id);
  if (there) return step(chain, { type: "upload", upload: there });
  if (chain.uploads.length >= uploadsMax) {
    throw new RingstowError("SlowDown", "Too many uploads of one object are under way");
  }
  const upload = { ...operation.upload, initiatedMs: context.wallMs };
  return step({ ...chain, uploads: [...chain.uploads, upload] }, { type: "upload", upload });
}

function abortUpload(
  chain: Chain,
  operation: Extract<ChainOperation, { type: "abortUpload" }>,
  context: OperationContext,
): ChainStep {
  const { uploadId } = operation;
  if (!chain.uploads.some((upload) => upload.id === uploadId)) {
    throw new RingstowError("NoSuchUpload");
  }
  return step(
    {
      ...chain,
      uploads: chain.uploads.filter((upload) => upload.id !== uploadId),
      garbage: mergeGarbage(chain.garbage, [{ kind: "upload", sinceMs: context.wallMs, uploadId }]),
    },
    { type: "aborted" },
  );
}

/** The upload became an object; parts that it did not list are garbage. */
function endUpload(chain: Chain, uploadId: string, context: OperationContext): Chain {
  const ended = chain.uploads.find((upload) => upload.id === uploadId)!;
  return {
    ...chain,
    uploads: chain.uploads.filter((upload) => upload !== ended),
    garbage: mergeGarbage(chain.garbage, [
      { kind: "upload", sinceMs: context.wallMs, uploadId: ended.id },
    ]),
  };
}
