// The native workflow on the coordinator: lock, draft, publish (the paper's section 3.3).
import { RingstowError } from "../../shared/errors.ts";
import { type RequestId } from "../../shared/ids.ts";
import { nativeLeaseMaxMs, nativeLeaseMinMs, nativeWaitMaxMs } from "../../shared/limits.ts";
import { type NativeService } from "../../shared/native-service.ts";
import { type RegisterAddress, blocksOf } from "../index/types.ts";
import { type Route } from "../route/types.ts";
import { objectAddress } from "./addresses.ts";
import { type Context, freshRequestId, readChain } from "./context.ts";
import { poll } from "./pause.ts";
import { hasRoom } from "../data/types.ts";
import { type Present, draftId, readPresent, requireHeld } from "./native-draft.ts";
import { finishIn } from "./native-finish.ts";
import { bestFor, current, lookupIn, nameOfMember } from "./native-lookup.ts";

export function createNativeService(context: Context, route: Route): NativeService {
  const { index } = context;
  const cancel = (at: RegisterAddress, requestId: RequestId) =>
    index.execute(at, { type: "cancel", requestId }, { requestId: freshRequestId(context) });
  return {
    lookup: lookupIn(context, route),
    finishWrite: finishIn(context, route),
    async beginWrite({ bucket, key, holder, leaseMs: wanted, requestId, client, waitMs }) {
      const at = objectAddress(bucket, key, context.sliceBits);
      await readPresent(context, at);
      const leaseMs = Math.min(Math.max(wanted, nativeLeaseMinMs), nativeLeaseMaxMs);
      let place = 0;
      const granted = await poll(
        context.clock,
        Math.min(waitMs ?? 0, nativeWaitMaxMs),
        async () => {
          const result = await index.execute(
            at,
            { type: "acquire", holder, leaseMs },
            { requestId },
          );
          if (result.type === "queued") place = result.place;
          return result.type === "granted" ? result : undefined;
        },
      );
      if (!granted) return { state: "queued", place };
      const { fence } = granted;
      const { chain, base, baseSize } = await readPresent(context, at).catch((error: unknown) => {
        // What was written while this one waited is no base for a draft: its lock must not keep others waiting.
        if (error instanceof RingstowError && error.code === "EntityTooLarge")
          context.background.run("give a lock back", () => cancel(at, requestId));
        throw error;
      });
      requireHeld(chain, fence);
      const kept = base && "replicas" in base ? current(route, base) : [];
      const members = kept.length > 0 ? kept : route.live().filter(hasRoom);
      const best = bestFor(client, members, route.self.zone);
      if (!best) throw new RingstowError("Unavailable", "No node has room for the draft");
      return {
        state: "granted",
        fence,
        leaseMs: granted.leaseMs,
        node: nameOfMember(best.member),
        block: draftId(context, at, fence, best.member.id),
        baseVersion: chain.entries[0]?.version ?? 0,
        baseSize,
      };
    },
    async renewWrite({ bucket, key, fence }) {
      const at = objectAddress(bucket, key, context.sliceBits);
      const requestId = freshRequestId(context);
      const result = await index.execute(at, { type: "renew", fence }, { requestId });
      return { leaseMs: result.type === "granted" ? result.leaseMs : 0 };
    },
    async unlock({ bucket, key, fence, requestId }) {
      const at = objectAddress(bucket, key, context.sliceBits);
      const before = await readPresent(context, at);
      await index.execute(at, { type: "release", fence }, { requestId });
      if (before.chain.lock?.fence === fence) dropDrafts(context, route, at, before);
    },
    async cancelWrite({ bucket, key, requestId }) {
      const at = objectAddress(bucket, key, context.sliceBits);
      const before = await readPresent(context, at);
      await cancel(at, requestId);
      if (before.chain.lock?.requestId === requestId) dropDrafts(context, route, at, before);
    },
  };
}

/**
 * Gives up, behind the answer, the draft of a lock that was given back. Which node it is on, its holder alone knows: all
 * that beginWrite may have chosen are told. A draft that was published meanwhile stays.
 */
function dropDrafts(context: Context, route: Route, at: RegisterAddress, before: Present): void {
  const { lock } = before.chain;
  if (!lock) return;
  const { base } = before;
  const kept = base && "replicas" in base ? current(route, base) : [];
  const members = kept.length > 0 ? kept : route.live();
  context.background.run("give up a draft", async () => {
    const chain = (await readChain(context, at)) ?? before.chain;
    const named = new Set(chain.entries.flatMap((entry) => blocksOf(entry)).map(({ id }) => id));
    for (const { id: node } of members) {
      const block = draftId(context, at, lock.fence, node);
      if (!named.has(block)) await context.data.dropDraft(node, block);
    }
  });
}
