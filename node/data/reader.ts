// Reads blocks from the best replica and goes on from another one at the same byte when it breaks.
// Invariant: the bytes yielded are exactly from..to in order, or the read throws; a short read never ends well.
import { assert, RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { readTriesMax } from "../../shared/limits.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import { type BlockFiles, type Chance, type Clock, type Log, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { type BadCopies } from "./bad-copies.ts";
import { HeadTimes } from "./head-times.ts";
import { openHedged } from "./hedged-open.ts";
import { type RecentFailures } from "./recent-failures.ts";
import {
  bounded,
  openLocal,
  type OpeningSource,
  openRemote,
  type ReadSpan,
  type ReplicaSource,
} from "./replica-source.ts";
import { reasonOf } from "./within.ts";

export interface BlockReaderDeps {
  readonly self: NodeId;
  readonly zone: string;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly peers: Peers;
  readonly route: Route;
  readonly blocks: BlockFiles;
  readonly failures: RecentFailures;
  readonly badCopies: BadCopies;
  readonly log: Log;
}

export class BlockReader {
  readonly #deps: BlockReaderDeps;
  readonly #headTimes: HeadTimes;
  /** Streams open to each node, from here. */
  readonly #load = new Map<NodeId, number>();

  constructor(deps: BlockReaderDeps) {
    this.#deps = deps;
    this.#headTimes = new HeadTimes(deps.clock);
  }

  /** See Data.read(). */
  async *read(
    block: BlockRef,
    from: number,
    to: number,
    owner?: RegisterAddress,
  ): AsyncGenerator<Uint8Array, void> {
    assert(0 <= from && from <= to && to <= block.size, "a range lies inside its block");
    const tries = new Map<NodeId, number>();
    let at = from;
    let reason: unknown;
    while (at < to) {
      const order = this.#order(block, tries);
      if (order.length === 0) throw this.#noneLeft(block, at, reason);
      const span = { block: block.id, from: at, to };
      const source = await this.#open(order, { span, owner }, tries).catch((error: unknown) => {
        reason = error; // every failure has been counted in `tries`
      });
      if (!source) continue;
      this.#loadChanged(source.node, 1);
      try {
        while (at < to) {
          const outcome = await takeFrom(source);
          if (!outcome.ok) {
            reason = outcome.failure;
            this.#broke({ span, owner }, source.node, outcome.failure, tries);
            break;
          }
          at += outcome.chunk.length;
          // A replica with a bad piece may have the next one.
          if (outcome.chunk.length > 0) tries.clear();
          yield outcome.chunk;
        }
      } finally {
        this.#loadChanged(source.node, -1);
        source.close();
      }
    }
  }

  #open(
    order: readonly NodeId[],
    wanted: Wanted,
    tries: Map<NodeId, number>,
  ): Promise<ReplicaSource> {
    const { span } = wanted;
    const { clock } = this.#deps;
    return openHedged(
      {
        clock,
        hedgeDelayMs: this.#headTimes.hedgeDelayMs(),
        start: (node) => this.#start(node, span),
        onHead: (node, tookMs) => {
          if (node !== this.#deps.self) this.#headTimes.add(tookMs);
        },
        onFailed: (node, error) => this.#broke(wanted, node, error, tries),
      },
      order,
    ).then((source) => bounded(source, span.to - span.from));
  }

  #start(node: NodeId, span: ReadSpan): OpeningSource {
    const { self, blocks, peers, clock, route } = this.#deps;
    if (node === self) return openLocal(blocks, self, span);
    const peer = route.peer(node);
    if (peer) return openRemote({ peers, clock }, node, peer, span);
    const unknown = new TransportError("unreachable", `Cannot reach node "${node}": unknown`);
    return { node, ready: Promise.reject(unknown), close: () => {} };
  }

  /** Replicas that may be asked, the best first: here, then alive, same zone, few reads from here. */
  #order(block: BlockRef, tries: ReadonlyMap<NodeId, number>): NodeId[] {
    const { self, zone, route, failures, chance } = this.#deps;
    return newestReplicas(block)
      .map((node) => {
        const member = route.find(node);
        const tried = tries.get(node) ?? 0;
        const doubt = failures.has(node) ? 2 : !member || member.state !== "alive" ? 1 : 0;
        return {
          node,
          tried,
          rank: [
            tried,
            node === self ? 0 : 1,
            doubt,
            member?.zone === zone ? 0 : 1,
            this.#load.get(node) ?? 0,
            chance.fraction(),
          ],
        };
      })
      .filter((entry) => entry.tried < readTriesMax)
      .toSorted((a, b) => compareRanks(a.rank, b.rank))
      .map((entry) => entry.node);
  }

  #broke({ span, owner }: Wanted, node: NodeId, error: unknown, tries: Map<NodeId, number>): void {
    const { route, failures, self, log, badCopies } = this.#deps;
    log.warn("A replica broke", { block: span.block, node, reason: reasonOf(error) });
    const broken = error instanceof TransportError || (error as RingstowError).code === "SlowDown";
    // A replica that is bad or missing at this byte stays so; one that was only not reached may be reached again.
    tries.set(node, broken ? (tries.get(node) ?? 0) + 1 : readTriesMax);
    if (owner && isBadCopy(error)) badCopies.found(owner, span.block, node);
    if (node === self || !broken) return;
    failures.note(node);
    if (error instanceof TransportError && error.failure !== "closed") route.observed(node, false);
  }

  #loadChanged(node: NodeId, by: 1 | -1): void {
    const load = (this.#load.get(node) ?? 0) + by;
    if (load > 0) this.#load.set(node, load);
    else this.#load.delete(node);
  }

  #noneLeft(block: BlockRef, at: number, reason: unknown): RingstowError {
    return new RingstowError(
      "Unavailable",
      `Cannot read block "${block.id}" at byte ${at}: no replica is left`,
      reason === undefined ? {} : { reason: reasonOf(reason) },
    );
  }
}

/** Nodes that have the block's bytes. A pointer behind the others says that its node has older ones. */
export function newestReplicas(block: BlockRef): NodeId[] {
  const newest = Math.max(...block.replicas.map(({ version }) => version));
  return block.replicas.filter(({ version }) => version === newest).map(({ node }) => node);
}

/** A read under way, and the register that names its block, if it is known. */
interface Wanted {
  readonly span: ReadSpan;
  readonly owner: RegisterAddress | undefined;
}

function isBadCopy(error: unknown): boolean {
  return error instanceof RingstowError && (error.code === "Corrupt" || error.code === "NoSuchKey");
}

type Taken =
  | { readonly ok: true; readonly chunk: Uint8Array }
  | { readonly ok: false; readonly failure: unknown };

/** A source is only asked while bytes are missing: an end is a failure too. */
async function takeFrom(source: ReplicaSource): Promise<Taken> {
  try {
    const chunk = await source.next();
    if (chunk) return { ok: true, chunk };
    return {
      ok: false,
      failure: new RingstowError("Corrupt", `Node "${source.node}" ended the block short`),
    };
  } catch (failure) {
    return { ok: false, failure };
  }
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}
