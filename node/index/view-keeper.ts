// Keeps the views of the slices that this node leads as they should be: as many voters as copies are wanted, those that
// the ring puts nearest to the slice, alive, in distinct zones. A change is prepared (the newcomers copy in bulk),
// decided by a register of the slice itself, and installed.
import { type RequestId, type VoterId, nodeOfVoter, voterIdOf } from "../../shared/ids.ts";
import {
  calmChangesMax,
  dutyMs,
  nextWalkMs,
  precopyPauseMs,
  precopyTriesMax,
  prepareTimeoutMs,
  toldRowsMax,
  viewBegunMs,
  viewChangesMax,
  viewRetryMs,
} from "../../shared/limits.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Slice, anchorOf } from "../../shared/slices.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Log, type Timer } from "../ports.ts";
import { type Member, type Route, nodesOf } from "../route/types.ts";
import { pause, waitAtMost } from "../waiting.ts";
import { ChangePace } from "./change-pace.ts";
import { type Elections } from "./elections.ts";
import { EligibleNodes } from "./eligible-nodes.ts";
import { type IndexFaults } from "./faults.ts";
import { type Handovers } from "./handovers.ts";
import { isExpected } from "./quorum.ts";
import { nextMembers, nextSize } from "./next-view.ts";
import { decodeState, valueOf } from "./register-state.ts";
import { type Replica } from "./replica.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { viewKey } from "./types.ts";
import { type ViewJoiner } from "./view-joiner.ts";
import { type ViewSettler } from "./view-settler.ts";
import { type ViewChange, sameMembers, viewSize } from "./views.ts";

export interface ViewKeeperOptions {
  readonly replica: Replica;
  readonly elections: Elections;
  readonly settler: ViewSettler;
  readonly joiner: ViewJoiner;
  readonly handovers: Pick<Handovers, "run">;
  readonly peers: Peers;
  readonly route: Pick<Route, "members" | "desired" | "find" | "peer" | "onChange" | "copies">;
  readonly clock: Clock;
  readonly log: Log;
  readonly sliceBits: number;
  /** How long a new node is alive before it gets places, and how long a dead one keeps them, ms. */
  readonly joinAfterMs: number;
  readonly repairAfterMs: number;
  /** Between two changes where nobody is in need, ms. */
  readonly movePauseMs: number;
  readonly newRequestId: () => RequestId;
  readonly faults?: IndexFaults | undefined;
}

/** Slices that may want another view, and by which wishes. */
interface Candidates {
  /** They lack a member, or one is dead or has another disk. One that leaves in good order serves until it is replaced. */
  readonly urgent: SliceLeader[];
  readonly calm: SliceLeader[];
  /** Voters a view should have. */
  readonly wanted: number;
  readonly eligible: readonly Member[];
}

export class ViewKeeper {
  readonly #options: ViewKeeperOptions;
  readonly #eligible: EligibleNodes;
  /** Slices whose change is prepared or decided here: those that lacked a member when it began, and others. */
  readonly #urgent = new Set<Slice>();
  readonly #calm = new Set<Slice>();
  /** When a change that failed is tried again. */
  readonly #retryMs = new Map<Slice, number>();
  readonly #pace: ChangePace;
  #timer: Timer | undefined;
  #soon: Timer | undefined;
  #unsubscribe: (() => void) | undefined;
  /** Something happened since the last walk over the slices. */
  #dirty = true;
  /** Copies that were wanted at the last walk. */
  #copies: number | undefined;
  /** What the last walk found, and has not been looked at since. */
  #candidates: Candidates = { urgent: [], calm: [], wanted: 0, eligible: [] };
  #stopped = false;

  constructor(options: ViewKeeperOptions) {
    this.#options = options;
    this.#eligible = new EligibleNodes(options);
    this.#pace = new ChangePace(options.clock, options.movePauseMs);
  }

  /** Changes that are prepared or decided here. */
  get count(): number {
    return this.#urgent.size + this.#calm.size;
  }

  start(): void {
    this.#unsubscribe = this.#options.route.onChange(() => void (this.#dirty = true));
    this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#soon?.cancel();
    this.#unsubscribe?.();
  }

  /**
   * This node has just been elected. A change that an earlier leader decided, or tried to, is brought to an end.
   * @param mayBeDecided whether a majority named the register of the decision, or too many to tell
   */
  elected(leader: SliceLeader, mayBeDecided: boolean): void {
    this.#dirty = true;
    if (!mayBeDecided) return;
    this.#finishDecided(leader).catch((error: unknown) => this.#report(leader.slice, error));
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(dutyMs, () => {
      if (this.#stopped) return;
      this.#options.joiner.forgetUnused();
      this.#walk();
      this.#schedule();
    });
  }

  /** Looks at all slices that are led here, those first that lack a member, and begins as many changes as it may. */
  #walk(): void {
    const { clock, elections, route, faults } = this.#options;
    const { copies } = route.copies();
    if (copies !== this.#copies) this.#dirty = true;
    const now = clock.monotonicMs();
    if (!this.#dirty && !faults?.restlessViews && now < this.#eligible.nextMs) return;
    this.#dirty = false;
    this.#copies = copies;
    const members = route.members();
    const present = new Set(
      members
        .filter(({ state }) => state !== "dead")
        .map(({ id, folder }) => voterIdOf(id, folder)),
    );
    const wanted = viewSize(copies, nodesOf(route));
    const leaders = elections.slicesLed().flatMap((slice) => elections.leaderOf(slice) ?? []);
    const isInNeed = (leader: SliceLeader): boolean =>
      leader.members.length < wanted || !leader.members.every((voter) => present.has(voter));
    const [urgent, calm] = partition(leaders, isInNeed);
    this.#candidates = { urgent, calm, wanted, eligible: this.#eligible.of(members) };
    this.#beginNext();
  }

  /** Begins changes that the last walk's slices want, as long as there are not too many under way. */
  #beginNext(): void {
    const { urgent, calm } = this.#candidates;
    this.#begin(urgent, this.#urgent, viewChangesMax);
    this.#begin(calm, this.#calm, calmChangesMax);
  }

  /** Takes slices from a list until enough changes are under way. */
  #begin(leaders: SliceLeader[], underWay: Set<Slice>, most: number): void {
    const { clock, elections } = this.#options;
    const { wanted, eligible } = this.#candidates;
    const now = clock.monotonicMs();
    while (underWay.size < most) {
      const leader = leaders.shift();
      if (!leader) return;
      const { slice } = leader;
      if (this.#urgent.has(slice) || this.#calm.has(slice)) continue;
      if (elections.leaderOf(slice) !== leader) continue;
      const next = this.#nextMembers(leader, wanted, eligible);
      if (!next || sameMembers(leader.members, next)) continue;
      // Looked at again whether it works out or not: a view may need several steps.
      this.#dirty = true;
      if ((this.#retryMs.get(slice) ?? 0) > now) continue;
      underWay.add(slice);
      void this.#change(leader, next, underWay === this.#urgent).then((isDone) => {
        underWay.delete(slice);
        // A walk that passed it over meanwhile may have found nothing else to do.
        this.#dirty = true;
        // What made one fail may make others fail: they wait for the next walk.
        if (isDone && !this.#stopped) this.#beginNext();
        this.#walkSoon();
      });
    }
    // Others may come before them until there is room.
    if (leaders.length > 0) this.#dirty = true;
  }

  #nextMembers(
    { slice, members }: SliceLeader,
    wanted: number,
    eligible: readonly Member[],
  ): readonly VoterId[] | undefined {
    const { route, sliceBits, faults } = this.#options;
    const size = nextSize(members.length, wanted, eligible.length);
    if (size === undefined) return undefined;
    const desired = route
      .desired(anchorOf(slice, sliceBits), size, eligible)
      .map(({ id, folder }) => voterIdOf(id, folder));
    return (
      faults?.restlessViews?.(members, slice) ??
      nextMembers(members, desired, (voter) => this.#isUp(voter))
    );
  }

  /** When nothing is left of the last walk, a view that needs several steps does not wait a second for each. */
  #walkSoon(): void {
    const { urgent, calm } = this.#candidates;
    if (this.#soon || this.#stopped || urgent.length + calm.length > 0) return;
    this.#soon = this.#options.clock.after(nextWalkMs, () => {
      this.#soon = undefined;
      if (!this.#stopped) this.#walk();
    });
  }

  #isUp(voter: VoterId): boolean {
    const member = this.#options.route.find(nodeOfVoter(voter));
    return member?.state === "alive" && voterIdOf(member.id, member.folder) === voter;
  }

  /** False when it did not come about. Never rejects. */
  async #change(
    leader: SliceLeader,
    next: readonly VoterId[],
    isUrgent: boolean,
  ): Promise<boolean> {
    const { clock, elections } = this.#options;
    const { slice, members } = leader;
    try {
      // The table may be wrong about who is there: in a smaller view all others are asked, members have all there is.
      const asked = next.filter((voter) =>
        next.length < members.length ? voter !== elections.voter : !members.includes(voter),
      );
      const prepare = async (): Promise<boolean> =>
        (await Promise.all(asked.map((voter) => this.#precopy(leader, voter)))).every(Boolean);
      if ((await prepare()) && elections.leaderOf(slice) === leader) {
        await this.#pace.run(async () => {
          // It may have waited for its turn. Where the size changes, more than one may be missing now.
          const isReady =
            next.length === members.length
              ? asked.every((voter) => this.#isUp(voter))
              : await prepare();
          if (!isReady || elections.leaderOf(slice) !== leader)
            throw new RingstowError("Unavailable", "Cannot change a view: a newcomer is gone");
          await this.#decide(leader, next);
        }, isUrgent);
        this.#retryMs.delete(slice);
        return true;
      }
    } catch (error) {
      this.#report(slice, error);
    }
    this.#retryMs.set(slice, clock.monotonicMs() + viewRetryMs);
    return false;
  }

  /** Lets a newcomer copy what is there, until all but the latest is. False when that does not come to an end. */
  async #precopy({ slice, ballot }: SliceLeader, voter: VoterId): Promise<boolean> {
    const { peers, route, clock, replica, elections } = this.#options;
    for (let tries = 0; tries < precopyTriesMax && !this.#stopped; tries++) {
      const peer = route.peer(nodeOfVoter(voter));
      if (!peer || !this.#isUp(voter) || !replica.mayLead(slice, ballot)) return false;
      const { epoch } = replica.viewOf(slice);
      const known = tries === 0 ? replica.knownVersions(slice) : undefined;
      const page = known && known.rows.length <= toldRowsMax ? known : undefined;
      const { complete } = await peers.call(
        peer,
        "index.precopy",
        { slice, epoch, source: elections.voter, ...(page && { page }) },
        prepareTimeoutMs,
      );
      if (complete) return true;
      await pause(clock, precopyPauseMs);
    }
    return false;
  }

  async #decide(leader: SliceLeader, proposed: readonly VoterId[]): Promise<void> {
    const { newRequestId, handovers, faults } = this.#options;
    if (faults?.undecidedView === true) {
      await this.#settle(leader.slice, this.#changeTo(leader, proposed));
      return;
    }
    const decided = await leader.execute(
      viewKey(leader.view.epoch),
      { type: "decideView", members: [...proposed] },
      newRequestId(),
      undefined,
    );
    if (decided.type !== "view") return;
    const change = this.#changeTo(leader, decided.members);
    const isLed = faults?.noHandover !== true && (await handovers.run(leader, change));
    const settled = this.#settle(leader.slice, change);
    // Where the next view is led, nobody waits for what is left to do.
    if (!isLed) await settled;
  }

  async #finishDecided(leader: SliceLeader): Promise<void> {
    const { value } = await leader.read(viewKey(leader.view.epoch), false);
    const decided = valueOf(decodeState(value ?? ""));
    if (decided?.kind !== "view") return;
    await this.#settle(leader.slice, this.#changeTo(leader, decided.members));
  }

  #changeTo({ slice, view: previous }: SliceLeader, members: readonly VoterId[]): ViewChange {
    const epoch = previous.epoch + 1;
    this.#options.log.info("View changes", { slice, epoch, members });
    return { view: { epoch, members }, previous };
  }

  /** Resolves when the new view can serve, or after a while. */
  async #settle(slice: Slice, change: ViewChange): Promise<void> {
    const { clock, settler } = this.#options;
    await waitAtMost(clock, viewBegunMs, settler.settle(slice, change));
  }

  #report(slice: Slice, error: unknown): void {
    if (!isExpected(error)) {
      this.#options.log.error("Cannot change a view", { slice, error: String(error) });
    }
  }
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  const first: T[] = [];
  const second: T[] = [];
  for (const one of all) (isFirst(one) ? first : second).push(one);
  return [first, second];
}
