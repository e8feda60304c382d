// The route module: who is there (membership), who is whose neighbour (ring), who is responsible (lookup).
// All of it is a hint for the other modules; the views of the slices are the authority.
import { RingstowError } from "../../shared/errors.ts";
import { successorListLength } from "../../shared/genesis.ts";
import { type NodeId, type RingId, type VoterId, voterIdOf } from "../../shared/ids.ts";
import { gossipMs, operationDeadlineMs } from "../../shared/limits.ts";
import { arcLength, arcShare } from "../../shared/ring.ts";
import { type NodeConfig } from "../config.ts";
import { type Peers } from "../peers.ts";
import { type Chance, type Clock, type Log, type Peer, type Store } from "../ports.ts";
import { Background } from "./background.ts";
import { desiredNodes } from "./desired.ts";
import { FailureDetector } from "./failure-detector.ts";
import { Gossip } from "./gossip.ts";
import { serveGrants } from "./grants.ts";
import { Lookup } from "./lookup.ts";
import { type MemberRow } from "./member-table.ts";
import { Membership, type ChangeListener } from "./membership.ts";
import { RingCalls } from "./ring-calls.ts";
import { RingDriver } from "./ring.ts";
import { type RingState } from "./ring-state.ts";
import { loadTable, TableStore } from "./table-store.ts";
import { type LookupResult, type Member, type Ring, type Route } from "./types.ts";

export interface RouteDeps {
  readonly config: NodeConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly store: Store;
  readonly peers: Peers;
  readonly log: Log;
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
  #spreadFreeBytes = 0;
  #stopped = false;

  constructor(deps: RouteDeps) {
    const { config, clock, chance, store, peers, log } = deps;
    this.#deps = deps;
    this.voter = voterIdOf(config.id, config.folder);
    const membership = new Membership(ownRow(config, clock), clock);
    for (const row of genesisRows(config, clock)) membership.table.apply(row);
    const background = new Background(log);
    const gossip = new Gossip({
      membership,
      peers,
      clock,
      chance,
      background,
      genesis: new Set(config.genesis.nodes.map((node) => node.id)),
      life: () => this.#ring.life,
      onRevived: (yields) => {
        if (yields) this.#ring.joinAgain();
      },
    });
    const detector = new FailureDetector({
      membership,
      peers,
      clock,
      chance,
      log,
      background,
      ping: (peer) => gossip.ping(peer),
    });
    gossip.attach(detector);
    const calls = new RingCalls({ membership, peers, detector, gossip, background });
    const r = successorListLength(config.genesis.nodes.length);
    this.#ring = new RingDriver({ membership, calls, peers, clock, chance, log, background, r });
    const ring = (): Ring => this.#ring.view();
    this.#lookup = new Lookup({ membership, detector, peers, routing: config.routing, ring });
    this.#saved = new TableStore({ store, clock, log, find: (id) => membership.table.find(id) });
    membership.saveTo(this.#saved);
    serveGrants({ membership, peers, clock, chance });
    this.#membership = membership;
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

  desired(point: RingId, count: number): readonly Member[] {
    return desiredNodes(this.live(), point, count);
  }

  ring(): Ring {
    return this.#ring.view();
  }

  ringState(): RingState | undefined {
    return this.#ring.state;
  }

  arcShare(id: NodeId): number {
    const live = this.live();
    const index = live.findIndex((row) => row.id === id);
    if (index < 0) return 0;
    const before = live[(index + live.length - 1) % live.length]!;
    return arcShare(arcLength(before.id, id));
  }

  onChange(listener: ChangeListener): () => void {
    return this.#membership.onChange(listener);
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

  /** A joiner that knows later members than those of genesis can do without its seeds. */
  async #learnFromSeeds(): Promise<void> {
    const { config, clock } = this.#deps;
    const { table, self } = this.#membership;
    const seeds = [...config.seeds];
    for (const row of table.live()) if (row.id !== self.id) seeds.push(row.peerAddress);
    const deadlineMs = clock.monotonicMs() + operationDeadlineMs;
    while (!this.#stopped) {
      for (const seed of new Set(seeds)) {
        if (seed === config.peerAddress) continue;
        if (await this.#gossip.learnFrom(seed)) return;
      }
      if (clock.monotonicMs() >= deadlineMs) {
        throw new RingstowError("Unavailable", "Cannot join the cluster: no seed answers");
      }
      await new Promise<void>((resolve) => clock.after(gossipMs, resolve));
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
    incarnation: config.incarnation,
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
