// Brings a decided change of a view to an end: tells its members to join until all of them that live are active, and
// deletes this folder's copy once it is not needed any more. Every node that was sealed by a change does so, at first
// the one that decided it: a change that anybody knows of is finished whoever dies.
// Invariant: a sealed copy is deleted only when a majority of the new view, and all of it that lives, is active.
import { type NodeId, type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import {
  installHedgeMs,
  installTimeoutMs,
  settleBackupMs,
  settlePauseMaxMs,
  settlePauseMs,
  tellLeftMax,
} from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Log, TransportError } from "../ports.ts";
import { type Route, isLive } from "../route/types.ts";
import { pause, waitAtMost } from "../waiting.ts";
import { type IndexFaults } from "./faults.ts";
import { type SliceState } from "./slice-state.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type ViewJoiner } from "./view-joiner.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewChange, majorityOf } from "./views.ts";

export interface ViewSettlerOptions {
  readonly standings: ViewReplica;
  readonly directory: ViewDirectory;
  readonly joiner: ViewJoiner;
  readonly peers: Peers;
  readonly route: Pick<Route, "peer" | "find" | "voter" | "observed">;
  readonly clock: Clock;
  readonly log: Log;
  readonly faults?: IndexFaults | undefined;
}

interface Settling {
  readonly change: ViewChange;
  /** A majority is active, or a later change has taken this one's place. */
  readonly begun: Promise<void>;
  readonly begin: () => void;
  /** Another node brought it to an end. */
  ended: boolean;
  /** Ends the time in which others may bring it to an end. */
  readonly hurry: () => void;
  readonly hurried: Promise<void>;
  /** Nobody else is waited for: it is this node that has to do it. */
  isHurried: boolean;
}

/** What a member has yet to hear. */
interface Untold {
  readonly slice: Slice;
  readonly change: ViewChange;
  readonly member: VoterId;
  readonly settled: boolean;
}

export class ViewSettler {
  readonly #options: ViewSettlerOptions;
  readonly #settling = new Map<Slice, Settling>();
  /** Who has not heard that it left, because it was not there: its latest such change of each slice. */
  readonly #untold = new Map<NodeId, Map<Slice, Untold>>();
  #stopped = false;

  constructor(options: ViewSettlerOptions) {
    this.#options = options;
  }

  /** Changes under way that this node knows of. */
  get count(): number {
    return this.#settling.size;
  }

  stop(): void {
    this.#stopped = true;
  }

  /**
   * Resolves when the new view can serve: a majority is active; or another change has taken this one's place.
   * @param delayMs others, who know of the change as well, may bring it to an end before
   */
  settle(slice: Slice, change: ViewChange, delayMs = 0): Promise<void> {
    const running = this.#settling.get(slice);
    if (running && running.change.view.epoch >= change.view.epoch) {
      if (delayMs === 0) {
        running.isHurried = true;
        running.hurry();
      } else {
        this.#options.clock.after(delayMs, running.hurry);
      }
      return running.begun;
    }
    if (this.#stopped) return Promise.resolve();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: hurried, resolve: hurry } = Promise.withResolvers<void>();
    const isHurried = delayMs === 0;
    const settling: Settling = { change, begun, begin, ended: false, hurried, hurry, isHurried };
    this.#settling.set(slice, settling);
    const ended = this.#run(slice, settling, delayMs).catch((error: unknown) => {
      this.#options.log.error("Cannot settle a view", { slice, error: String(error) });
    });
    this.#options.directory.learn(slice, { ...change.view, previous: change.previous });
    void ended.then(() => {
      begin();
      if (this.#settling.get(slice) === settling) this.#settling.delete(slice);
    });
    return begun;
  }

  /**
   * Takes part in a change: seals, joins. Resolves when this folder is active in it, or after `installTimeoutMs`. Tells
   * the latest epoch that this node knows of.
   * @param settled all members that live are active: who left need not keep anything
   */
  async install(
    slice: Slice,
    change: ViewChange,
    settled = false,
  ): Promise<{ epoch: number; active: boolean }> {
    try {
      return await this.#install(slice, change, settled);
    } catch (error) {
      // The disk refused. Who told of the change may be gone before it takes it, and nobody else would.
      void this.settle(slice, change, settleBackupMs);
      throw error;
    }
  }

  async #install(
    slice: Slice,
    change: ViewChange,
    settled: boolean,
  ): Promise<{ epoch: number; active: boolean }> {
    const { standings, joiner, directory, clock } = this.#options;
    const installing = standings.install(slice, change, settled);
    // What the folder itself knows by now is no news, which would begin another settling.
    directory.learn(slice, { ...change.view, previous: change.previous });
    const isToJoin = await installing;
    // Not before: a disk that refuses that leaves it to this folder to try again.
    const settling = this.#settling.get(slice);
    if (settled && settling?.change.view.epoch === change.view.epoch) settling.ended = true;
    if (isToJoin) await waitAtMost(clock, installTimeoutMs / 2, joiner.join(slice));
    else if (settled) void this.#retireIfLeft(slice, change);
    // Active now, or then: one that has left since, and holds nothing any more, did its part.
    const active = standings.standing(slice).view.epoch >= change.view.epoch;
    return { epoch: directory.viewOf(slice).epoch, active };
  }

  async #run(slice: Slice, settling: Settling, delayMs: number): Promise<void> {
    const { standings, clock, route } = this.#options;
    const { change } = settling;
    if (delayMs > 0) await waitAtMost(clock, delayMs, settling.hurried);
    if (!settling.isHurried) {
      if (settling.ended) return;
      // The members have what they need; who left sees to it that its copy is not needed any more, once it knows.
      if (isActiveIn(standings.standing(slice), change)) {
        if (this.#isFirstThatStays(change)) await this.#tellFormer(slice, change, false);
        return;
      }
    }
    // Also when this node is in neither view: it may believe to vote in an earlier one.
    if (!change.view.members.includes(route.voter)) void this.#tell(slice, change, route.voter);
    const isSettled = await this.#installAll(slice, settling);
    if (this.#stopped || settling.ended) return;
    // It may still join an earlier view, for what it took while that one was handed over to: nobody needs it now.
    if (isSettled && !change.view.members.includes(route.voter))
      await this.#tell(slice, change, route.voter, true);
    if (isSettled) await this.#retireIfLeft(slice, change);
    await this.#tellFormer(slice, change, isSettled);
  }

  /** Tells the members of a view to join until all that live are active. False when something else ended that before. */
  async #installAll(slice: Slice, settling: Settling): Promise<boolean> {
    const { clock } = this.#options;
    const { change, begin, begun } = settling;
    const { members } = change.view;
    const majority = majorityOf(members.length);
    const active = new Set<VoterId>();
    let former: readonly VoterId[] = [];
    for (let pauseMs = settlePauseMs; !this.#isOver(slice, settling);) {
      let epoch = 0;
      const tell = async (member: VoterId): Promise<void> => {
        const reply = await this.#tell(slice, change, member);
        epoch = Math.max(epoch, reply?.epoch ?? 0);
        if (!reply?.active || !members.includes(member)) return;
        active.add(member);
        if (active.size >= majority) begin();
      };
      const missing = this.#inOrder(change).filter((member) => !active.has(member));
      // The slice stands still until a majority is active: what the others cost comes after that.
      const told = missing.splice(0, majority - active.size).map(tell);
      await waitAtMost(clock, installHedgeMs, Promise.race([begun, Promise.all(told)]));
      await Promise.all([...told, ...[...missing, ...former].map(tell)]);
      if (this.#isSettled(change, active)) return true;
      former = this.#formerOf(change); // it takes long: they should not believe in the old view meanwhile
      await pause(clock, pauseMs);
      pauseMs = Math.min(2 * pauseMs, settlePauseMaxMs);
      await this.#lookForLater(slice, change, epoch);
    }
    return false;
  }

  /** A node that was not there is back: it may still believe in views that it left meanwhile. */
  returned(node: NodeId): void {
    const news = this.#untold.get(node)?.values() ?? [];
    this.#untold.delete(node);
    for (const untold of news) {
      const { slice } = untold;
      this.#tellUntilHeard(untold).catch((error: unknown) => {
        this.#options.log.error("Cannot tell of a view", { slice, error: String(error) });
      });
    }
  }

  /** Gives up what this folder holds of a view that it left, when the disk lets it. */
  async #retireIfLeft(slice: Slice, change: ViewChange): Promise<void> {
    const { standings, joiner, route, clock } = this.#options;
    if (change.view.members.includes(route.voter)) return;
    for (let pauseMs = settlePauseMs; !this.#stopped;) {
      const { view, mode, joining } = standings.standing(slice);
      if (mode === "active" || joining || view.epoch > change.previous.epoch) return;
      if (await joiner.retire(slice)) return;
      await pause(clock, pauseMs);
      pauseMs = Math.min(2 * pauseMs, settlePauseMaxMs);
    }
  }

  /**
   * A member that never joined this view never will when a later one is there: the later change is settled instead.
   * Its majority holds all that this one's was to hold.
   * @param heard the latest epoch that a member knows of
   */
  async #lookForLater(slice: Slice, { view }: ViewChange, heard: number): Promise<void> {
    const { directory } = this.#options;
    const known = directory.viewOf(slice);
    if (Math.max(known.epoch, heard) === view.epoch) return;
    if (known.epoch < heard || !known.previous) await directory.search(slice);
    const { epoch, members, previous } = directory.viewOf(slice);
    if (epoch > view.epoch && previous)
      void this.settle(slice, { view: { epoch, members }, previous });
  }

  /** Those who left should know: they would go on to believe in the old view, and keep what they have of it. */
  async #tellFormer(slice: Slice, change: ViewChange, settled: boolean): Promise<void> {
    await Promise.all(
      this.#formerOf(change).map((member) =>
        this.#tellUntilHeard({ slice, change, member, settled }),
      ),
    );
  }

  /** Resolves when a member has heard. One that is not there is told when it is back; one that left the cluster, a few times. */
  async #tellUntilHeard(untold: Untold): Promise<void> {
    const { slice, change, member, settled } = untold;
    let tries = 0;
    for (let pauseMs = settlePauseMs; !this.#stopped;) {
      if (await this.#tell(slice, change, member, settled)) return;
      const state = this.#options.route.find(nodeOfVoter(member))?.state;
      if (state === "dead") this.#keepForReturn(untold);
      if (state === "dead" || state === undefined) return;
      if (state === "left" && ++tries === tellLeftMax) return;
      await pause(this.#options.clock, pauseMs);
      pauseMs = Math.min(2 * pauseMs, settlePauseMaxMs);
    }
  }

  #keepForReturn(untold: Untold): void {
    const node = nodeOfVoter(untold.member);
    const news = this.#untold.get(node) ?? new Map<Slice, Untold>();
    this.#untold.set(node, news.set(untold.slice, untold));
  }

  /** Others who voted in the previous view and do not in the next one. */
  #formerOf({ view, previous }: ViewChange): VoterId[] {
    const { voter } = this.#options.route;
    return previous.members.filter((member) => member !== voter && !view.members.includes(member));
  }

  /** What a member says that it is; undefined when it does not answer. */
  async #tell(
    slice: Slice,
    change: ViewChange,
    member: VoterId,
    settled = false,
  ): Promise<{ epoch: number; active: boolean } | undefined> {
    const { route, peers, log } = this.#options;
    if (member === route.voter) {
      return this.install(slice, change, settled).catch((error: unknown) => {
        log.warn("Cannot take part in a change of view", { slice, error: String(error) });
        return undefined;
      });
    }
    const node = nodeOfVoter(member);
    const peer = route.peer(node);
    if (!peer) return undefined;
    try {
      return await peers.call(peer, "index.install", { slice, change, settled }, installTimeoutMs);
    } catch (error) {
      if (error instanceof TransportError) route.observed(node, false);
      else if (!(error instanceof RingstowError)) throw error;
      return undefined;
    }
  }

  #isSettled(change: ViewChange, active: ReadonlySet<VoterId>): boolean {
    const { members } = change.view;
    if (this.#options.faults?.earlyGarbage === true) return true;
    if (active.size < majorityOf(members.length)) return false;
    return members.every((member) => active.has(member) || !this.#isLive(member));
  }

  /** Whether this node is the first live one of those who vote in both views. */
  #isFirstThatStays({ view, previous }: ViewChange): boolean {
    const stays = view.members.filter((member) => previous.members.includes(member));
    return stays.find((member) => this.#isLive(member)) === this.#options.route.voter;
  }

  /** Members of the new view, those first with whom it can begin soonest: who leads it, this node, then who stays. */
  #inOrder({ view, previous }: ViewChange): VoterId[] {
    const rank = (member: VoterId): number => {
      if (!this.#isLive(member)) return 3;
      if (member === view.members[0] || member === this.#options.route.voter) return 0;
      return previous.members.includes(member) ? 1 : 2;
    };
    return view.members.toSorted((a, b) => rank(a) - rank(b));
  }

  #isLive(member: VoterId): boolean {
    return isLive(this.#options.route.find(nodeOfVoter(member)));
  }

  /** Stopped, ended by another node, or a later change takes this one's place: a majority was active in its view. */
  #isOver(slice: Slice, settling: Settling): boolean {
    const isOvertaken = this.#settling.get(slice) !== settling;
    return this.#stopped || settling.ended || isOvertaken;
  }
}

/** Whether a folder votes in the view of a change, or in a later one. */
function isActiveIn(
  { view, mode }: Pick<SliceState, "view" | "mode">,
  change: ViewChange,
): boolean {
  return mode === "active" && view.epoch >= change.view.epoch;
}
