// The coordinator's side of writing blocks: chooses the nodes, starts the line, knows which nodes to avoid.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId, parseBlockId, toHex } from "../../shared/ids.ts";
import { discardTimeoutMs, pipelineWritesMax } from "../../shared/limits.ts";
import { type Place } from "../../shared/protocol/data.ts";
import { type BlockRef } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Log } from "../ports.ts";
import { type Member, type Route, copiesWanted } from "../route/types.ts";
import { BlockUploading } from "./block-upload.ts";
import { type OwnCopies, type OwnCopy } from "./own-copies.ts";
import { choosePlaces } from "./placement.ts";
import { type BlockReader } from "./reader.ts";
import { type RecentFailures } from "./recent-failures.ts";
import { type BlockUpload } from "./types.ts";
import { reasonOf } from "./within.ts";

export interface PipelineWriterDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly peers: Peers;
  readonly route: Route;
  readonly copies: OwnCopies;
  readonly reader: BlockReader;
  readonly failures: RecentFailures;
  readonly log: Log;
  /** Keeps work that nobody awaits until stop(). */
  background(work: Promise<void>): void;
}

export class PipelineWriter {
  readonly deps: PipelineWriterDeps;
  readonly #uploads = new Set<BlockUploading>();
  /** Copies on their way to each node from here. */
  readonly #load = new Map<NodeId, number>();

  constructor(deps: PipelineWriterDeps) {
    this.deps = deps;
  }

  /** Throws SlowDown, or Unavailable when too few nodes are there. */
  async upload(owner: RegisterAddress, avoid: ReadonlySet<NodeId>): Promise<BlockUpload> {
    if (this.#uploads.size >= pipelineWritesMax)
      throw new RingstowError("SlowDown", "Cannot start a block: too many are being written");
    const { wanted, quorum } = this.terms();
    const block = this.#newBlockId();
    const attempt = this.newAttempt();
    const { own, places } = await this.#place(block, owner, attempt, { wanted, quorum, avoid });
    const upload = new BlockUploading(this, {
      block,
      owner,
      attempt,
      wanted,
      quorum,
      avoid,
      own,
      places,
    });
    this.#uploads.add(upload);
    return upload;
  }

  /** Copies that a block should have, and how many must be durable before it may be named. */
  terms(): { wanted: number; quorum: number } {
    // Dead nodes count: two of three are a quorum, also when one of three is all that is left.
    const wanted = copiesWanted(this.deps.route);
    return { wanted, quorum: Math.floor(wanted / 2) + 1 };
  }

  /** Up to `count` nodes for copies; `first`, if given, comes first unless it is excluded or full. */
  choose(request: {
    count: number;
    enough: number;
    exclude: ReadonlySet<NodeId>;
    avoid: ReadonlySet<NodeId>;
    having?: readonly NodeId[];
    first?: NodeId;
  }): Member[] {
    const { route, failures, chance } = this.deps;
    const zones = (request.having ?? []).map((node) => route.find(node)?.zone ?? "");
    return choosePlaces(
      {
        members: route.live(),
        count: request.count,
        enough: request.enough,
        first: request.first,
        exclude: request.exclude,
        zonesUsed: new Set(zones),
        avoid: (id) => request.avoid.has(id) || failures.has(id),
        inFlight: (id) => this.#load.get(id) ?? 0,
      },
      chance,
    );
  }

  newAttempt(): string {
    return toHex(this.deps.chance.bytes(16));
  }

  loadChanged(node: NodeId, by: 1 | -1): void {
    const load = (this.#load.get(node) ?? 0) + by;
    if (load > 0) this.#load.set(node, load);
    else this.#load.delete(node);
  }

  ended(upload: BlockUploading): void {
    this.#uploads.delete(upload);
  }

  /** Gives up a block that finish() answered, its late copies too. */
  async discardBlock(block: BlockRef): Promise<void> {
    const late = [...this.#uploads].find((upload) => upload.block === block.id);
    await late?.stop();
    const named = block.replicas.map((replica) => replica.node);
    await this.discard(block.id, [...new Set([...named, ...(late?.tried() ?? [])])]);
  }

  /** Tells nodes to give up staged copies of a block now. Best effort; never rejects. */
  async discard(
    block: BlockId,
    nodes: readonly NodeId[],
    attempts?: readonly string[],
  ): Promise<void> {
    const { self, copies, peers, route, log } = this.deps;
    const discardAt = async (node: NodeId): Promise<void> => {
      try {
        if (node === self) return await copies.discard(block, attempts);
        const peer = route.peer(node);
        if (!peer) return;
        const request = { block, ...(attempts ? { attempts: [...attempts] } : {}) };
        await peers.call(peer, "data.discard", request, discardTimeoutMs);
      } catch (error) {
        log.info("A staged copy stays until its lease ends", {
          block,
          node,
          reason: reasonOf(error),
        });
      }
    };
    await Promise.all(nodes.map(discardAt));
  }

  /** Gives up every upload under way, and copies that are late. */
  async stop(): Promise<void> {
    await Promise.all([...this.#uploads].map((upload) => upload.stop()));
  }

  async #place(
    block: BlockId,
    owner: RegisterAddress,
    attempt: string,
    terms: { wanted: number; quorum: number; avoid: ReadonlySet<NodeId> },
  ): Promise<{ own: OwnCopy | undefined; places: Place[] }> {
    const { self, copies, failures, log } = this.deps;
    const { wanted: count, quorum: enough, avoid } = terms;
    const request = { count, enough, avoid, first: self };
    let members = this.choose({ ...request, exclude: new Set() });
    let own: OwnCopy | undefined;
    if (members.some((member) => member.id === self)) {
      try {
        own = await copies.start(block, owner, attempt);
      } catch (error) {
        log.warn("This node cannot take a block", { reason: reasonOf(error) });
        failures.note(self);
        members = this.choose({ ...request, exclude: new Set([self]) });
      }
    }
    if (members.length < terms.quorum) {
      await own?.abort();
      throw new RingstowError(
        "Unavailable",
        `Cannot place a block: ${members.length} nodes can take it, ${terms.quorum} are needed`,
      );
    }
    const places = members
      .filter((member) => member.id !== self)
      .map((member) => ({ node: member.id, address: member.peerAddress }));
    return { own, places };
  }

  #newBlockId(): BlockId {
    return parseBlockId(toHex(this.deps.chance.bytes(16)));
  }
}
