// Anti-entropy: a replica pulls what it missed from the others. It runs when this node starts, when a member comes
// back, and when a leader says that writes were decided without us: never as idle traffic. A run that broke off, or
// left differences, is tried again while the member is live: its cause may leave no other trace (a lost message).
// A newer version below our promise is not taken (it could be an undecided write); its key is settled by the leader.
import { assert } from "../../shared/errors.ts";
import { type NodeId, type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import {
  prepareTimeoutMs,
  syncLeaderReadsMax,
  syncPauseMs,
  syncRetryMaxMs,
  syncRetryMs,
  syncRoundsMax,
} from "../../shared/limits.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Clock, type Log, type Peer, type Timer, TransportError } from "../ports.ts";
import { type Peers } from "../peers.ts";
import { type Route, isLive } from "../route/types.ts";
import { pause } from "../waiting.ts";
import { type Replica } from "./replica.ts";
import { type SliceDigests } from "./slice-digests.ts";
import { Slots } from "./slots.ts";
import { type RegisterKey } from "./types.ts";
import { type ViewDirectory } from "./view-directory.ts";

const SLICES_A_CALL = 16; // the other one may have to read them all
const KEYS_A_CALL = 64;

export interface SynchroniserOptions {
  readonly replica: Replica;
  readonly digests: SliceDigests;
  readonly peers: Peers;
  readonly route: Pick<Route, "live" | "find" | "peer" | "onChange" | "self">;
  readonly clock: Clock;
  readonly log: Log;
  readonly slices: number;
  readonly views: Pick<ViewDirectory, "learn">;
  /** Makes the leader write the register again under its ballot, to all members. */
  readonly readByLeader: (slice: Slice, key: RegisterKey) => Promise<StoredRegister>;
}

export class Synchroniser {
  readonly #options: SynchroniserOptions;
  readonly #running = new Map<NodeId, { again: boolean }>();
  /** Slices that the next run with a node compares. */
  readonly #wanted = new Map<NodeId, Set<Slice>>();
  readonly #leaderReads = new Slots(syncLeaderReadsMax);
  /** Runs that wait to be tried again, one a node at most. */
  readonly #retries = new Map<NodeId, Timer>();
  /** What the latest whole run with a node left different, and how long the next one waited or will wait. */
  readonly #left = new Map<NodeId, { slices: readonly Slice[]; pauseMs: number }>();
  /** The view of each slice in which this node led and compared what it holds. */
  readonly #compared = new Map<Slice, number>();
  readonly #missed = new Map<NodeId, Set<Slice>>();
  #unsubscribe: (() => void) | undefined;
  #stopped = false;

  constructor(options: SynchroniserOptions) {
    this.#options = options;
  }

  start(): void {
    const { route } = this.#options;
    this.#unsubscribe = route.onChange((member, previous) => {
      const back =
        member.state === "alive" &&
        (previous?.state !== "alive" || previous.incarnation !== member.incarnation);
      if (back && member.id !== route.self.id) this.syncWith(member.id);
    });
    for (const member of route.live()) if (member.id !== route.self.id) this.syncWith(member.id);
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe?.();
    for (const timer of this.#retries.values()) timer.cancel();
    this.#retries.clear();
  }

  /**
   * Pulls from a node what it has and we lack, in these slices or in all.
   * One run a node at a time; a call during a run makes another.
   */
  syncWith(node: NodeId, slices: Iterable<Slice> = this.#allSlices()): void {
    this.#want(node, slices);
    this.#begin(node, false);
  }

  *#allSlices(): Generator<Slice> {
    for (let number = 0; number < this.#options.slices; number++) yield number as Slice;
  }

  /** Adds the slices in whose view both this node and the other one vote. */
  #want(node: NodeId, slices: Iterable<Slice>): void {
    const { replica } = this.#options;
    const wanted = this.#wanted.get(node) ?? new Set();
    this.#wanted.set(node, wanted);
    for (const slice of slices) {
      const { members } = replica.viewOf(slice);
      if (replica.votesIn(slice) && members.some((voter) => nodeOfVoter(voter) === node)) {
        wanted.add(slice);
      }
    }
  }

  #begin(node: NodeId, retry: boolean): void {
    const running = this.#running.get(node);
    if (running) {
      running.again = true;
      return;
    }
    if (this.#stopped) return;
    const run = { again: false };
    this.#running.set(node, run);
    void this.#run(node, retry).then((pauseMs) => {
      this.#running.delete(node);
      if (run.again) this.#begin(node, false);
      else if (pauseMs !== undefined) this.#retryIn(pauseMs, node);
    });
  }

  /** One run. Tells in how many ms it is to be tried again; undefined: both hold the same, or the node is gone. */
  async #run(node: NodeId, retry: boolean): Promise<number | undefined> {
    const wanted = [...(this.#wanted.get(node) ?? [])];
    this.#wanted.delete(node);
    try {
      if (retry) await this.#tellDifferent(node);
      const slices = await this.#syncRounds(node, wanted);
      if (slices.length === 0) {
        this.#left.delete(node);
        return undefined;
      }
      const before = this.#left.get(node)?.pauseMs ?? syncRetryMs / 2;
      const pauseMs = Math.min(before * 2, syncRetryMaxMs);
      this.#left.set(node, { slices, pauseMs });
      this.#want(node, slices);
      return pauseMs;
    } catch (error) {
      // No answer is nothing to report: when the node is gone, its return starts us again.
      if (!(error instanceof TransportError)) {
        this.#options.log.warn("Cannot synchronise", { node, error: String(error) });
      }
      this.#want(node, wanted);
      return syncRetryMs;
    }
  }

  #retryIn(pauseMs: number, node: NodeId): void {
    if (this.#stopped) return;
    this.#retries.get(node)?.cancel();
    const timer = this.#options.clock.after(pauseMs, () => {
      this.#retries.delete(node);
      if (this.#isLive(node)) this.#begin(node, true);
      else {
        this.#left.delete(node);
        this.#wanted.delete(node);
      }
    });
    this.#retries.set(node, timer);
  }

  #isLive(node: NodeId): boolean {
    return isLive(this.#options.route.find(node));
  }

  /** What we pulled in vain may be newer here: then the other one has to pull. */
  async #tellDifferent(node: NodeId): Promise<void> {
    const peer = this.#options.route.peer(node);
    const slices = this.#left.get(node)?.slices;
    if (!peer || !slices) return;
    await this.#options.peers.call(peer, "index.behind", { slices: [...slices] }, prepareTimeoutMs);
  }

  /**
   * A member missed a write that this node's leader decided: tell it, again and again until it heard. One that is gone
   * is compared with when it is back.
   */
  tellBehind(slice: Slice, member: VoterId): void {
    const node = nodeOfVoter(member);
    // This node's own disk refused what the others hold.
    if (node === this.#options.route.self.id) {
      this.compareWithOthers(slice);
      return;
    }
    const missed = this.#missed.get(node);
    if (missed) {
      missed.add(slice);
      return;
    }
    this.#missed.set(node, new Set([slice]));
    this.#tellLater(node);
  }

  /** This node leads a slice: once in each view it compares what it holds. */
  elected(slice: Slice, epoch: number): void {
    if (epoch === 1 || this.#compared.get(slice) === epoch) return;
    this.#compared.set(slice, epoch);
    this.compareWithOthers(slice);
  }

  /** Compares what this node holds of a slice with the other members of its view, until all hold the same. */
  compareWithOthers(slice: Slice): void {
    const { replica, route } = this.#options;
    for (const node of replica.viewOf(slice).members.map(nodeOfVoter))
      if (node !== route.self.id) this.syncWith(node, [slice]);
  }

  #tellLater(node: NodeId): void {
    this.#options.clock.after(syncPauseMs, () => {
      const slices = [...(this.#missed.get(node) ?? [])];
      if (this.#stopped || slices.length === 0) return;
      if (!this.#isLive(node)) {
        this.#missed.delete(node);
        return;
      }
      const peer = this.#options.route.peer(node);
      const told = peer
        ? this.#options.peers.call(peer, "index.behind", { slices }, prepareTimeoutMs)
        : Promise.reject(new TransportError("unreachable", "address unknown"));
      told.then(
        () => {
          const missed = this.#missed.get(node);
          for (const slice of slices) missed?.delete(slice);
          if (missed?.size === 0) this.#missed.delete(node);
          else this.#tellLater(node);
        },
        () => this.#tellLater(node),
      );
    });
  }

  /** Slices that the last round still found different. */
  async #syncRounds(node: NodeId, slices: readonly Slice[]): Promise<readonly Slice[]> {
    let differing = slices;
    for (let round = 0; round < syncRoundsMax && !this.#stopped; round++) {
      const peer = this.#options.route.peer(node);
      if (!peer) return [];
      differing = await this.#differing(peer, differing);
      if (differing.length === 0) return [];
      for (const slice of differing) await this.#pullOrLeave(slice, peer);
      await pause(this.#options.clock, syncPauseMs);
    }
    return differing;
  }

  async #differing(peer: Peer, slices: readonly Slice[]): Promise<Slice[]> {
    const { digests, peers, replica, views } = this.#options;
    const differing: Slice[] = [];
    for (let at = 0; at < slices.length && !this.#stopped; at += SLICES_A_CALL) {
      const part = slices.slice(at, at + SLICES_A_CALL);
      const theirs = await peers.call(
        peer,
        "index.digests",
        { slices: part, epochs: part.map((slice) => replica.viewOf(slice).epoch) },
        prepareTimeoutMs * 10,
      );
      for (const { slice, view } of theirs.views) views.learn(slice, view);
      for (const [i, slice] of part.entries()) {
        // Of a slice in which this node votes no more, nothing is to be pulled.
        if (theirs.views.some((newer) => newer.slice === slice)) continue;
        if (theirs.digests[i] !== (await digests.of(slice))) differing.push(slice);
      }
    }
    return differing;
  }

  /** A slice that cannot be pulled now (it may have no leader) does not hold up the others. */
  async #pullOrLeave(slice: Slice, peer: Peer): Promise<void> {
    try {
      await this.#pull(slice, peer);
    } catch (error) {
      if (error instanceof TransportError) throw error;
      this.#options.log.warn("Cannot synchronise a slice", { slice, error: String(error) });
    }
  }

  async #pull(slice: Slice, peer: Peer): Promise<void> {
    const { replica, peers } = this.#options;
    let after = "";
    for (;;) {
      const page = await peers.call(peer, "index.versions", { slice, after }, prepareTimeoutMs);
      const newer = page.rows
        .filter(({ key, version }) => version > replica.read(slice, key, "version").version)
        .map(({ key }) => key);
      while (newer.length > 0) {
        const keys = newer.slice(0, KEYS_A_CALL);
        const fetched = await peers.call(peer, "index.fetch", { slice, keys }, prepareTimeoutMs);
        assert(
          fetched.registers.length > 0,
          "a peer sends one register or more of those asked for",
        );
        const refused = await replica.sync(slice, fetched.epoch, fetched.registers);
        const settle = (key: string): Promise<StoredRegister> =>
          this.#leaderReads.run(() => this.#options.readByLeader(slice, key as RegisterKey));
        await Promise.all(refused.map(settle));
        // As many as fitted into the reply.
        newer.splice(0, fetched.registers.length);
      }
      const last = page.rows.at(-1);
      if (!page.more || !last) return;
      after = last.key;
    }
  }
}
