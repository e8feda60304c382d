// What the ring and the chain say of an identifier, and which replica suits a client (the paper's section 3.2).
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, toHex } from "../../shared/ids.ts";
import { nativeWaitMaxMs } from "../../shared/limits.ts";
import {
  type NativeClient,
  type NativeService,
  type NodeName,
} from "../../shared/native-service.ts";
import { commonPrefixBits, nearest } from "../../shared/nearest.ts";
import { logicalIdOf } from "../../shared/slices.ts";
import { type Chain, EMPTY_CHAIN, blocksOf } from "../index/types.ts";
import { type Member, type Route } from "../route/types.ts";
import { objectAddress } from "./addresses.ts";
import { type Context, readChain } from "./context.ts";
import { poll } from "./pause.ts";

type Reason = "only" | "position" | "address" | "zone" | "load";

export function nameOfMember({ id, url, zone }: Member): NodeName {
  return { id, url, zone };
}

export function nameOfNode(route: Route, id: NodeId): NodeName {
  const member = route.find(id);
  return member ? nameOfMember(member) : { id, url: "", zone: "" };
}

/** The member nearest to a client, and why; undefined when there is none. */
export function bestFor(client: NativeClient, members: readonly Member[], zone: string) {
  const candidates = members.map((member) => {
    const ip = /^\w+:\/\/\[?([0-9a-f.:]+?)\]?(?::\d+)?\/?$/u.exec(member.url)?.[1];
    return { member, ip, position: member.position, zone: member.zone, load: 0 };
  });
  const [best, second] = nearest({ ...client, zone }, candidates);
  if (!best) return undefined;
  const bits = (ip: string | undefined): number => commonPrefixBits(client.ip, ip);
  let reason: Reason = "load";
  if (!second) reason = "only";
  else if (client.position && candidates.every(({ position }) => position)) reason = "position";
  else if (bits(best.ip) > bits(second.ip)) reason = "address";
  else if (best.zone === zone && second.zone !== zone) reason = "zone";
  return { member: best.member, reason };
}

/** Live members among nodes whose pointer is not behind. */
export function current(
  route: Route,
  block: { replicas: readonly { node: NodeId; version: number }[] },
): Member[] {
  const newest = Math.max(0, ...block.replicas.map(({ version }) => version));
  return block.replicas.flatMap(({ node, version }) => {
    const member = route.find(node);
    return version === newest && member && member.state !== "dead" && member.state !== "left"
      ? [member]
      : [];
  });
}

function revisionOf(context: Context, chain: Chain): string {
  const hash = context.digest.start("sha256");
  const pointers = chain.entries.map((entry) => blocksOf(entry).map(({ replicas }) => replicas));
  const queue = chain.queue.map(({ requestId }) => requestId);
  const told = [chain.version, chain.fence, chain.lock?.fence ?? 0, queue, pointers];
  hash.update(new TextEncoder().encode(JSON.stringify(told)));
  return toHex(hash.digest().subarray(0, 8));
}

export function lookupIn(context: Context, route: Route): NativeService["lookup"] {
  return async ({ bucket, key, client, since, waitMs }) => {
    const at = objectAddress(bucket, key, context.sliceBits);
    const logicalId = logicalIdOf(bucket.id, key, bucket.shards);
    let chain = EMPTY_CHAIN;
    let revision = "";
    await poll(
      context.clock,
      since === undefined ? 0 : Math.min(waitMs ?? 0, nativeWaitMaxMs),
      async () => {
        chain = (await readChain(context, at)) ?? EMPTY_CHAIN;
        revision = revisionOf(context, chain);
        return revision === since ? undefined : true;
      },
    );
    const { owner, hops, path } = await route.lookup(logicalId);
    const { epoch, members, leader } = context.index.view(at.slice);
    const best = (chain.entries[0] ? blocksOf(chain.entries[0]) : []).map((block) => {
      const found = bestFor(client, current(route, block), route.self.zone);
      if (!found) throw new RingstowError("Unavailable", "No replica of a block is alive");
      const { member, reason } = found;
      return { block: block.id, size: block.size, node: nameOfMember(member), reason };
    });
    const { version, entries, lock, queue, fence } = chain;
    return {
      logicalId,
      hops,
      path: [...path],
      owner: nameOfMember(owner),
      view: { slice: at.slice, epoch, members: [...members], leader },
      chain: { version, entries: [...entries], lock, queue: [...queue], fence },
      best,
      revision,
    };
  };
}
