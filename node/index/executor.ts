// The coordinator's side of leader calls: finds a slice's leader, another one that leads while it gives no answer, and
// the next member when it is silent. One request id goes with all attempts, so an operation whose answer was lost is not
// done twice; of attempts that were given up no answer counts.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, nodeOfVoter } from "../../shared/ids.ts";
import {
  electionBackoffMs,
  operationDeadlineMs,
  sentOnMax,
  viewPauseMs,
} from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Chance, type Clock, TransportError } from "../ports.ts";
import { type Route, isLive } from "../route/types.ts";
import { pause } from "../waiting.ts";
import { LeaderSearch, type LeaderSearchOptions } from "./leader-search.ts";
import { MajorityWatch, type Watch } from "./majority-watch.ts";
import { NotLeader } from "./quorum.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type View } from "./views.ts";

export type LeaderReply<T> =
  | ({ readonly type: "done" } & T)
  | {
      readonly type: "notLeader";
      readonly leader?: string | undefined;
      readonly view?: View | undefined;
    };

export interface ExecutorOptions {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly route: Pick<Route, "find" | "observed" | "reaches" | "self">;
  readonly views: Pick<ViewDirectory, "viewOf" | "learn" | "search">;
  readonly leads: LeaderSearchOptions["leads"];
}

/** As `Executor.ask` tells it to who asks. */
export type AskMember<T> = (node: NodeId, urge: boolean, again: boolean) => Promise<LeaderReply<T>>;

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #hints = new Map<Slice, NodeId>();
  readonly #majority: MajorityWatch;
  readonly #search: LeaderSearch;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#majority = new MajorityWatch(options.clock, options.route);
    const members = (slice: Slice): readonly NodeId[] => this.#members(slice);
    this.#search = new LeaderSearch({ ...options, members });
  }

  /** What else is known of who answers: reads without a leader tell it. */
  get majority(): Pick<MajorityWatch, "heard" | "silent"> {
    return this.#majority;
  }

  /** The node that answered last as leader of a slice. */
  hint(slice: Slice): NodeId | undefined {
    return this.#hints.get(slice);
  }

  /**
   * Asks the slice's leader, and other members when it is gone, until one answers as leader.
   * `ask` throws TransportError when no answer came and RingstowError when the operation was refused. It is told
   * whether to campaign even if it takes another for the leader (`urge`): a member did not answer of late, or they send
   * us in circles. And whether any attempt of this call went without an answer, so that it may still be carried out
   * (`again`).
   * Throws Unavailable after `operationDeadlineMs`, or as soon as a majority of the members is known to be silent:
   * the outcome is unknown.
   * @param first what may make asking the leader needless, and ends as early without a majority
   */
  async ask<T>(slice: Slice, ask: AskMember<T>, first?: () => Promise<T | undefined>): Promise<T> {
    const watch = this.#watch(slice);
    const work = async (): Promise<T> =>
      (await first?.()) ?? (await this.#askInTurn(slice, ask, watch));
    try {
      return await Promise.race([work(), watch.lost]);
    } catch (error) {
      // The next call begins with a member that can be heard.
      if (watch.over) this.#hints.delete(slice);
      throw error;
    } finally {
      watch.end();
    }
  }

  /**
   * Work that needs majorities of these slices; it is told whether anybody waits for it still. Throws Unavailable as soon
   * as one of them is known to be silent.
   */
  async withMajorities<T>(
    slices: readonly Slice[],
    work: (isOver: () => boolean) => Promise<T>,
  ): Promise<T> {
    const watches = slices.map((slice) => this.#watch(slice));
    const isOver = (): boolean => watches.some(({ over }) => over);
    try {
      return await Promise.race([work(isOver), ...watches.map(({ lost }) => lost)]);
    } finally {
      for (const watch of watches) watch.end();
    }
  }

  #watch(slice: Slice): Watch {
    return this.#majority.watch(
      () => this.#members(slice),
      () => this.#options.views.search(slice),
    );
  }

  async #askInTurn<T>(slice: Slice, ask: AskMember<T>, watch: Watch): Promise<T> {
    const { clock, chance, route, views } = this.#options;
    const deadline = clock.monotonicMs() + operationDeadlineMs;
    const failed = new Set<NodeId>();
    /** Those that answered and knew of no leader: they may not vote yet, and others may have one. */
    const passed = new Set<NodeId>();
    let again = false;
    let inCircles = false;
    /** Members that sent us to another one, one after the other. */
    let sentOn = 0;
    let next = this.#hints.get(slice);
    for (let attempt = 1; !watch.over; attempt++) {
      const target: NodeId = next ?? this.#candidate(slice, failed, passed);
      next = undefined;
      try {
        const call = ask(target, failed.size > 0 || inCircles, again);
        const heard = watch.whileHeard(target, call);
        const tried = new Set([...failed, target]);
        const { reply, elsewhere } = await this.#search.during(slice, tried, heard);
        if (!elsewhere) this.#majority.heard(target);
        again ||= elsewhere;
        if (reply.type === "done") {
          this.#hints.set(slice, target);
          return reply;
        }
        if (views.learn(slice, reply.view)) {
          failed.clear();
          passed.clear();
          this.#hints.delete(slice);
          continue;
        }
        const leader = reply.leader as NodeId | undefined;
        if (leader === undefined) passed.add(target);
        if (leader !== undefined && leader !== target && !failed.has(leader)) {
          next = leader;
          // Members may point at each other while an election goes on: pause now and then. They may do so for ever when
          // one of them missed the last election, and its winner is gone.
          if (++sentOn < sentOnMax) continue;
          inCircles ||= !elsewhere;
        }
      } catch (error) {
        if (watch.over) break;
        if (error instanceof TransportError) {
          again = true;
          failed.add(target);
          route.observed(target, false);
          if (failed.size < this.#members(slice).length) continue;
          failed.clear();
          await views.search(slice);
        } else if (!(error instanceof NotLeader)) throw error;
      }
      sentOn = 0;
      this.#hints.delete(slice);
      if (clock.monotonicMs() > deadline) break;
      // Who goes over to another view does so in milliseconds; candidates that compete need to give each other room.
      const backoffMs = electionBackoffMs * Math.min(attempt, 4);
      const isCalm = failed.size === 0 && !inCircles;
      const baseMs = isCalm ? Math.min(viewPauseMs * 2 ** attempt, backoffMs) : backoffMs;
      const pauseMs = baseMs * (0.5 + chance.fraction());
      await pause(clock, pauseMs);
    }
    throw new RingstowError("Unavailable", "No leader of the object's slice answers");
  }

  #members(slice: Slice): readonly NodeId[] {
    return this.#options.views.viewOf(slice).members.map(nodeOfVoter);
  }

  /** The first member that did not fail and was not passed over, live ones first; then they are asked anew. */
  #candidate(slice: Slice, failed: ReadonlySet<NodeId>, passed: Set<NodeId>): NodeId {
    const members = this.#members(slice).filter((node) => !failed.has(node));
    const live = members.filter((node) => isLive(this.#options.route.find(node)));
    if (live.every((node) => passed.has(node))) passed.clear();
    const next = live.find((node) => !passed.has(node));
    return next ?? members[0] ?? this.#members(slice)[0]!;
  }
}
