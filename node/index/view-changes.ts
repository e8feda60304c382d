// All that lets the views of slices change, put together: what this folder is in each (view-replica), what the node
// knows of views (view-directory), how it gets into one (view-joiner), how a leader hands over to the next one while it
// serves (handovers), how a change is brought to an end (view-settler), who leads it first (first-lead), which changes
// its leaders want (view-keeper), and what follows one (register-renewal).
import {
  servingMs,
  settleBackupMs,
  viewLearnMs,
  viewLearnTriesMax,
  viewTellersMax,
} from "../../shared/limits.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot } from "../../shared/versions.ts";
import { type Peers } from "../peers.ts";
import { type Route, isLive } from "../route/types.ts";
import { pause } from "../waiting.ts";
import { type Election, type Elections } from "./elections.ts";
import { FirstLead } from "./first-lead.ts";
import { Handovers } from "./handovers.ts";
import { RegisterRenewal } from "./register-renewal.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { viewKey } from "./types.ts";
import { recover } from "./unsafe-recovery.ts";
import { ViewDirectory } from "./view-directory.ts";
import { ViewJoiner } from "./view-joiner.ts";
import { ViewKeeper, type ViewKeeperOptions } from "./view-keeper.ts";
import { type PauseSummary, ViewPauses } from "./view-pauses.ts";
import { ViewReplica } from "./view-replica.ts";
import { ViewSettler } from "./view-settler.ts";
import { type View, type ViewChange } from "./views.ts";

export interface ViewChangesOptions extends Omit<
  ViewKeeperOptions,
  "elections" | "settler" | "joiner" | "handovers" | "route"
> {
  readonly route: Route;
}

export class ViewChanges {
  readonly directory: ViewDirectory;
  readonly handovers: Handovers;
  readonly #options: ViewChangesOptions;
  readonly #standings: ViewReplica;
  readonly #joiner: ViewJoiner;
  readonly #settler: ViewSettler;
  readonly #pauses: ViewPauses;
  #elections: Elections | undefined;
  #firstLead: FirstLead | undefined;
  #keeper: ViewKeeper | undefined;
  #renewal: RegisterRenewal | undefined;
  readonly #unsubscribe: (() => void)[] = [];
  #stopped = false;

  constructor(options: ViewChangesOptions) {
    this.#options = options;
    const { replica, faults, peers } = options;
    const standings = new ViewReplica({
      states: replica.states,
      onSealed: (slice, change, serving) => this.#sealed(slice, change, serving),
      onDismissed: (slice, told) => this.#dismissed(slice, told),
      faults,
    });
    this.#standings = standings;
    this.#pauses = new ViewPauses(options.clock);
    this.directory = new ViewDirectory({
      ...options,
      standings,
      onNewer: (slice) => this.#newer(slice),
    });
    const shared = { ...options, standings, directory: this.directory };
    this.#joiner = new ViewJoiner({
      ...shared,
      onActive: (slice, change) => this.#active(slice, change),
      onOutlived: (slice) => this.#newer(slice),
    });
    this.#settler = new ViewSettler({ ...shared, joiner: this.#joiner });
    this.handovers = new Handovers({ ...shared, joiner: this.#joiner, pauses: this.#pauses });
    this.#answer(peers);
  }

  start(elections: Elections): void {
    this.#elections = elections;
    this.handovers.start(elections);
    this.#firstLead = new FirstLead({ ...this.#options, elections });
    this.#keeper = new ViewKeeper({
      ...this.#options,
      elections,
      settler: this.#settler,
      joiner: this.#joiner,
      handovers: this.handovers,
    });
    this.#renewal = new RegisterRenewal({ ...this.#options, elections });
    this.#keeper.start();
    this.#resume();
    this.#sweep();
    this.#learn();
    const { route } = this.#options;
    this.#unsubscribe.push(
      route.onRevived(() => this.#learn()),
      route.onChange((member, previous) => {
        if (isLive(member) && !isLive(previous)) this.#settler.returned(member.id);
        if (!isLive(member) && isLive(previous)) this.#standings.dismissOf(member.id);
      }),
    );
  }

  stop(): void {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#firstLead?.stop();
    this.#keeper?.stop();
    this.#renewal?.stop();
    this.#settler.stop();
    this.#joiner.stop();
  }

  /** Changes that this node prepares, decides or knows of, and that are not at their end. */
  get underWay(): number {
    return this.#settler.count + (this.#keeper?.count ?? 0);
  }

  /** How long slices stood still at changes that this node led before, or leads after. */
  pauses(): PauseSummary {
    return this.#pauses.summary();
  }

  elected(leader: SliceLeader, { names, first }: Election): void {
    this.#keeper?.elected(leader, names?.has(viewKey(leader.view.epoch)) ?? true);
    this.#renewal?.elected(leader);
    if (first) this.#pauses.ended(leader.slice, leader.view.epoch);
  }

  /** A member of the view that this node leads, or tries to, is not active in it: it may never have heard of it. */
  behind(slice: Slice, view: View): void {
    const { view: present, previous } = this.#standings.standing(slice);
    if (previous && present.epoch === view.epoch)
      void this.#settler.settle(slice, { view, previous });
  }

  /**
   * An operator says that these nodes are lost for good. Slices whose majority is among them go on with the members that
   * are left; writes may be lost.
   */
  recover(order: RequestOf<"index.recover">): Promise<ReplyOf<"index.recover">> {
    const { route, peers, log, sliceBits } = this.#options;
    const { directory } = this;
    const [standings, settler] = [this.#standings, this.#settler];
    const parts = { standings, directory, settler, peers, route, log };
    return recover(parts, 2 ** sliceBits, order);
  }

  // ------------------------------------------------------------------ inside

  /** What a change was about when this node last stopped goes on. */
  #resume(): void {
    for (let number = 0; number < 2 ** this.#options.sliceBits; number++) {
      const slice = number as Slice;
      const { mode, forward, joining } = this.#standings.standing(slice);
      // Whoever holds nothing of a slice that it left has done its part.
      const change = joining ?? (mode === "sealed" ? forward : undefined);
      if (change) void this.#settler.settle(slice, change, settleBackupMs);
    }
  }

  #sweep(): void {
    this.#joiner.sweep().catch((error: unknown) => {
      this.#options.log.warn("Cannot look for registers of no use", { error: String(error) });
    });
  }

  /**
   * Views that were decided while this node was away, or before it came. Hints that they are, a few nodes are asked: the
   * next on the ring, who vote with this one, and one alone may have been away with it.
   */
  #learn(): void {
    const { route, clock, log } = this.#options;
    const learn = async (): Promise<void> => {
      let told = 0;
      // One that is back may see nobody yet.
      for (let tries = 0; told === 0 && tries < viewLearnTriesMax; tries++) {
        if (tries > 0) await pause(clock, viewLearnMs);
        for (const { id } of route.desired(route.self.id, Infinity)) {
          if (this.#stopped || told === viewTellersMax) return;
          if (id !== route.self.id && (await this.directory.learnAll(id))) told++;
        }
        if (this.#stopped || route.members().length === 1) return;
      }
    };
    learn().catch((error: unknown) => log.warn("Cannot learn views", { error: String(error) }));
  }

  /**
   * A later view is there than the one in which this folder believes to vote, or it is to vote in it and never heard of
   * that: it takes part in that change, late. Who tells it of an INSTALL that it missed need not be there any more.
   */
  #newer(slice: Slice): void {
    const { mode, view } = this.#standings.standing(slice);
    const { previous, ...newest } = this.directory.viewOf(slice);
    if (this.#stopped || newest.epoch <= view.epoch) return;
    if (mode === "active") {
      // Its leader may be about to hand over, and does the rest then.
      if (previous) void this.#settler.settle(slice, { view: newest, previous }, settleBackupMs);
      else void this.directory.search(slice);
    } else if (previous && newest.members.includes(this.#options.route.voter)) {
      this.#settler.install(slice, { view: newest, previous }).catch((error: unknown) => {
        this.#options.log.warn("Cannot join a view", { slice, error: String(error) });
      });
    }
  }

  /** @param serving the ballot of the leader who hands over, and is served still */
  #sealed(slice: Slice, change: ViewChange, serving: Ballot | undefined): void {
    if (serving === undefined) {
      // Whoever decided the change brings it to an end; when that one dies, this node does.
      this.#standsStill(slice, change, settleBackupMs);
      return;
    }
    // That leader sees to the rest, unless it dies, before the next view is led or after.
    this.#options.clock.after(servingMs, () => this.#standings.dismiss(slice, serving));
    if (!this.#stopped) void this.#settler.settle(slice, change, servingMs + settleBackupMs);
  }

  /**
   * A leader that handed over is not served any more, and the next view was not led.
   * @param told somebody sees to the change already
   */
  #dismissed(slice: Slice, told: boolean): void {
    const { mode, view, previous, forward, joining } = this.#standings.standing(slice);
    if (mode === "active" && previous) {
      this.#pauses.began(slice, view.epoch);
      this.#elections?.resign(slice);
      if (!this.#stopped) this.#firstLead?.active(slice, view);
      return;
    }
    const change = joining ?? forward;
    if (change) this.#standsStill(slice, change, told ? settleBackupMs : 0);
  }

  #standsStill(slice: Slice, change: ViewChange, delayMs: number): void {
    this.#pauses.began(slice, change.view.epoch);
    this.#elections?.resign(slice);
    if (!this.#stopped) void this.#settler.settle(slice, change, delayMs);
  }

  #active(slice: Slice, { view }: ViewChange): void {
    // While it joined, the next view may have been decided: then this one is left at once.
    this.#newer(slice);
    if (this.#standings.serving(slice) === undefined) this.#firstLead?.active(slice, view);
  }

  #answer(peers: Peers): void {
    const standings = this.#standings;
    peers.onCall("index.install", ({ slice, change, settled }) => {
      this.#pauses.began(slice, change.view.epoch);
      return this.#settler.install(slice, change, settled);
    });
    peers.onCall(
      "index.promised",
      async (promise) => (await this.#firstLead?.hear(promise)) ?? { leads: false },
    );
    peers.onCall("index.seal", ({ slice, change, leader }) =>
      standings.seal(slice, change, leader),
    );
    peers.onCall("index.snapshot", ({ slice, epoch, after }) =>
      standings.snapshot(slice, epoch, after),
    );
    peers.onCall("index.precopy", async ({ slice, epoch, source, page }) => ({
      complete: await this.#joiner.precopy(slice, { member: source, epoch, page }),
    }));
    peers.onCall("index.views", (request) => this.directory.tell(request));
    peers.onCall("index.recover", (order) => this.recover(order));
  }
}
