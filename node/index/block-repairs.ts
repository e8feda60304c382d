// Repair of the blocks whose chains this node leads: looks for those with too few or wrong copies, takes the most
// endangered first, some at a time and so many bytes a second, and hands each to whoever can move bytes.
// Nothing is remembered that a new leader would miss: it finds the same work in the same registers, and a step that was
// done twice, or half, changes nothing or is done again. Reported copies are the exception: a read reports them again.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import {
  checkerMs,
  repairAfterDefaultMs,
  repairLookMax,
  repairBytesPerSecond,
  repairReportsAtOnce,
  repairReportsMax,
  repairRetryMs,
  repairThinMs,
  repairTickMs,
  repairsInFlightMax,
} from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Clock, type Log, type Timer } from "../ports.ts";
import { type Member, type Route, copiesWanted } from "../route/types.ts";
import { pause } from "../waiting.ts";
import { type ChainCensus } from "./chain-census.ts";
import { type Health, copiesLeft, holdersOf, planRepair } from "./repair-plan.ts";
import { type RegisterAddress, type RegisterValue, type RepairStep, blocksIn } from "./types.ts";

export interface BlockRepairsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly route: Pick<Route, "members" | "live" | "copies">;
  readonly census: Pick<ChainCensus, "worst" | "wanting">;
  /** A node that is dead for longer is replaced; `repairAfterDefaultMs` of the limits when it is undefined. */
  readonly afterMs: number | undefined;
  readonly slicesLed: () => readonly Slice[];
  /** Linearizable. */
  readonly read: (at: RegisterAddress) => Promise<RegisterValue | undefined>;
  /** Does one step. False: the register says something else by now. Throws when it cannot be done now. */
  readonly repair: (step: RepairStep) => Promise<boolean>;
}

interface Report {
  readonly at: RegisterAddress;
  readonly block: BlockId;
  readonly bad: Set<NodeId>;
  /** Monotonic ms from which on it is looked at. */
  fromMs: number;
}

interface Work {
  readonly step: RepairStep;
  readonly left: number;
}

export class BlockRepairs {
  readonly #deps: BlockRepairsDeps;
  /** When this node first saw a member dead; monotonic ms. A wall clock may jump. */
  readonly #deadSinceMs = new Map<NodeId, number>();
  readonly #reports = new Map<string, Report>();
  #lost: ReadonlySet<NodeId> = new Set();
  #able: ReadonlySet<NodeId> = new Set();
  #led: ReadonlySet<Slice> = new Set();
  /** Copies that were wanted at the last tick. */
  #copies: number | undefined;
  /** Blocks with too few copies, and when they were first seen so: the last copies of a write come late. */
  #thinSinceMs: ReadonlyMap<BlockId, number> = new Map();
  /** The most endangered first. */
  #queue: Work[] = [];
  /** Names of blocks that are being repaired. */
  readonly #running = new Set<string>();
  /** Monotonic ms at which everything is looked at again. */
  #lookMs = 0;
  /** The last look found work: a block may want another step, and there may be more than one look takes. */
  #more = false;
  /** Monotonic ms at which the bytes moved so far are within the limit. */
  #bytesMs = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(deps: BlockRepairsDeps) {
    this.#deps = deps;
  }

  /** Blocks that are being repaired or wait for it. */
  get pending(): number {
    return this.#queue.length + this.#running.size + this.#reports.size;
  }

  start(): void {
    this.#timer = this.#deps.clock.after(repairTickMs, () => {
      this.#tick()
        .catch((error: unknown) => {
          this.#lookWithin(repairRetryMs);
          this.#deps.log.warn("Cannot repair blocks", { error: String(error) });
        })
        .finally(() => {
          if (!this.#stopped) this.start();
        });
    });
  }

  /** What runs ends by itself: a step that was cut off is found again. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** A block of a register that this node leads wants a look; `bad`: the copy there failed a read. */
  report(at: RegisterAddress, block: BlockId, bad: NodeId | undefined, afterMs = 0): void {
    const name = nameOf(at, block);
    const fromMs = this.#deps.clock.monotonicMs() + afterMs;
    const report = this.#reports.get(name) ?? { at, block, bad: new Set<NodeId>(), fromMs };
    if (bad !== undefined) report.bad.add(bad);
    report.fromMs = Math.min(report.fromMs, fromMs);
    if (this.#reports.size < repairReportsMax || this.#reports.has(name))
      this.#reports.set(name, report);
  }

  // ------------------------------------------------------------------ inside

  async #tick(): Promise<void> {
    const health = this.#look();
    const nowMs = this.#deps.clock.monotonicMs();
    const reported = await this.#reported(health, nowMs);
    if (this.#more && this.#queue.length === 0) this.#lookWithin(0);
    if (nowMs >= this.#lookMs) {
      this.#lookMs = nowMs + checkerMs;
      // What waited is found again, in the order of now.
      this.#queue = await this.#found(health, nowMs);
    }
    this.#queue = [...this.#queue, ...reported].toSorted((a, b) => a.left - b.left);
    this.#pump();
  }

  #lookWithin(ms: number): void {
    this.#lookMs = Math.min(this.#lookMs, this.#deps.clock.monotonicMs() + ms);
  }

  /**
   * Who is there now. Another lost node, one that is back, another slice led here, or another number of copies is a
   * reason to look at everything: a copy that is behind waits for its node.
   */
  #look(): Health {
    const { clock, route, afterMs, slicesLed } = this.#deps;
    const nowMs = clock.monotonicMs();
    const members = new Map<NodeId, Member>(route.members().map((one) => [one.id, one]));
    for (const { id, state } of members.values()) {
      if (state !== "dead") this.#deadSinceMs.delete(id);
      else if (!this.#deadSinceMs.has(id)) this.#deadSinceMs.set(id, nowMs);
    }
    const isLost = (node: NodeId): boolean => {
      if (members.get(node)?.state === "left") return true;
      // One that is not known: forgotten after days, or a table that is not complete yet.
      if (!members.has(node) && !this.#deadSinceMs.has(node)) this.#deadSinceMs.set(node, nowMs);
      const sinceMs = this.#deadSinceMs.get(node);
      return sinceMs !== undefined && nowMs - sinceMs >= (afterMs ?? repairAfterDefaultMs);
    };
    const lost = new Set([...members.keys()].filter(isLost));
    const led = new Set(slicesLed());
    const live = new Set(route.live().map(({ id }) => id));
    const able = new Set([...live].filter((id) => members.get(id)?.state === "alive"));
    const sameLost = isWithin(lost, this.#lost) && isWithin(this.#lost, lost);
    const wanted = copiesWanted(route);
    const same = sameLost && wanted === this.#copies;
    if (!same || !isWithin(able, this.#able) || !isWithin(led, this.#led)) this.#lookMs = nowMs;
    this.#lost = lost;
    this.#able = able;
    this.#led = led;
    this.#copies = wanted;
    return { copies: wanted, live, able, isLost, zoneOf: (node) => members.get(node)?.zone };
  }

  /** Work in the slices led here, those with the most endangered blocks first. */
  async #found(health: Health, nowMs: number): Promise<Work[]> {
    const { census, slicesLed } = this.#deps;
    const slices: { slice: Slice; left: number }[] = [];
    for (const slice of slicesLed()) {
      if (this.#stopped) return [];
      const left = await census.worst(slice, health);
      if (left !== undefined) slices.push({ slice, left });
    }
    const work: Work[] = [];
    const thinSinceMs = new Map<BlockId, number>();
    let tooYoung = 0;
    for (const { slice } of slices.toSorted((a, b) => a.left - b.left)) {
      const limit = repairLookMax - work.length - tooYoung;
      if (limit <= 0) break;
      for (const { key, block, holders } of await census.wanting(slice, health, limit)) {
        const plan = planRepair(holders, health, { block: block.id });
        if (!plan) continue;
        const sinceMs = this.#thinSinceMs.get(block.id) ?? nowMs;
        const isThin = plan.kind === "copy" && plan.instead === undefined;
        if (isThin) thinSinceMs.set(block.id, sinceMs);
        if (this.#running.has(nameOf({ slice, key }, block.id))) continue;
        if (isThin && nowMs - sinceMs < repairThinMs) {
          tooYoung++;
          continue;
        }
        const left = copiesLeft(holders, health);
        work.push({ step: { at: { slice, key }, block, ...plan }, left });
      }
    }
    this.#thinSinceMs = thinSinceMs;
    this.#more = work.length > 0;
    if (tooYoung > 0) this.#lookWithin(repairThinMs);
    return work;
  }

  async #reported(health: Health, nowMs: number): Promise<Work[]> {
    const work: Work[] = [];
    for (const [name, { at, block: id, bad, fromMs }] of this.#reports) {
      if (fromMs > nowMs || work.length >= repairReportsAtOnce || this.#running.has(name)) continue;
      this.#reports.delete(name);
      if (this.#stopped) return [];
      const value = await this.#deps.read(at).catch((error: unknown) => {
        if (!(error instanceof RingstowError)) throw error;
        for (const node of [undefined, ...bad]) this.report(at, id, node, repairRetryMs);
        return undefined;
      });
      const block = value && blocksIn(value).find((one) => one.id === id);
      const holders = block && holdersOf(block);
      const plan = holders && planRepair(holders, health, { block: id, bad });
      if (!plan) continue;
      // One step at a time: what else was reported of the block has its turn later.
      const onto = plan.kind === "copy" ? plan.onto : undefined;
      for (const node of bad) if (node !== onto) this.report(at, id, node, repairRetryMs);
      const left = copiesLeft(holders, health) - bad.size;
      work.push({ step: { at, block, ...plan }, left });
    }
    return work;
  }

  #pump(): void {
    while (this.#running.size < repairsInFlightMax && !this.#stopped) {
      const work = this.#queue.shift();
      if (!work) return;
      const name = nameOf(work.step.at, work.step.block.id);
      if (this.#running.has(name)) continue;
      this.#running.add(name);
      void this.#do(work.step).then(() => {
        this.#running.delete(name);
        this.#pump();
      });
    }
  }

  /** Never rejects. */
  async #do(step: RepairStep): Promise<void> {
    const { log, repair } = this.#deps;
    const { at, block } = step;
    try {
      if (step.kind !== "release") await this.#payFor(block.size);
      if (this.#stopped || (await repair(step))) return;
    } catch (error) {
      const expected = error instanceof RingstowError;
      const fields = { block: block.id, reason: String(error) };
      if (expected) log.info("A block is repaired later", fields);
      else log.error("A block cannot be repaired", fields);
    }
    // A copy that failed a read is known here alone: the register names it like a good one.
    if (step.kind === "copy" && step.onto !== undefined)
      this.report(at, block.id, step.onto, repairRetryMs);
    this.#more = false;
    this.#lookWithin(repairRetryMs);
  }

  /** Waits until so many bytes may be moved, or read before a copy is dropped. */
  async #payFor(bytes: number): Promise<void> {
    const { clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#bytesMs);
    this.#bytesMs = startMs + (bytes * 1_000) / repairBytesPerSecond;
    if (startMs > nowMs) await pause(clock, startMs - nowMs);
  }
}

function nameOf({ slice, key }: RegisterAddress, block: BlockId): string {
  return `${slice}/${key}/${block}`;
}

function isWithin<T>(some: ReadonlySet<T>, all: ReadonlySet<T>): boolean {
  for (const one of some) if (!all.has(one)) return false;
  return true;
}
