// The newest view of each slice that this node knows: its own replica's, or one that another node told it of. Hints
// for those who ask; who votes is decided by what the members themselves have on disk.
import { type NodeId, nodeOfVoter } from "../../shared/ids.ts";
import {
  callTimeoutMs,
  prepareTimeoutMs,
  viewPageMax,
  viewSearchMax,
  viewSearchPauseMs,
} from "../../shared/limits.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Slice, anchorOf } from "../../shared/slices.ts";
import { type Peers } from "../peers.ts";
import { type Clock, TransportError } from "../ports.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type Route } from "../route/types.ts";
import { type ViewReplica } from "./view-replica.ts";
import { type KnownView } from "./views.ts";

export interface ViewDirectoryOptions {
  readonly standings: ViewReplica;
  readonly peers: Peers;
  readonly route: Pick<Route, "live" | "peer" | "desired" | "self">;
  readonly clock: Clock;
  readonly sliceBits: number;
  /** A newer view of a slice was heard of. */
  readonly onNewer: (slice: Slice) => void;
}

export class ViewDirectory {
  readonly #options: ViewDirectoryOptions;
  readonly #heard = new Map<Slice, KnownView>();
  readonly #searches = new Map<
    Slice,
    { readonly ended: Promise<void>; readonly untilMs: number }
  >();

  constructor(options: ViewDirectoryOptions) {
    this.#options = options;
  }

  viewOf(slice: Slice): KnownView {
    const own = this.#options.standings.newestView(slice);
    const heard = this.#heard.get(slice);
    return heard && heard.epoch >= own.epoch ? heard : own;
  }

  /** Takes over a view that somebody told. True when it is newer than what was known. */
  learn(slice: Slice, view: KnownView | undefined): boolean {
    const known = this.viewOf(slice);
    if (!view || view.epoch < known.epoch) return false;
    if (view.epoch === known.epoch && (known.previous || !view.previous)) return false;
    const { epoch, members, previous } = view;
    this.#heard.set(slice, { epoch, members, previous });
    this.#options.onNewer(slice);
    return epoch > known.epoch;
  }

  /**
   * Asks the members of the known view, those who should hold the slice, and their neighbours for a newer one: nobody of
   * the known one answers, or nobody of it votes any more. Resolves when one of them told of a newer one: who is silent is
   * not waited for; else when all have ended. One search a slice at a time, and not again at once.
   */
  search(slice: Slice): Promise<void> {
    const now = this.#options.clock.monotonicMs();
    const known = this.#searches.get(slice);
    if (known && known.untilMs > now) return known.ended;
    const ended = this.#search(slice);
    this.#searches.set(slice, { ended, untilMs: now + viewSearchPauseMs });
    if (this.#searches.size > viewSearchMax * 64) {
      for (const [each, { untilMs }] of this.#searches) {
        if (untilMs <= now) this.#searches.delete(each);
      }
    }
    return ended;
  }

  /**
   * Learns what a node knows of these slices: it spoke of epochs that are later than what is known here. Throws
   * Unavailable when it does not answer.
   */
  async learnLater(
    node: NodeId,
    slices: readonly Slice[],
    epochs: readonly number[],
  ): Promise<void> {
    const later = slices.filter((slice, i) => (epochs[i] ?? 0) > this.viewOf(slice).epoch);
    if (later.length === 0) return;
    const reply = await this.#ask(node, { slices: later }, callTimeoutMs);
    if (!reply) throw new RingstowError("Unavailable", `Cannot learn views: ${node} is silent`);
    for (const { slice, view } of reply.views) this.learn(slice, view);
  }

  /** Learns what a node knows of all slices; for one that starts, and was away or never there. */
  async learnAll(node: NodeId): Promise<boolean> {
    let after: number | undefined;
    for (;;) {
      const reply = await this.#ask(node, after === undefined ? {} : { after }, prepareTimeoutMs);
      if (!reply) return false;
      for (const { slice, view } of reply.views) this.learn(slice, view);
      after = reply.views.at(-1)?.slice;
      if (!reply.more || after === undefined) return true;
    }
  }

  /** Answers the same question of a peer. */
  tell({ slices, after = -1 }: RequestOf<"index.views">): ReplyOf<"index.views"> {
    if (slices) {
      return { views: slices.map((slice) => ({ slice, view: this.viewOf(slice) })), more: false };
    }
    const count = 2 ** this.#options.sliceBits;
    const views: { slice: Slice; view: KnownView }[] = [];
    for (let number = after + 1; number < count; number++) {
      const slice = number as Slice;
      const view = this.viewOf(slice);
      if (view.epoch === 1) continue;
      if (views.length === viewPageMax) return { views, more: true };
      views.push({ slice, view });
    }
    return { views, more: false };
  }

  /** Views of these slices that are later than these epochs. */
  newer(slices: readonly Slice[], epochs: readonly number[]): { slice: Slice; view: KnownView }[] {
    return slices.flatMap((slice, i) => {
      const view = this.viewOf(slice);
      return view.epoch > (epochs[i] ?? Infinity) ? [{ slice, view }] : [];
    });
  }

  #search(slice: Slice): Promise<void> {
    const { route, sliceBits } = this.#options;
    const near = route.desired(anchorOf(slice, sliceBits), viewSearchMax).map(({ id }) => id);
    const nodes = new Set([...near, ...this.viewOf(slice).members.map(nodeOfVoter)]);
    nodes.delete(route.self.id);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const asked = [...nodes].map(async (node) => {
      const reply = await this.#ask(node, { slices: [slice] }, callTimeoutMs);
      for (const { view } of reply?.views ?? []) if (this.learn(slice, view)) resolve();
    });
    Promise.all(asked).then(() => resolve(), reject);
    return promise;
  }

  async #ask(
    node: NodeId,
    request: RequestOf<"index.views">,
    timeoutMs: number,
  ): Promise<ReplyOf<"index.views"> | undefined> {
    const peer = this.#options.route.peer(node);
    if (!peer) return undefined;
    try {
      return await this.#options.peers.call(peer, "index.views", request, timeoutMs);
    } catch (error) {
      if (error instanceof TransportError || error instanceof RingstowError) return undefined;
      throw error;
    }
  }
}
