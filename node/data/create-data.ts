// Puts the data module together: staged, replicated, immutable blocks behind the interface of types.ts.
import { announceChangeBytes, announceMs, sweepMs } from "../../shared/limits.ts";
import { type NodeConfig } from "../config.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import {
  type BlockFiles,
  type Chance,
  type Clock,
  type Digest,
  type Log,
  type Store,
  type Timer,
} from "../ports.ts";
import { type Route } from "../route/types.ts";
import { BadCopies, type ReportCopy } from "./bad-copies.ts";
import { BlockLinks } from "./block-links.ts";
import { BlockPulls } from "./block-pulls.ts";
import { BlockDeletes } from "./deletes.ts";
import { Drafts } from "./drafts.ts";
import { OwnCopies } from "./own-copies.ts";
import { PipelineServer } from "./pipeline-server.ts";
import { PipelineWriter } from "./pipeline-writer.ts";
import { ReadServer } from "./read-server.ts";
import { BlockReader } from "./reader.ts";
import { RecentFailures } from "./recent-failures.ts";
import { Releases } from "./releases.ts";
import { type BlockOwners, sweepStaged } from "./staged-sweep.ts";
import { StagedBlocks } from "./staged.ts";
import { type Data } from "./types.ts";
import { reasonOf } from "./within.ts";

export interface DataDeps {
  readonly config: NodeConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly store: Store;
  readonly blocks: BlockFiles;
  readonly digest: Digest;
  readonly peers: Peers;
  readonly route: Route;
  readonly owners: BlockOwners;
  /** Tells the leader of a register that a copy of its block is bad or gone. */
  readonly report: ReportCopy;
  readonly log: Log;
}

/** Registers the handlers of data calls and streams; runs nothing of its own before start(). */
export function createData(deps: DataDeps): Data {
  const { config, clock, chance, blocks, peers, route, log, owners } = deps;
  const self = config.id;
  const staged = new StagedBlocks(deps.store, clock);
  const failures = new RecentFailures(clock);
  const background = new Background();
  const duties = new Duties(deps, background);
  const copies = new OwnCopies(blocks, staged, (bytes) => duties.changed(bytes));
  const badCopies = new BadCopies(clock, deps.report);
  const shared = { self, clock, chance, peers, route, log, failures, blocks, copies };
  const reader = new BlockReader({ ...shared, badCopies, zone: config.zone });
  const writer = new PipelineWriter({
    ...shared,
    reader,
    background: (work) => background.run(work),
  });
  const deletes = new BlockDeletes(shared);
  const writes = new PipelineServer({ ...shared, onRefused: () => duties.announceSoon() });
  const reads = new ReadServer(blocks, clock);
  const links = new BlockLinks({ ...shared, writer, background: (work) => background.run(work) });
  const pulls = new BlockPulls({ ...shared, reader });
  const releases = new Releases({ ...shared, owners }, pulls);
  const drafts = new Drafts({ ...shared, reader, staged, digest: deps.digest });

  answerPeers(peers, { writes, reads, deletes, copies, pulls, releases, drafts });

  return {
    upload: (owner, { avoid }) => writer.upload(owner, avoid ?? new Set()),
    read: (block, from, to, owner) => reader.read(block, from, to, owner),
    // Deletes without asking the owner: only the caller knows that no commit was attempted with this block.
    discard: (block) => writer.discardBlock(block),
    link: (source, owner) => links.link(source, owner),
    pull: (node, block, owner) => pulls.pull(node, block, owner),
    place: (having, exclude) =>
      writer.choose({ count: 1, enough: 1, exclude, avoid: new Set(), having })[0]?.id,
    release: (node, block, owner) => releases.release(node, block, owner),
    writeDraft: (draft, at, body) => drafts.write(draft, at, body),
    sealDraft: (node, draft) => drafts.seal(node, draft),
    dropDraft: (node, block) => drafts.drop(node, block),
    delete: (refs) => deletes.delete(refs),
    usage: () => blocks.usage(),
    start: () =>
      duties.start((stopped) =>
        sweepStaged({ clock, blocks, staged, copies, owners, log }, stopped),
      ),
    stop: async () => {
      duties.stop();
      await writer.stop();
      await copies.abortAll();
      await pulls.ended();
      await background.ended();
    },
  };
}

interface Serving {
  readonly writes: PipelineServer;
  readonly reads: ReadServer;
  readonly deletes: BlockDeletes;
  readonly copies: OwnCopies;
  readonly pulls: BlockPulls;
  readonly releases: Releases;
  readonly drafts: Drafts;
}

function answerPeers(peers: Peers, serving: Serving): void {
  const { writes, reads, deletes, copies, pulls, releases, drafts } = serving;
  peers.onStream("data.write", (header, stream) => writes.serve(header, stream));
  peers.onStream("data.read", (header, stream) => reads.serve(header, stream));
  peers.onCall("data.delete", async (request) => ({
    gone: await deletes.deleteHere(request.blocks),
  }));
  peers.onCall("data.discard", async ({ block, attempts }) => {
    await copies.discard(block, attempts);
    return {};
  });
  peers.onCall("data.pull", async ({ block, owner }) => {
    await pulls.pullHere(block, owner as RegisterAddress);
    return {};
  });
  peers.onCall("data.release", async ({ block, owner }) => ({
    gone: await releases.releaseHere(block, owner as RegisterAddress),
  }));
  peers.onCall("data.link", async ({ source, size, target, owner, attempt }) => {
    await copies.link({ id: source, size }, target, owner as RegisterAddress, attempt);
    return {};
  });
  peers.onCall("data.seal", ({ block, owner, base }) =>
    drafts.sealHere({ block, owner: owner as RegisterAddress, base }),
  );
  peers.onCall("data.drop", async ({ block }) => {
    await drafts.dropHere(block);
    return {};
  });
}

/** Work that nobody awaits, until the node stops. None of it rejects. */
class Background {
  readonly #work = new Set<Promise<void>>();

  run(work: Promise<void>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }

  async ended(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }
}

/** What the module does by the clock: announces free space, sweeps staged blocks. */
class Duties {
  readonly #deps: DataDeps;
  readonly #background: Background;
  #sweep: (stopped: () => boolean) => Promise<void> = () => Promise.resolve();
  #running = false;
  #announceTimer: Timer | undefined;
  #sweepTimer: Timer | undefined;
  #announcing = false;
  #changedBytes = 0;

  constructor(deps: DataDeps, background: Background) {
    this.#deps = deps;
    this.#background = background;
  }

  async start(sweep: (stopped: () => boolean) => Promise<void>): Promise<void> {
    this.#sweep = sweep;
    this.#running = true;
    await this.#announce();
    this.#sweepLater();
  }

  stop(): void {
    this.#running = false;
    this.#announceTimer?.cancel();
    this.#sweepTimer?.cancel();
  }

  /** So many bytes were written or deleted. */
  changed(bytes: number): void {
    this.#changedBytes += bytes;
    if (this.#changedBytes >= announceChangeBytes) this.announceSoon();
  }

  announceSoon(): void {
    if (this.#running && !this.#announcing) this.#background.run(this.#announce());
  }

  async #announce(): Promise<void> {
    const { blocks, route, clock, log } = this.#deps;
    this.#announceTimer?.cancel();
    this.#announcing = true;
    this.#changedBytes = 0;
    try {
      const { totalBytes, freeBytes } = await blocks.usage();
      if (this.#running) route.announce({ capacityBytes: totalBytes, freeBytes });
    } catch (error) {
      log.warn("Free space could not be measured", { reason: reasonOf(error) });
    }
    this.#announcing = false;
    if (!this.#running) return;
    this.#announceTimer = clock.after(announceMs, () => this.#background.run(this.#announce()));
  }

  #sweepLater(): void {
    this.#sweepTimer = this.#deps.clock.after(sweepMs, () =>
      this.#background.run(this.#sweepNow()),
    );
  }

  async #sweepNow(): Promise<void> {
    try {
      await this.#sweep(() => !this.#running);
    } catch (error) {
      this.#deps.log.error("The sweep of staged blocks failed", { reason: reasonOf(error) });
    }
    if (this.#running) this.#sweepLater();
  }
}
