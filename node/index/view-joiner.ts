// How a folder gets into a view: it copies in bulk before the change, and once the change is decided it gathers what a
// majority of the previous view holds sealed, or what one member of the new one has that was active in it.
// Invariant: it becomes active only with the newest version of every register that such a majority holds, and with no
// register that none of them holds.
import { RingstowError } from "../../shared/errors.ts";
import { type VoterId } from "../../shared/ids.ts";
import {
  gatherPauseMaxMs,
  gatherPauseMs,
  precopiesMax,
  precopyKeptMs,
  precopyRoundsMax,
  precopyWaitMs,
  prepareTimeoutMs,
  queueMax,
} from "../../shared/limits.ts";
import { type StoredRegister, type VersionPage } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version } from "../../shared/versions.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type Log, type Peer, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { pause, waitAtMost } from "../waiting.ts";
import { callMember } from "./call-member.ts";
import { type IndexFaults } from "./faults.ts";
import { type Replica } from "./replica.ts";
import { type Source, sealMajority } from "./seal-majority.ts";
import { Slots } from "./slots.ts";
import { Turns } from "./turns.ts";
import { kindOf, type RegisterKey } from "./types.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type ViewChange } from "./views.ts";

const KEYS_A_CALL = 64;
/** A bulk copy that finds no more than so many new registers is complete: the change itself brings those. */
const FEW_REGISTERS = 64;

export interface ViewJoinerOptions {
  readonly replica: Replica;
  readonly standings: ViewReplica;
  readonly directory: Pick<ViewDirectory, "learn" | "viewOf">;
  readonly peers: Peers;
  readonly route: Pick<Route, "find" | "peer" | "voter" | "observed">;
  readonly clock: Clock;
  readonly log: Log;
  readonly faults?: IndexFaults | undefined;
  /** This folder votes in a new view from now on. */
  readonly onActive: (slice: Slice, change: ViewChange) => void;
  /** It joins a view no more, for a later one of which it is is there. */
  readonly onOutlived: (slice: Slice) => void;
}

interface Precopy {
  readonly epoch: number;
  complete: boolean;
  running: Promise<void> | undefined;
  usedMs: number;
}

/** What a source holds of a register: its version, and who has it. */
interface Holding {
  readonly version: Version;
  readonly source: VoterId;
}

/** The source does not hold (any more) what it said. */
class SourceChanged extends Error {}

export class ViewJoiner {
  readonly #options: ViewJoinerOptions;
  readonly #precopies = new Map<Slice, Precopy>();
  readonly #slots = new Slots(precopiesMax);
  readonly #joins = new Map<Slice, { readonly epoch: number; readonly ended: Promise<void> }>();
  /** One writer of a slice's rows at a time. */
  readonly #turns = new Turns<Slice>(queueMax);
  #stopped = false;

  constructor(options: ViewJoinerOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
  }

  /**
   * Copies in bulk from an active member, unless that is done or under way. Tells whether the copy is complete but for
   * what was written since; waits for it for a while.
   */
  async precopy(slice: Slice, source: Source): Promise<boolean> {
    const { standings, clock } = this.#options;
    const { epoch } = source;
    const { mode, joining } = standings.standing(slice);
    if (joining || mode === "active") return true;
    if (mode === "sealed") return false; // others may still need what is here
    let copy = this.#precopies.get(slice);
    if (copy?.epoch !== epoch) {
      copy = { epoch, complete: false, running: undefined, usedMs: 0 };
      this.#precopies.set(slice, copy);
    }
    copy.usedMs = clock.monotonicMs();
    if (!copy.complete) {
      copy.running ??= this.#precopy(copy, slice, source);
      await waitAtMost(clock, precopyWaitMs, copy.running);
    }
    return copy.complete;
  }

  /** Copies whose change never came are deleted. */
  forgetUnused(): void {
    const { clock } = this.#options;
    const before = clock.monotonicMs() - precopyKeptMs;
    for (const [slice, { usedMs, running }] of this.#precopies) {
      if (running || usedMs > before) continue;
      this.#precopies.delete(slice);
      if (this.#isUnused(slice)) void this.retire(slice);
    }
  }

  /** Whether this folder has no part in a slice, and copies nothing of it for a change to come. */
  #isUnused(slice: Slice): boolean {
    const { mode, joining } = this.#options.standings.standing(slice);
    return mode === "none" && !joining && !this.#precopies.has(slice);
  }

  /** Deletes what an earlier life of this node was about to delete, or had copied for a change that never came. */
  async sweep(): Promise<void> {
    const { standings } = this.#options;
    let slice = await standings.firstWithRows(0);
    while (slice !== undefined && !this.#stopped) {
      if (this.#isUnused(slice)) await this.retire(slice);
      slice = await standings.firstWithRows(slice + 1);
    }
  }

  /**
   * Deletes what this folder holds of a slice that it is no member of, unless that was copied for a change to come.
   * False when the disk refused.
   */
  async retire(slice: Slice): Promise<boolean> {
    if (this.#precopies.has(slice)) return true;
    try {
      await this.#turns.take(slice, () => this.#options.standings.retire(slice));
      return true;
    } catch (error) {
      this.#options.log.warn("Cannot delete a slice", { slice, error: String(error) });
      return false;
    }
  }

  /** Joins the view that the replica has noted; resolves when it is active, or another view took its place. */
  join(slice: Slice): Promise<void> {
    const { joining } = this.#options.standings.standing(slice);
    if (!joining) return Promise.resolve();
    const running = this.#joins.get(slice);
    if (running?.epoch === joining.view.epoch) return running.ended;
    const ended = this.#turns
      .take(slice, () => this.#gatherUntilActive(slice, joining))
      .catch((error: unknown) => {
        this.#options.log.error("Cannot join a view", { slice, error: String(error) });
      });
    this.#joins.set(slice, { epoch: joining.view.epoch, ended });
    void ended.then(() => {
      if (this.#joins.get(slice)?.ended === ended) this.#joins.delete(slice);
    });
    return ended;
  }

  // ------------------------------------------------------------------ before the change

  async #precopy(copy: Precopy, slice: Slice, source: Source): Promise<void> {
    // A page that waits for a slot grows old: then it is asked for.
    const { page, ...from } = source;
    const first = this.#slots.free > 0 ? page : undefined;
    try {
      copy.complete = await this.#slots.run(() =>
        this.#turns.take(slice, () => this.#copyAll(slice, from, first)),
      );
      // From now on in memory: the change itself, in which the slice stands still, need not read it.
      await this.#options.replica.versions(slice, "");
    } catch (error) {
      if (isExpected(error)) return; // asked again, it begins again
      this.#options.log.warn("Cannot copy a slice", { slice, error: String(error) });
    } finally {
      copy.running = undefined;
    }
  }

  /** @param first the first page of what the source holds now, when it is here already */
  async #copyAll(
    slice: Slice,
    source: Omit<Source, "page">,
    first: VersionPage | undefined,
  ): Promise<boolean> {
    const { replica, standings } = this.#options;
    for (let round = 0; round < precopyRoundsMax && !this.#stopped; round++) {
      if (standings.standing(slice).mode !== "none" || standings.standing(slice).joining)
        return true;
      const held = new Map<string, Holding>();
      await this.#list(slice, { ...source, page: round === 0 ? first : undefined }, held);
      // A change was decided meanwhile: it brings all that is still missing, and does not wait.
      if (standings.standing(slice).joining) return true;
      const newer = [...held].filter(
        ([key, { version }]) => version > replica.read(slice, key, "version").version,
      );
      await this.#fetch(
        slice,
        new Map(newer),
        () => standings.standing(slice).joining !== undefined,
      );
      if (newer.length <= FEW_REGISTERS) return true;
    }
    return true; // written faster than it can be copied: the rest comes with the change
  }

  // ------------------------------------------------------------------ the change

  async #gatherUntilActive(slice: Slice, change: ViewChange): Promise<void> {
    const { standings, clock, log } = this.#options;
    let pauseMs = gatherPauseMs;
    while (!this.#stopped && standings.standing(slice).joining === change) {
      try {
        if (await this.#gather(slice, change)) return;
      } catch (error) {
        if (!isExpected(error)) log.warn("Cannot gather a view", { slice, error: String(error) });
      }
      await pause(clock, pauseMs);
      pauseMs = Math.min(2 * pauseMs, gatherPauseMaxMs);
    }
    // Another view took its place, without this folder: what was gathered is of no use.
    if (!this.#stopped && this.#isUnused(slice)) await standings.retire(slice);
  }

  /** One try. True when this folder is active, or need not be any more. */
  async #gather(slice: Slice, change: ViewChange): Promise<boolean> {
    const { standings, onActive, onOutlived, directory } = this.#options;
    let isOutlived = false;
    const sources = await sealMajority(
      { ...this.#options, call: (member, call) => this.#call(member, call) },
      slice,
      change,
      () => void (isOutlived = true),
    );
    if (!sources) {
      const newest = directory.viewOf(slice);
      if (newest.epoch <= change.view.epoch) return false;
      const isMember = newest.members.includes(this.#options.route.voter);
      if (isMember && !isOutlived) return false; // its INSTALL will come
      if (!(await standings.leaveJoin(slice, change, isOutlived))) return false;
      if (isMember) onOutlived(slice);
      else await standings.retire(slice);
      return true;
    }
    const held = new Map<string, Holding>();
    for (const source of sources) await this.#list(slice, source, held);
    // Where nobody held anything, what this folder has is all there is.
    const gone = sources.length > 0 ? await this.#takeOver(slice, held) : [];
    if (await standings.activate(slice, change, gone)) {
      this.#precopies.delete(slice);
      onActive(slice, change);
    }
    return true;
  }

  /** Adds what one source holds, page by page, as far as it is newer than what others hold. */
  async #list(slice: Slice, source: Source, held: Map<string, Holding>): Promise<void> {
    const { member } = source;
    let page = source.page ?? (await this.#page(slice, source, ""));
    for (;;) {
      for (const { key, version } of page.rows) {
        // Who follows a view is its own members' business.
        if (kindOf(key as RegisterKey) === "view") continue;
        if (version > (held.get(key)?.version ?? NO_VERSION))
          held.set(key, { version, source: member });
      }
      const last = page.rows.at(-1);
      if (!page.more || !last) return;
      page = await this.#page(slice, source, last.key);
    }
  }

  async #page(slice: Slice, { member, epoch }: Source, after: string): Promise<VersionPage> {
    const { standings, peers, route } = this.#options;
    const reply =
      member === route.voter
        ? await standings.snapshot(slice, epoch, after)
        : await this.#call(member, (peer) =>
            peers.call(peer, "index.snapshot", { slice, epoch, after }, prepareTimeoutMs),
          );
    if (!reply.ok) throw new SourceChanged();
    return reply;
  }

  /** Makes this folder hold all that is held. Gives the keys of what it has and nobody holds. */
  async #takeOver(slice: Slice, held: ReadonlyMap<string, Holding>): Promise<string[]> {
    const { replica } = this.#options;
    const missing = new Map(held);
    const gone: string[] = [];
    for (let after = ""; ;) {
      const page = await replica.versions(slice, after);
      for (const { key, version } of page.rows) {
        const holding = held.get(key);
        if (!holding) gone.push(key);
        else if (holding.version === version) missing.delete(key);
      }
      const last = page.rows.at(-1);
      if (!page.more || !last) break;
      after = last.key;
    }
    await this.#fetch(slice, missing);
    return gone;
  }

  /**
   * Fetches registers from those who hold them, and stores them.
   * @param isOver whether what is left need not be fetched any more
   */
  async #fetch(
    slice: Slice,
    wanted: ReadonlyMap<string, Holding>,
    isOver: () => boolean = () => false,
  ): Promise<void> {
    const { standings, peers, route } = this.#options;
    const bySource = new Map<VoterId, string[]>();
    for (const [key, { source }] of wanted) {
      const keys = bySource.get(source);
      if (keys) keys.push(key);
      else bySource.set(source, [key]);
    }
    for (const [source, keys] of bySource) {
      if (source === route.voter) continue;
      while (keys.length > 0 && !this.#stopped) {
        if (isOver()) return;
        const part = keys.slice(0, KEYS_A_CALL);
        const { registers } = await this.#call(source, (peer) =>
          peers.call(peer, "index.fetch", { slice, keys: part }, prepareTimeoutMs),
        );
        const isWhole = (register: StoredRegister): boolean =>
          register.version >= wanted.get(register.key)!.version;
        if (registers.length === 0 || !registers.every(isWhole)) throw new SourceChanged();
        await standings.put(slice, registers);
        keys.splice(0, registers.length); // as many as fitted into the reply
      }
    }
    if (this.#stopped) throw new SourceChanged();
  }

  #call<T>(member: VoterId, call: (peer: Peer) => Promise<T>): Promise<T> {
    return callMember(this.#options.route, member, call);
  }
}

/** What a try may end with and another one may mend. */
function isExpected(error: unknown): boolean {
  return (
    error instanceof SourceChanged ||
    error instanceof TransportError ||
    error instanceof RingstowError
  );
}
