// The route module: who is there (membership), who is whose neighbour (ring), who is responsible (lookup).
// All of it is a hint for the other modules; the views of the slices are the authority.
import { type CopiesSetting } from "../../shared/copies.ts";
import { RingstowError } from "../../shared/errors.ts";
import { successorListLength } from "../../shared/genesis.ts";
import { type NodeId, type RingId, type VoterId, voterIdOf } from "../../shared/ids.ts";
import { callTimeoutMs, gossipMs, operationDeadlineMs } from "../../shared/limits.ts";
import { arcLength, arcShare } from "../../shared/ring.ts";
import { type NodeConfig } from "../config.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Log, type Peer, type Store } from "../ports.ts";
import { pause } from "../waiting.ts";
import { Background } from "./background.ts";
import { clockwiseFrom, desiredNodes } from "./desired.ts";
import { FailureDetector } from "./failure-detector.ts";
import { Gossip } from "./gossip.ts";
import { serveGrants } from "./grants.ts";
import { KnownCopies } from "./known-copies.ts";
import { LocalHealth } from "./local-health.ts";
import { Lookup } from "./lookup.ts";
import { firstIncarnation, isLive, type MemberRow } from "./member-table.ts";
import { Membership, type ChangeListener } from "./membership.ts";
import { RingCalls } from "./ring-calls.ts";
import { RingDriver } from "./ring.ts";
import { type RingState } from "./ring-state.ts";
import { TableExchange } from "./table-exchange.ts";
import { type TablePart } from "./table-part.ts";
import { loadTable, TableStore } from "./table-store.ts";
import { type LookupResult, type Member, type Ring, type Route } from "./types.ts";

export interface RouteDeps {
  readonly config: NodeConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly store: Store;
  readonly peers: Peers;
  readonly log: Log;
  /** What is known of others from the start besides genesis; thousands of simulated nodes share it. */
  readonly known?: readonly TablePart[] | undefined;
}

/** Changes of free space below this share of the capacity stay with the node: placement does not need them. */
const announcedShare = 0.01;

/** Route, and what tests and the simulator check the ring by. */
export interface RouteModule extends Route {
  /** The state of Chord's protocol; undefined while the ring is static or this node has not joined it. */
  ringState(): RingState | undefined;
}

/** Builds the route module and registers its calls with `peers`; start() begins to use them. */
export function createRoute(deps: RouteDeps): RouteModule {
  return new RouteImpl(deps);
}

class RouteImpl implements RouteModule {
  readonly voter: VoterId;
  readonly #deps: RouteDeps;
  readonly #membership: Membership;
  readonly #background: Background;
  readonly #detector: FailureDetector;
  readonly #gossip: Gossip;
  readonly #ring: RingDriver;
  readonly #lookup: Lookup;
  readonly #saved: TableStore;
  readonly #copies: KnownCopies;
  readonly #onRevived = new Set<() => void>();
  #spreadFreeBytes = 0;
  #zones: { readonly version: number; readonly count: number } | undefined;
  #stopped = false;

  constructor(deps: RouteDeps) {
    const { config, clock, chance, store, peers, log } = deps;
    this.#deps = deps;
    this.voter = voterIdOf(config.id, config.folder);
    const membership = new Membership(ownRow(config, clock), clock, deps.known);
    for (const row of genesisRows(config, clock)) membership.table.apply(row);
    const copies = new KnownCopies({
      first: config.genesis.copies,
      store,
      log,
      members: () => membership.table.size,
    });
    const background = new Background(log);
    const health = new LocalHealth();
    const gossip = new Gossip({
      membership,
      copies,
      peers,
      clock,
      chance,
      background,
      health,
      genesis: new Set(config.genesis.nodes.map((node) => node.id)),
      life: () => this.#ring.life,
      onRevived: (yields) => {
        if (yields) this.#ring.joinAgain();
        for (const listener of this.#onRevived) listener();
      },
    });
    const detector = new FailureDetector({
      membership,
      peers,
      clock,
      chance,
      log,
      background,
      health,
      ping: (peer) => gossip.ping(peer),
    });
    const exchange = new TableExchange({
      membership,
      copies,
      peers,
      hear: (news, from, options) => gossip.hear(news, from, options),
    });
    gossip.attach(detector, exchange);
    const calls = new RingCalls({ membership, peers, detector, gossip, background });
    const r = successorListLength(config.genesis.nodes.length);
    this.#ring = new RingDriver({ membership, calls, peers, clock, chance, log, background, r });
    const ring = (): Ring => this.#ring.view();
    this.#lookup = new Lookup({
      membership,
      detector,
      peers,
      routing: config.routing,
      ring,
      ping: (peer) => gossip.ping(peer, callTimeoutMs),
    });
    this.#saved = new TableStore({ store, clock, log, find: (id) => membership.table.find(id) });
    membership.saveTo(this.#saved);
    serveGrants({ membership, peers, clock, chance });
    this.#membership = membership;
    this.#copies = copies;
    this.#background = background;
    this.#detector = detector;
    this.#gossip = gossip;
  }

  get self(): Member {
    return this.#membership.self;
  }

  members(): readonly Member[] {
    return this.#membership.table.rows();
  }

  live(): readonly Member[] {
    return this.#membership.table.live();
  }

  find(id: NodeId): Member | undefined {
    return this.#membership.table.find(id);
  }

  peer(id: NodeId): Peer | undefined {
    const row = this.#membership.table.find(id);
    return row && { id, address: row.peerAddress };
  }

  lookup(point: RingId): Promise<LookupResult> {
    return this.#lookup.lookup(point);
  }

  desired(point: RingId, count: number, among?: readonly Member[]): readonly Member[] {
    if (among) return desiredNodes(clockwiseFrom(among, point), count, Infinity);
    const { table } = this.#membership;
    return desiredNodes(table.liveFrom(point), count, this.#zoneCount());
  }

  ring(): Ring {
    return this.#ring.view();
  }

  ringState(): RingState | undefined {
    return this.#ring.state;
  }

  arcShare(id: NodeId): number {
    const { table } = this.#membership;
    const row = table.find(id);
    if (!row || !isLive(row)) return 0;
    return arcShare(arcLength(table.liveBefore(id).next().value!.id, id));
  }

  onChange(listener: ChangeListener): () => void {
    return this.#membership.onChange(listener);
  }

  onRevived(listener: () => void): () => void {
    this.#onRevived.add(listener);
    return () => this.#onRevived.delete(listener);
  }

  aliveForMs(id: NodeId): number {
    const row = this.#membership.table.find(id);
    return row && isLive(row) ? this.#membership.standsForMs(id) : 0;
  }

  deadForMs(id: NodeId): number {
    const row = this.#membership.table.find(id);
    return row && !isLive(row) ? this.#membership.standsForMs(id) : 0;
  }

  async leave(): Promise<void> {
    const { clock, log } = this.#deps;
    const change = this.#membership.table.leave(clock.wallMs());
    if (change) {
      log.info("Node leaves the cluster", { incarnation: change.row.incarnation });
      this.#membership.commit(change);
      this.#ring.leave();
    }
    if (!(await this.#gossip.tellLeft()))
      throw new RingstowError("Unavailable", "Cannot leave the cluster: no member answers");
  }

  announce(free: { capacityBytes: number; freeBytes: number }): void {
    const { self, table } = this.#membership;
    const moved = Math.abs(free.freeBytes - this.#spreadFreeBytes);
    const newStamp =
      free.capacityBytes !== self.capacityBytes || moved > announcedShare * free.capacityBytes;
    const change = table.restate(free, { newStamp });
    if (!newStamp) return;
    this.#spreadFreeBytes = free.freeBytes;
    this.#membership.commit(change);
  }

  copies(): CopiesSetting {
    return this.#copies.setting;
  }

  learnCopies(setting: CopiesSetting): void {
    this.#copies.learn(setting);
  }

  async reaches(id: NodeId, timeoutMs: number): Promise<boolean> {
    const peer = this.peer(id);
    return peer !== undefined && (await this.#gossip.ping(peer, timeoutMs)) === "reached";
  }

  observed(id: NodeId, reachable: boolean): void {
    // A success needs no note: a suspect is cleared only by its own refutation.
    if (!reachable) this.#detector.probe(id);
  }

  /** Resolves when the member table is read; a joiner's also when a seed gave it one. Throws Unavailable if none did. */
  async start(): Promise<void> {
    const { config, store, log } = this.#deps;
    const { table } = this.#membership;
    for (const row of await loadTable(store, log)) {
      if (this.#membership.isNews(row)) table.apply(row);
    }
    this.#copies.load();
    this.#saved.touch(config.id);
    const isKnown = config.genesis.nodes.some((node) => node.id === config.id);
    if (!isKnown) await this.#learnFromSeeds();
    if (this.#stopped) return;
    this.#gossip.start();
    this.#ring.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#ring.stop();
    this.#gossip.stop();
    this.#detector.stop();
    await this.#background.ended();
    await this.#saved.stop();
  }

  /** Distinct zones of live members. */
  #zoneCount(): number {
    const { table } = this.#membership;
    if (this.#zones?.version !== table.version) {
      const count = new Set(table.live().map((row) => row.zone)).size;
      this.#zones = { version: table.version, count };
    }
    return this.#zones.count;
  }

  /** A joiner that knows later members than those of genesis can do without its seeds. */
  async #learnFromSeeds(): Promise<void> {
    const { config, clock } = this.#deps;
    const { table } = this.#membership;
    const deadlineMs = clock.monotonicMs() + operationDeadlineMs;
    while (!this.#stopped) {
      for (const seed of config.seeds) {
        if (seed !== config.peerAddress && (await this.#gossip.learnFrom(seed))) return;
      }
      for (const { peerAddress } of table.liveAfterSelf()) {
        if (await this.#gossip.learnFrom(peerAddress)) return;
      }
      if (clock.monotonicMs() >= deadlineMs) {
        throw new RingstowError("Unavailable", "Cannot join the cluster: no seed answers");
      }
      await pause(clock, gossipMs);
    }
  }
}

function ownRow(config: NodeConfig, clock: Clock): MemberRow {
  return {
    id: config.id,
    folder: config.folder,
    url: config.url,
    peerAddress: config.peerAddress,
    zone: config.zone,
    position: config.position,
    capacityBytes: 0,
    freeBytes: 0,
    incarnation: firstIncarnation(config.starts),
    state: "alive",
    sinceMs: clock.wallMs(),
    stamp: 0,
  };
}

/** The others of genesis are members from the start: alive, incarnation 0 until they are heard. */
function genesisRows(config: NodeConfig, clock: Clock): MemberRow[] {
  return config.genesis.nodes
    .filter((node) => node.id !== config.id)
    .map((node) => ({
      ...node,
      position: undefined,
      capacityBytes: 0,
      freeBytes: 0,
      incarnation: 0,
      state: "alive" as const,
      sinceMs: clock.wallMs(),
      stamp: 0,
    }));
}
