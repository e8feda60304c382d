// Puts the index module together: replica, elections, executor, fast reads, anti-entropy, and the handlers with which
// this node answers its peers.
import { RingstowError } from "../../shared/errors.ts";
import {
  type NodeId,
  type RequestId,
  nodeOfVoter,
  parseRequestId,
  toHex,
} from "../../shared/ids.ts";
import { checkerMs, garbageBatchMax, leaderPatienceMs } from "../../shared/limits.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type NodeConfig } from "../config.ts";
import { type Ports, type Timer, TransportError } from "../ports.ts";
import { type Peers } from "../peers.ts";
import { type Route } from "../route/types.ts";
import { ChainCensus } from "./chain-census.ts";
import { Elections } from "./elections.ts";
import { Executor, type LeaderReply } from "./executor.ts";
import { type FastReadOptions, fastRead } from "./fast-read.ts";
import { type IndexFaults } from "./faults.ts";
import { createMemberLink } from "./member-link.ts";
import { NotLeader } from "./quorum.ts";
import { decodeState, valueOf } from "./register-state.ts";
import { Replica } from "./replica.ts";
import { ReplyTimes } from "./reply-times.ts";
import { scan } from "./scan.ts";
import { SliceDigests } from "./slice-digests.ts";
import { type SliceLeader } from "./slice-leader.ts";
import { Synchroniser } from "./synchroniser.ts";
import {
  type Chain,
  type ExecuteOptions,
  type Index,
  type RegisterAddress,
  type RegisterKey,
  type RegisterOperation,
  type RegisterResult,
} from "./types.ts";
import { genesisViews } from "./views.ts";

export interface IndexOptions extends Pick<Ports, "clock" | "chance" | "store" | "digest" | "log"> {
  readonly config: NodeConfig;
  readonly peers: Peers;
  readonly route: Route;
  readonly faults?: IndexFaults | undefined;
  /** Frees what a chain that this node leads holds as due garbage. */
  readonly freeGarbage: (at: RegisterAddress, chain: Chain) => Promise<void>;
}

export function createIndex(options: IndexOptions): Index {
  return new IndexModule(options);
}

class IndexModule implements Index {
  readonly #options: IndexOptions;
  readonly #slices: number;
  readonly #replica: Replica;
  readonly #elections: Elections;
  readonly #executor: Executor;
  readonly #fast: FastReadOptions;
  readonly #digests: SliceDigests;
  readonly #census: ChainCensus;
  readonly #synchroniser: Synchroniser;
  #checker: Timer | undefined;
  #stopped = false;

  constructor(options: IndexOptions) {
    this.#options = options;
    const { config, route, peers, clock, chance, store, digest, log, faults } = options;
    const viewOf = genesisViews(config.genesis);
    this.#slices = 2 ** config.genesis.sliceBits;
    this.#replica = new Replica({ store, voter: route.voter, viewOf, faults });
    const link = createMemberLink(route.voter, this.#replica, peers, route);
    this.#digests = new SliceDigests(this.#replica, digest);
    this.#census = new ChainCensus(store, this.#replica, clock);
    this.#executor = new Executor({ clock, chance, route, viewOf });
    this.#fast = { link, clock, route, viewOf, replyTimes: new ReplyTimes() };
    this.#synchroniser = new Synchroniser({
      replica: this.#replica,
      digests: this.#digests,
      peers,
      route,
      clock,
      log,
      slices: this.#slices,
      readByLeader: (slice, key) => this.#readByLeader(slice, key, false),
    });
    this.#elections = new Elections({
      replica: this.#replica,
      link,
      route,
      clock,
      log,
      slices: this.#slices,
      faults,
      newRequestId: () => this.#newRequestId(),
      onMissed: (slice, member) => this.#synchroniser.tellBehind(slice, member),
    });
    this.#answerPeers(peers);
  }

  // ------------------------------------------------------------------ Index

  async start(): Promise<void> {
    this.#elections.start();
    this.#synchroniser.start();
    this.#scheduleChecker();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#checker?.cancel();
    this.#synchroniser.stop();
    this.#elections.stop();
  }

  async execute(
    { slice, key }: RegisterAddress,
    operation: RegisterOperation,
    { requestId, body, again: sentBefore }: ExecuteOptions,
  ): Promise<RegisterResult> {
    const { route, peers } = this.#options;
    let text: string | undefined;
    const reply = await this.#executor.ask<{ result: RegisterResult }>(
      slice,
      async (node, urge, unanswered) => {
        const again = unanswered || sentBefore === true;
        if (node === route.self.id) {
          return this.#lead(slice, urge, async (leader) => ({
            result: await leader.execute(key, operation, requestId, body, again),
          }));
        }
        text ??= JSON.stringify(operation);
        const request = { slice, key, operation: text, requestId, urge, again };
        const answer = await peers.call(
          this.#peer(node),
          "index.execute",
          body ? { ...request, body } : request,
          leaderPatienceMs,
        );
        if (answer.type === "notLeader") return answer;
        return { type: "done", result: JSON.parse(answer.result) as RegisterResult };
      },
    );
    return reply.result;
  }

  async read({ slice, key }: RegisterAddress, { body }: { body: boolean }) {
    const register =
      (await fastRead(this.#fast, slice, key, body)) ??
      (await this.#readByLeader(slice, key, body));
    return { value: valueOf(decodeState(register.value ?? "")), body: register.body };
  }

  scan(requests: Parameters<Index["scan"]>[0]): ReturnType<Index["scan"]> {
    const readByLeader = (slice: Slice, key: RegisterKey): Promise<StoredRegister> =>
      this.#readByLeader(slice, key, false);
    return scan({ ...this.#fast, readByLeader }, requests);
  }

  view(slice: Slice): ReturnType<Index["view"]> {
    const { epoch, members } = this.#replica.viewOf(slice);
    const own = this.#elections.leaderOf(slice) ? this.#options.route.self.id : undefined;
    const leader = own ?? this.#executor.hint(slice) ?? this.#elections.believedLeader(slice);
    return { epoch, members: members.map(nodeOfVoter), leader };
  }

  async counts(): ReturnType<Index["counts"]> {
    const { config, route } = this.#options;
    const live = new Set(route.live().map(({ id }) => id));
    let chains = 0;
    let slicesHeld = 0;
    let underReplicated = 0;
    for (const slice of this.#held()) {
      slicesHeld++;
      chains += await this.#census.chains(slice);
      if (!this.#elections.leaderOf(slice)) continue;
      underReplicated += await this.#census.underReplicated(
        slice,
        Math.min(config.genesis.copies, route.members().length),
        (node) => live.has(node),
      );
    }
    return { chains, slicesHeld, slicesLed: this.#elections.led, underReplicated };
  }

  async digests(): Promise<ReadonlyMap<number, string>> {
    const all = new Map<number, string>();
    for (const slice of this.#held()) all.set(slice, await this.#digests.of(slice));
    return all;
  }

  // ------------------------------------------------------------------ leading

  async #readByLeader(slice: Slice, key: RegisterKey, body: boolean): Promise<StoredRegister> {
    const { route, peers } = this.#options;
    const reply = await this.#executor.ask<{ register: StoredRegister }>(
      slice,
      async (node, urge) =>
        node === route.self.id
          ? this.#lead(slice, urge, async (leader) => ({ register: await leader.read(key, body) }))
          : peers.call(
              this.#peer(node),
              "index.read",
              { slice, key, body, urge },
              leaderPatienceMs,
            ),
    );
    return reply.register;
  }

  /**
   * Runs work on this node's leader of a slice, campaigning first when nobody else leads it (or `urge` says that the
   * one who does is not answering).
   */
  async #lead<T>(
    slice: Slice,
    urge: boolean,
    work: (leader: SliceLeader) => Promise<T>,
  ): Promise<LeaderReply<T>> {
    if (!this.#replica.votesIn(slice)) return { type: "notLeader" };
    let leader = this.#elections.leaderOf(slice);
    if (!leader) {
      const me = this.#options.route.self.id;
      const other = this.#elections.believedLeader(slice) ?? this.#elections.preferred(slice);
      if (!urge && other !== undefined && other !== me) return { type: "notLeader", leader: other };
      await this.#elections.campaign(slice);
      leader = this.#elections.leaderOf(slice);
      if (!leader) {
        const winner = this.#elections.believedLeader(slice);
        return winner === me ? { type: "notLeader" } : { type: "notLeader", leader: winner };
      }
    }
    try {
      return { type: "done", ...(await work(leader)) };
    } catch (error) {
      if (error instanceof NotLeader) return { type: "notLeader" };
      throw error;
    }
  }

  #peer(node: NodeId) {
    const peer = this.#options.route.peer(node);
    if (!peer) throw new TransportError("unreachable", `Cannot call node ${node}: address unknown`);
    return peer;
  }

  #newRequestId(): RequestId {
    return parseRequestId(toHex(this.#options.chance.bytes(16)));
  }

  *#held(): Generator<Slice> {
    for (let slice = 0; slice < this.#slices; slice++) {
      if (this.#replica.votesIn(slice as Slice)) yield slice as Slice;
    }
  }

  // ------------------------------------------------------------------ garbage

  #scheduleChecker(): void {
    this.#checker = this.#options.clock.after(checkerMs, () => {
      this.#checkChains()
        .catch((error: unknown) => {
          this.#options.log.warn("Cannot check chains", { error: String(error) });
        })
        .finally(() => {
          if (!this.#stopped) this.#scheduleChecker();
        });
    });
  }

  async #checkChains(): Promise<void> {
    const { clock, freeGarbage } = this.#options;
    for (const slice of this.#elections.slicesLed()) {
      if (this.#stopped) return;
      const free = async (key: RegisterKey, chain: Chain): Promise<void> => {
        // A step frees so many: a name that is replaced often must not gather more than a round frees.
        for (let at = 0; at < chain.garbage.length && !this.#stopped; at += garbageBatchMax) {
          const garbage = chain.garbage.slice(at, at + garbageBatchMax);
          await freeGarbage({ slice, key }, { ...chain, garbage });
        }
      };
      // A leader counts a lease from when it first sees the lock: a lock that nobody asks for must be seen too.
      const see = async (key: RegisterKey): Promise<void> => {
        if (!this.#stopped) await this.#elections.leaderOf(slice)?.read(key, false);
      };
      await this.#census.visitDue(slice, clock.wallMs(), free, see);
    }
  }

  // ------------------------------------------------------------------ peers

  #answerPeers(peers: Peers): void {
    const replica = this.#replica;
    peers.onCall("index.prepare", ({ claims }) => replica.prepare(claims));
    peers.onCall("index.readreg", ({ slice, ballot, keys }) =>
      replica.readReg(slice, ballot, keys),
    );
    peers.onCall("index.names", ({ slice, ballot, after }) => replica.names(slice, ballot, after));
    peers.onCall("index.accept", ({ slice, ballot, writes }) =>
      replica.accept(slice, ballot, writes),
    );
    peers.onCall("index.confirm", ({ slice, ballot }) => replica.confirm(slice, ballot));
    peers.onCall("index.readfast", ({ slice, key, want }) => replica.readFast(slice, key, want));
    peers.onCall("index.scan", ({ ranges }) => replica.scanAll(ranges));
    peers.onCall("index.execute", async (request) => {
      const { slice, operation, requestId, body, urge, again } = request;
      const key = request.key as RegisterKey;
      return this.#lead(slice, urge, async (leader) => ({
        result: JSON.stringify(
          await leader.execute(key, parseOperation(operation), requestId, body, again),
        ),
      }));
    });
    peers.onCall("index.read", ({ slice, key, body, urge }) =>
      this.#lead(slice, urge, async (leader) => ({
        register: await leader.read(key as RegisterKey, body),
      })),
    );
    peers.onCall("index.digests", async ({ slices }) => {
      const found: string[] = [];
      // One by one: each may hold a page of the store.
      for (const slice of slices) found.push(await this.#digests.of(slice));
      return found;
    });
    peers.onCall("index.versions", ({ slice, after }) => replica.versions(slice, after));
    peers.onCall("index.fetch", ({ slice, keys }) => replica.fetch(slice, keys));
    peers.onCall("index.behind", ({ slices }, caller) => {
      if (caller.id) this.#synchroniser.syncWith(caller.id, slices);
      return {};
    });
  }
}

/** Operations cross the wire as JSON between nodes of one cluster and one protocol version. */
function parseOperation(text: string): RegisterOperation {
  try {
    return JSON.parse(text) as RegisterOperation;
  } catch {
    throw new RingstowError("InvalidRequest", "Cannot read an operation: it is not JSON");
  }
}
