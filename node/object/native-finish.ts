// Finishes a native write: seals the draft, has other nodes pull it, publishes it once a write quorum is durable. The
// rest is confirmed under the lock, which opens when all are equal; what fails is left to the chain's leader.
import { RingstowError, assert } from "../../shared/errors.ts";
import { type Finished, type NativeService } from "../../shared/native-service.ts";
import { type BlockRef, type Entry } from "../../shared/records.ts";
import { hasRoom } from "../data/types.ts";
import { type Route, copiesWanted } from "../route/types.ts";
import { objectAddress } from "./addresses.ts";
import { type Context, freshRequestId, readChain } from "./context.ts";
import { draftId, readPresent, requireHeld } from "./native-draft.ts";
import { nameOfNode } from "./native-lookup.ts";

export function finishIn(context: Context, route: Route): NativeService["finishWrite"] {
  const { data, index } = context;
  return async ({ bucket, key, fence, node, block, described, requestId }) => {
    const at = objectAddress(bucket, key, context.sliceBits);
    if (block !== draftId(context, at, fence, node))
      throw new RingstowError("NoSuchKey", "The draft is not one of this object, fence and node");
    const { chain, base } = await readPresent(context, at);
    const present = chain.entries[0];
    if (names(present, block)) return answer(route, present!, chain.lock?.fence !== fence);
    // Published and replaced since: only the register can tell what this request was answered.
    const replaced = chain.garbage.some((one) => one.kind === "block" && one.block.id === block);
    if (!replaced) requireHeld(chain, fence);
    const { size, md5 } = await data.sealDraft(node, { block, owner: at, base });
    const version = chain.version + 1;
    const ref: BlockRef = { id: block, size, replicas: [{ node, version }] };
    const old = typeof base === "object" && "replicas" in base ? base.replicas : [];
    const rank = (id: string): number => (old.some((one) => one.node === id) ? 0 : 1);
    const copies = copiesWanted(route);
    const others = (replaced ? [] : route.live())
      .filter((member) => member.id !== node && hasRoom(member))
      .toSorted((a, b) => rank(a.id) - rank(b.id) || b.freeBytes - a.freeBytes)
      .slice(0, copies - 1)
      .map(({ id }) => id);
    const durable = new Set([node]);
    const pulls = others.map((other) =>
      data.pull(other, ref, at).then(() => void durable.add(other)),
    );
    if (!replaced) await quorum(pulls, Math.floor(copies / 2));
    const published = new Set(durable);
    const replicas = [node, ...others].map((id) => ({
      node: id,
      version: published.has(id) ? version : 0,
    }));
    const entry = {
      headers: described?.headers ?? present?.headers ?? {},
      metadata: described?.metadata ?? present?.metadata ?? {},
      size,
      etag: md5,
      body: { kind: "blocks" as const, blocks: [{ ...ref, replicas }] },
    };
    const result = await index.execute(at, { type: "publish", fence, entry }, { requestId });
    assert(result.type === "committed", "publish answers that it is committed");
    const rest = others.flatMap((id, i) => (published.has(id) ? [] : [{ id, pull: pulls[i]! }]));
    const confirming = rest.map(async ({ id, pull }) => {
      await pull;
      const update = { type: "update", fence, block, node: id, version } as const;
      await index.execute(at, update, { requestId: freshRequestId(context) });
    });
    const unlock = async (): Promise<void> => {
      const results = await Promise.allSettled(confirming);
      // The chain's leader goes on without the lock, which its lease opens.
      if (results.some(({ status }) => status === "rejected")) return index.report(at, block);
      const release = { type: "release", fence } as const;
      await index.execute(at, release, { requestId: freshRequestId(context) });
    };
    // Published is published: whatever keeps the lock from being opened now, its lease ends it.
    if (rest.length === 0)
      await unlock().catch((error: unknown) => {
        if (!(error instanceof RingstowError)) throw error;
        context.log.info("A native write's lock is left to its lease", { reason: error.message });
      });
    else context.background.run("confirm the copies of a native write", unlock);
    const after = await readChain(context, at);
    const written = after?.entries[0];
    // The next writer may have replaced it already.
    if (!names(written, block)) return answer(route, { ...entry, ...result }, true);
    return answer(route, written!, after?.lock?.fence !== fence);
  };
}

/** Resolves when `count` have; throws Unavailable when too many failed. */
function quorum(pulls: readonly Promise<void>[], count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = 0;
    let failed = 0;
    if (count === 0) resolve();
    if (pulls.length < count) reject(new RingstowError("Unavailable"));
    for (const pull of pulls)
      pull.then(
        () => ++done === count && resolve(),
        () => ++failed > pulls.length - count && reject(new RingstowError("Unavailable")),
      );
  });
}

function names(entry: Entry | undefined, block: string): boolean {
  return entry?.body.kind === "blocks" && entry.body.blocks.some(({ id }) => id === block);
}

function answer(
  route: Route,
  entry: Pick<Entry, "version" | "etag" | "size" | "lastModifiedMs" | "body">,
  unlocked: boolean,
): Finished {
  const { version, etag, size, lastModifiedMs, body } = entry;
  const pointers = body.kind === "blocks" ? body.blocks.flatMap(({ replicas }) => replicas) : [];
  const replicas = pointers.map((one) => ({
    node: nameOfNode(route, one.node),
    version: one.version,
  }));
  return { version, etag, size, lastModifiedMs, replicas, unlocked };
}
