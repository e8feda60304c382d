// What an operator may order when a majority of a slice's view is lost for good: the members that are left go on by
// themselves, from the newest that any of them holds. Writes that only the lost ones had are gone, and if they were
// not lost after all, there were two truths for a while: nothing here can know. So it is never done by itself.
// Invariant: of all nodes that hear one order, at most one takes over a slice, by what those who are left answer. Who
// does not answer may hold newer: then nobody does.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { prepareTimeoutMs } from "../../shared/limits.ts";
import { type RequestOf, type ReplyOf } from "../../shared/protocol.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Peers } from "../peers.ts";
import { type Log, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { callMember } from "./call-member.ts";
import { type SealReply } from "./replica-replies.ts";
import { Slots } from "./slots.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewSettler } from "./view-settler.ts";
import { type KnownView, type View, majorityOf } from "./views.ts";

/** Above every epoch that the lost members may have decided and nobody else knows. */
const EPOCHS_SKIPPED = 1 << 16;
const slicesAtOnce = 32;
const reasonsMax = 8;

/**
 * What a node is to a slice's newest view: "active" in it; "sealed" or "empty": gave up its vote in the view before, with
 * what it holds or without ever having taken part; "joining" that one still, for what it took while it was handed over
 * to; "none": nothing that counts, as who is about to join the newest.
 */
export type Part = "active" | "sealed" | "empty" | "joining" | "none";

/** Who goes on, and from what. */
export interface Recovery {
  /** Undefined: a node that has no part in the slice. */
  readonly by: VoterId | undefined;
  /** Those who hold what it goes on from; nobody: it begins with what `by` happens to have. */
  readonly from: View;
}

/**
 * What recovers a slice; undefined when it goes on by itself; "later": first somebody joins what can be joined yet.
 * @param parts of all who are left of the newest view and of the one before
 */
export function recoveryOf(
  newest: KnownView,
  parts: ReadonlyMap<VoterId, Part>,
): Recovery | "later" | undefined {
  const { epoch, members, previous } = newest;
  const left = members.filter((member) => parts.has(member));
  const isLost = left.length < majorityOf(members.length);
  const active = left.filter((member) => parts.get(member) === "active");
  if (active.length > 0)
    return isLost ? { by: active[0], from: { epoch, members: active } } : undefined;
  const before = previous ?? { epoch, members: [] };
  const are = (part: Part): VoterId[] => before.members.filter((each) => parts.get(each) === part);
  const [sealed, joining] = [are("sealed"), are("joining")];
  if (sealed.length === 0) {
    // Who is about to join has copied something.
    const by = joining[0] ?? left.find((member) => parts.get(member) === "none") ?? left[0];
    return { by, from: { epoch: before.epoch, members: [] } };
  }
  const isMajority = sealed.length + are("empty").length >= majorityOf(before.members.length);
  // Who is left of the newest view joins it then.
  if (isMajority && left.length > 0) return isLost ? "later" : undefined;
  // It may have what was decided and no other who is left has seen.
  if (!isMajority && joining.length > 0) return "later";
  return { by: sealed[0], from: isMajority ? before : { epoch: before.epoch, members: sealed } };
}

export interface RecoverOptions {
  readonly standings: ViewReplica;
  readonly directory: ViewDirectory;
  readonly settler: ViewSettler;
  readonly peers: Peers;
  readonly route: Pick<Route, "peer" | "observed" | "voter" | "members">;
  readonly log: Log;
}

type Order = RequestOf<"index.recover">;
/** Somebody who is left does not answer, or answers what cannot be: nobody takes over the slice now. */
class Blocked extends Error {}

/**
 * Recovers the slices that this node is to take over, and logs which. Throws Unavailable when a node does not answer that
 * is not said to be lost.
 */
export async function recover(
  options: RecoverOptions,
  sliceCount: number,
  order: Order,
): Promise<ReplyOf<"index.recover">> {
  const { log } = options;
  log.error("An operator orders to go on without nodes: writes may be lost", { ...order });
  const lost = new Set(order.lost);
  await learnAllBut(lost, options);
  const slices: Slice[] = [];
  const blocked: Slice[] = [];
  const reasons = new Set<string>();
  let unheld = 0;
  const recoverOne = async (slice: Slice): Promise<void> => {
    try {
      const outcome = await recoverSlice(options, slice, lost, order);
      if (outcome === "begun") slices.push(slice);
      if (outcome === "unheld") unheld++;
    } catch (error) {
      const isMendable = error instanceof TransportError || error instanceof RingstowError;
      if (!(error instanceof Blocked) && !isMendable) throw error;
      blocked.push(slice);
      if (reasons.size < reasonsMax) reasons.add(error.message);
    }
  };
  const slots = new Slots(slicesAtOnce);
  const all = Array.from({ length: sliceCount }, (_, number) => number as Slice);
  await Promise.all(all.map((slice) => slots.run(() => recoverOne(slice))));
  if (slices.length > 0) log.error("Slices go on without their majority", { slices });
  if (blocked.length > 0)
    log.warn("Slices cannot be recovered yet", { slices: blocked, reasons: [...reasons] });
  return { slices: slices.length, blocked, reasons: [...reasons], unheld };
}

/**
 * Asks all nodes that are left for the views that they know, those too that are leaving the cluster: one that nobody here
 * has heard of is not to be cut off.
 */
async function learnAllBut(
  lost: ReadonlySet<NodeId>,
  { directory, route }: RecoverOptions,
): Promise<void> {
  const self = nodeOfVoter(route.voter);
  const others = route.members().filter(({ id }) => id !== self && !lost.has(id));
  const told = await Promise.all(others.map(({ id }) => directory.learnAll(id)));
  const silent = others.filter((_, i) => !told[i]).map(({ id }) => id);
  if (silent.length === 0) return;
  throw new RingstowError(
    "Unavailable",
    `Cannot recover: no answer from ${silent.join(", ")}, not said to be lost`,
  );
}

/** "unheld": nobody holds it, and this node would be the one to begin anew. Throws Blocked, TransportError, RingstowError. */
async function recoverSlice(
  options: RecoverOptions,
  slice: Slice,
  lost: ReadonlySet<NodeId>,
  order: Order,
): Promise<"begun" | "unheld" | undefined> {
  const { standings, directory, settler, route } = options;
  const newest = newestOf(options, slice);
  for (const node of newest.members.map(nodeOfVoter)) {
    // After a while the dead are forgotten, but views still name them.
    const isKnown = node === nodeOfVoter(route.voter) || route.peer(node) !== undefined;
    if (!isKnown && !lost.has(node))
      throw new Blocked(`node ${node} is not known any more, and not said to be lost`);
  }
  const concerned = [...new Set([...newest.members, ...(newest.previous?.members ?? [])])];
  const left = concerned.filter((voter) => !lost.has(nodeOfVoter(voter)));
  if (left.length === concerned.length) return undefined;
  const isOrphan = !left.some((voter) => newest.members.includes(voter));
  if (!hasPart(options, slice, newest) && !(isOrphan && order.orphans)) return undefined;
  const parts = await partsOf(options, slice, newest, left);
  const recovery = recoveryOf(newest, parts);
  if (!recovery) return undefined;
  if (recovery === "later") throw new Blocked("somebody has to join another view before");
  const { by, from } = recovery;
  if (by === undefined ? !order.orphans : by !== route.voter) return undefined;
  if (from.members.length === 0 && !order.startAnyway) return "unheld";
  const wasActive = parts.get(route.voter) === "active";
  const isLater = directory.viewOf(slice).epoch > newest.epoch;
  if (isLater || standings.isActive(slice, newest.epoch) !== wasActive)
    throw new Blocked("the slice goes on by itself meanwhile");
  const view = { epoch: newest.epoch + EPOCHS_SKIPPED, members: [route.voter] };
  void settler.settle(slice, { view, previous: from });
  return "begun";
}

/** Asks all who are left of a slice's newest two views what they are in it, unless this node alone can tell. */
async function partsOf(
  { standings, directory, peers, route }: RecoverOptions,
  slice: Slice,
  newest: KnownView,
  left: readonly VoterId[],
): Promise<Map<VoterId, Part>> {
  const { previous, ...view } = newest;
  const stay = left.filter((voter) => view.members.includes(voter));
  const isLost = stay.length < majorityOf(view.members.length);
  const isFirst = stay.length === 1 || !isLost;
  if (isFirst && standings.isActive(slice, newest.epoch))
    return new Map(stay.map((voter) => [voter, voter === route.voter ? "active" : "none"]));
  if (!previous) {
    if (view.epoch > 1 && stay.length > 0) throw new Blocked("the view before is not known");
    return new Map(stay.map((voter) => [voter, "active"]));
  }
  const ask = async (voter: VoterId): Promise<SealReply> => {
    const change = { view, previous };
    if (voter === route.voter) return standings.seal(slice, change);
    return callMember(route, voter, (peer) =>
      peers.call(peer, "index.seal", { slice, change }, prepareTimeoutMs),
    );
  };
  const partOf = async (voter: VoterId): Promise<[VoterId, Part]> => {
    const reply = await ask(voter);
    if (reply.ok) return [voter, reply.state === "joined" ? "active" : reply.state];
    directory.learn(slice, reply.view);
    if (reply.epoch > view.epoch) throw new Blocked(`${voter} votes in a later view`);
    // Who never was in the view before says that it is empty, unless it took registers for it.
    const isOwed = previous.members.includes(voter) && reply.epoch < previous.epoch;
    return [voter, isOwed ? "joining" : "none"];
  };
  return new Map(await Promise.all(left.map(partOf)));
}

/** The newest view that is known, with what it was made from, if this folder knows that. */
function newestOf(
  { standings, directory }: Pick<RecoverOptions, "standings" | "directory">,
  slice: Slice,
): KnownView {
  const heard = directory.viewOf(slice);
  if (heard.previous) return heard;
  const own = standings.newestView(slice);
  if (own.epoch === heard.epoch) return own;
  const { view, mode } = standings.standing(slice);
  return mode !== "none" && view.epoch === heard.epoch - 1 ? { ...heard, previous: view } : heard;
}

/** Whether this node may be the one to take over: a member of the newest view, or it has what that one starts from. */
function hasPart(
  { standings, route }: RecoverOptions,
  slice: Slice,
  { members, previous }: KnownView,
): boolean {
  const { view, mode, joining } = standings.standing(slice);
  if (members.includes(route.voter)) return true;
  return (
    previous !== undefined && (mode === "none" ? joining?.view : view)?.epoch === previous.epoch
  );
}
