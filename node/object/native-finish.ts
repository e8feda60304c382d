// Finishes a native write: seals the draft, has other nodes pull it, publishes it once a write quorum is durable. The
// rest is confirmed under the lock, which opens when all are equal; what fails then is pulled again and told without it.
import { RingstowError } from "../../shared/errors.ts";
import { repairPauseMs, repairTriesMax } from "../../shared/limits.ts";
import { type Finished, type NativeService } from "../../shared/native-service.ts";
import { type BlockRef, type Entry } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { hasRoom } from "../data/types.ts";
import { type Route } from "../route/types.ts";
import { objectAddress } from "./addresses.ts";
import { type Context, freshRequestId, readChain } from "./context.ts";
import { pause } from "./pause.ts";
import { draftId, readPresent, requireHeld } from "./native-draft.ts";
import { nameOfNode } from "./native-lookup.ts";

export function finishIn(
  context: Context,
  route: Route,
  copies: number,
): NativeService["finishWrite"] {
  const { data, index } = context;
  return async ({ bucket, key, fence, node, block, described, requestId }) => {
    const at = objectAddress(bucket, key, context.sliceBits);
    if (block !== draftId(context, at, fence, node))
      throw new RingstowError("NoSuchKey", "The draft is not one of this object, fence and node");
    const { chain, base } = await readPresent(context, at);
    const present = chain.entries[0];
    if (names(present, block)) return answer(route, present!, chain.lock?.fence !== fence);
    requireHeld(chain, fence);
    const { size, md5 } = await data.sealDraft(node, { block, owner: at, base });
    const version = chain.version + 1;
    const ref: BlockRef = { id: block, size, replicas: [{ node, version }] };
    const old = typeof base === "object" && "replicas" in base ? base.replicas : [];
    const rank = (id: string): number => (old.some((one) => one.node === id) ? 0 : 1);
    const others = route
      .live()
      .filter((member) => member.id !== node && hasRoom(member))
      .toSorted((a, b) => rank(a.id) - rank(b.id) || b.freeBytes - a.freeBytes)
      .slice(0, copies - 1)
      .map(({ id }) => id);
    const durable = new Set([node]);
    const pulls = others.map((other) =>
      data.pull(other, ref, at).then(() => void durable.add(other)),
    );
    await quorum(pulls, Math.floor(copies / 2));
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
    await index.execute(at, { type: "publish", fence, entry }, { requestId });
    const rest = others.flatMap((id, i) => (published.has(id) ? [] : [{ id, pull: pulls[i]! }]));
    const confirming = rest.map(async ({ id, pull }) => {
      await pull;
      const update = { type: "update", fence, block, node: id, version } as const;
      await index.execute(at, update, { requestId: freshRequestId(context) });
    });
    const unlock = async (): Promise<void> => {
      const results = await Promise.allSettled(confirming);
      if (results.some(({ status }) => status === "rejected")) return repair(context, at, block);
      const release = { type: "release", fence } as const;
      await index.execute(at, release, { requestId: freshRequestId(context) });
    };
    if (rest.length === 0) await unlock();
    else context.background.run("confirm the copies of a native write", unlock);
    const after = await readChain(context, at);
    const written = after?.entries[0];
    if (!names(written, block)) throw new RingstowError("Unavailable", "The write was replaced");
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

/** Pulls to the nodes whose pointer is behind, and raises them; needs no lock. Bounded. */
async function repair(context: Context, at: RegisterAddress, id: string): Promise<void> {
  for (let n = 0; n < repairTriesMax; n++) {
    await pause(context.clock, repairPauseMs * 2 ** n);
    const body = (await readChain(context, at))?.entries[0]?.body;
    const block = body?.kind === "blocks" ? body.blocks.find((one) => one.id === id) : undefined;
    if (!block) return;
    const newest = Math.max(...block.replicas.map(({ version }) => version));
    const good = { ...block, replicas: block.replicas.filter((one) => one.version === newest) };
    const behind = block.replicas.filter(({ version }) => version < newest);
    const results = await Promise.allSettled(
      behind.map(async ({ node }) => {
        await context.data.pull(node, good, at);
        const add = { type: "addPointer", block: block.id, node } as const;
        await context.index.execute(at, add, { requestId: freshRequestId(context) });
      }),
    );
    if (results.every(({ status }) => status === "fulfilled")) return;
  }
  context.log.warn("Cannot repair a native write's copies", { key: at.key });
}

function names(entry: Entry | undefined, block: string): boolean {
  return entry?.body.kind === "blocks" && entry.body.blocks.some(({ id }) => id === block);
}

function answer(route: Route, entry: Entry, unlocked: boolean): Finished {
  const { version, etag, size, lastModifiedMs, body } = entry;
  const pointers = body.kind === "blocks" ? body.blocks.flatMap(({ replicas }) => replicas) : [];
  const replicas = pointers.map((one) => ({
    node: nameOfNode(route, one.node),
    version: one.version,
  }));
  return { version, etag, size, lastModifiedMs, replicas, unlocked };
}
