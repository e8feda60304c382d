// Copies of a block that move no bytes: each node that holds it gives the bytes a second id, by a hard link.
// Invariant: the answer names only nodes that reported their link durable, at least a write quorum of them. A link
// that failed or was not heard of is never named, and its node is told to give it up.
import { RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId, parseBlockId, toHex } from "../../shared/ids.ts";
import { linkTimeoutMs, writeGraceMs } from "../../shared/limits.ts";
import { type BlockRef, type Pointer } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Log } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { callNode } from "./call-node.ts";
import { CopyTally } from "./copy-tally.ts";
import { type OwnCopies } from "./own-copies.ts";
import { type PipelineWriter } from "./pipeline-writer.ts";
import { newestReplicas } from "./reader.ts";
import { reasonOf } from "./within.ts";

export interface BlockLinksDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly copies: OwnCopies;
  readonly peers: Peers;
  readonly route: Route;
  readonly writer: PipelineWriter;
  readonly log: Log;
  /** Keeps work that nobody awaits until stop(). */
  background(work: Promise<void>): void;
}

/** Version of the bytes of a block that was written in one go: the link's bytes never change. */
const FIRST_VERSION = 1;

export class BlockLinks {
  readonly #deps: BlockLinksDeps;

  constructor(deps: BlockLinksDeps) {
    this.#deps = deps;
  }

  /** See Data.link(). */
  async link(
    source: BlockRef,
    owner: RegisterAddress,
  ): Promise<{ block: BlockRef; late: Promise<readonly Pointer[]> }> {
    const { chance, writer, route } = this.#deps;
    const target = parseBlockId(toHex(chance.bytes(16)));
    const attempt = toHex(chance.bytes(16));
    const { quorum } = writer.terms();
    const nodes = newestReplicas(source).filter((node) => route.peer(node));
    const tally = new CopyTally();
    tally.expect(nodes);
    const all = Promise.all(
      nodes.map((node) => this.#linkAt(node, { source, target, owner, attempt }, tally)),
    );
    await tally.until(() => tally.durable.length >= quorum || tally.pending === 0);
    if (tally.durable.length < quorum) {
      await writer.discard(target, nodes, [attempt]);
      throw new RingstowError(
        "Unavailable",
        `Cannot link block "${source.id}": ${quorum} copies are needed`,
        Object.fromEntries(tally.reasons),
      );
    }
    await this.#graceFor(all);
    const block = { id: target, size: source.size, replicas: pointers(tally.durable) };
    const named = new Set(tally.durable);
    const late = all.then(() => pointers(tally.durable.filter((node) => !named.has(node))));
    this.#deps.background(
      all.then(async () => {
        const unknown = tally.unknown();
        if (unknown.length > 0) await writer.discard(target, unknown, [attempt]);
      }),
    );
    return { block, late };
  }

  /** Never rejects. */
  async #linkAt(
    node: NodeId,
    what: { source: BlockRef; target: BlockId; owner: RegisterAddress; attempt: string },
    tally: CopyTally,
  ): Promise<void> {
    const { self, copies, log } = this.#deps;
    const { source, target, owner, attempt } = what;
    try {
      if (node === self) await copies.link(source, target, owner, attempt);
      else {
        const request = { source: source.id, size: source.size, target, owner, attempt };
        await callNode(this.#deps, node, "data.link", request, linkTimeoutMs);
      }
      tally.report({ type: "durable", node });
    } catch (error) {
      const reason = reasonOf(error);
      log.info("A block was not linked", { block: source.id, node, reason });
      tally.report({ type: "failed", node, blame: false, reason });
    }
  }

  async #graceFor(all: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#deps.clock.after(writeGraceMs, resolve);
      void all.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

function pointers(nodes: readonly NodeId[]): Pointer[] {
  return nodes.map((node) => ({ node, version: FIRST_VERSION }));
}
