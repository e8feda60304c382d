// Puts the index module together: replica, elections, executor, fast reads, anti-entropy, and the handlers with which
// this node answers its peers.
import {
  type BlockId,
  type NodeId,
  type RequestId,
  nodeOfVoter,
  parseRequestId,
  toHex,
} from "../../shared/ids.ts";
import {
  callTimeoutMs,
  joinAfterDefaultMs,
  leaderPatienceMs,
  movePauseDefaultMs,
  repairAfterDefaultMs,
} from "../../shared/limits.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type NodeConfig } from "../config.ts";
import { type Ports, TransportError } from "../ports.ts";
import { type Peers } from "../peers.ts";
import { type Route } from "../route/types.ts";
import { answerMembers } from "./answer-members.ts";
import { BlockRepairs } from "./block-repairs.ts";
import { ChainCensus } from "./chain-census.ts";
import { ChainChecker } from "./chain-checker.ts";
import { CopiesRegister } from "./copies-register.ts";
import { Elections } from "./elections.ts";
import { Executor } from "./executor.ts";
import { type FastReadOptions, fastRead } from "./fast-read.ts";
import { type IndexFaults } from "./faults.ts";
import { type MemberLink, createMemberLink } from "./member-link.ts";
import { OwnLead } from "./own-lead.ts";
import { decodeState, parseOperation, valueOf } from "./register-state.ts";
import { Replica } from "./replica.ts";
import { ReplyTimes } from "./reply-times.ts";
import { scan } from "./scan.ts";
import { countSlices } from "./slice-counts.ts";
import { SliceDigests } from "./slice-digests.ts";
import { Synchroniser } from "./synchroniser.ts";
import {
  type ExecuteOptions,
  type Index,
  type RegisterAddress,
  type RegisterKey,
  type RegisterOperation,
  type RegisterResult,
  type RepairStep,
} from "./types.ts";
import { ViewChanges } from "./view-changes.ts";
import { genesisViews } from "./views.ts";

export interface IndexOptions extends Pick<Ports, "clock" | "chance" | "store" | "digest" | "log"> {
  readonly config: NodeConfig;
  readonly peers: Peers;
  readonly route: Route;
  readonly faults?: IndexFaults | undefined;
  /** Frees what a chain that this node leads holds as due garbage. */
  readonly freeGarbage: (at: RegisterAddress) => Promise<void>;
  /** Does one step of a repair; see BlockRepairsDeps. */
  readonly repairBlock: (step: RepairStep) => Promise<boolean>;
}

export function createIndex(options: IndexOptions): Index {
  return new IndexModule(options);
}

class IndexModule implements Index {
  readonly #options: IndexOptions;
  readonly #slices: number;
  readonly #replica: Replica;
  readonly #elections: Elections;
  readonly #lead: OwnLead;
  readonly #executor: Executor;
  readonly #fast: FastReadOptions;
  readonly #digests: SliceDigests;
  readonly #census: ChainCensus;
  readonly #synchroniser: Synchroniser;
  readonly #views: ViewChanges;
  readonly #repairs: BlockRepairs;
  readonly #checker: ChainChecker;
  readonly #copies: CopiesRegister;

  constructor(options: IndexOptions) {
    this.#options = options;
    const { config, route, peers, clock, store, digest, log, faults } = options;
    const { sliceBits } = config.genesis;
    this.#slices = 2 ** sliceBits;
    this.#replica = new Replica({
      store,
      voter: route.voter,
      viewOf: genesisViews(config.genesis),
      faults,
    });
    this.#views = new ViewChanges({
      replica: this.#replica,
      ...{ peers, route, clock, log, faults, sliceBits },
      joinAfterMs: config.joinAfterMs ?? joinAfterDefaultMs,
      repairAfterMs: config.repairAfterMs ?? repairAfterDefaultMs,
      movePauseMs: config.movePauseMs ?? movePauseDefaultMs,
      newRequestId: () => this.#newRequestId(),
    });
    const { directory } = this.#views;
    const link = createMemberLink(route.voter, this.#replica, peers, route);
    this.#digests = new SliceDigests(this.#replica, digest);
    this.#census = new ChainCensus(store, this.#replica, clock);
    this.#executor = this.#newExecutor();
    this.#fast = {
      link,
      clock,
      route,
      views: directory,
      replyTimes: new ReplyTimes(),
      majority: this.#executor.majority,
      faults,
    };
    this.#synchroniser = new Synchroniser({
      replica: this.#replica,
      digests: this.#digests,
      peers,
      route,
      clock,
      log,
      slices: this.#slices,
      views: directory,
      readByLeader: (slice, key) => this.#readByLeader(slice, key, false),
    });
    this.#copies = new CopiesRegister({
      ...{ sliceBits, route, log },
      execute: (at, operation, how) => this.execute(at, operation, how),
    });
    this.#elections = this.#newElections(link);
    this.#lead = new OwnLead({
      ...{ self: route.self.id, replica: this.#replica },
      ...{ elections: this.#elections, views: directory, handovers: this.#views.handovers },
    });
    this.#checker = new ChainChecker({
      census: this.#census,
      elections: this.#elections,
      ...{ clock, log },
      freeGarbage: options.freeGarbage,
    });
    this.#repairs = new BlockRepairs({
      ...{ clock, log, route, census: this.#census },
      afterMs: config.repairAfterMs,
      slicesLed: () => this.#elections.slicesLed(),
      read: async (at) => (await this.read(at, { body: false })).value,
      repair: options.repairBlock,
    });
    this.#answerPeers(peers);
  }

  #newExecutor(): Executor {
    const { clock, chance, route, peers } = this.#options;
    return new Executor({
      ...{ clock, chance, route, views: this.#views.directory },
      leads: async (node, slice) =>
        node === route.self.id
          ? this.#lead.of(slice)
          : peers.call(this.#peer(node), "index.leader", { slice }, callTimeoutMs),
    });
  }

  #newElections(link: MemberLink): Elections {
    const { route, clock, log, faults } = this.#options;
    return new Elections({
      replica: this.#replica,
      ...{ link, route, clock, log, faults },
      slices: this.#slices,
      newRequestId: () => this.#newRequestId(),
      onMissed: (slice, member) => this.#synchroniser.tellBehind(slice, member),
      onElected: (leader, election) => {
        // What was decided while members joined a view may have passed some of them by, and nobody else would find that.
        this.#synchroniser.elected(leader.slice, leader.view.epoch);
        this.#views.elected(leader, election);
        this.#copies.elected(leader, election.names);
      },
      onBehind: (slice, view) => this.#views.behind(slice, view),
      onPassed: (slice, view) => void this.#views.directory.learn(slice, view),
    });
  }

  // ------------------------------------------------------------------ Index

  async start(): Promise<void> {
    this.#elections.start();
    this.#synchroniser.start();
    this.#views.start(this.#elections);
    this.#repairs.start();
    this.#checker.start();
  }

  async stop(): Promise<void> {
    this.#checker.stop();
    this.#views.stop();
    this.#repairs.stop();
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
          return this.#lead.run(slice, urge, async (leader) => ({
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
    this.#copies.decided(reply.result);
    return reply.result;
  }

  setCopies(...change: Parameters<Index["setCopies"]>): ReturnType<Index["setCopies"]> {
    return this.#copies.set(...change);
  }

  async read({ slice, key }: RegisterAddress, { body }: { body: boolean }) {
    const register = await this.#readByLeader(slice, key, body, async () => {
      const agreed = await fastRead(this.#fast, slice, key, body);
      return agreed && { register: agreed };
    });
    return { value: valueOf(decodeState(register.value ?? "")), body: register.body };
  }

  scan(requests: Parameters<Index["scan"]>[0]): ReturnType<Index["scan"]> {
    const readByLeader = (slice: Slice, key: RegisterKey): Promise<StoredRegister> =>
      this.#readByLeader(slice, key, false);
    const slices = [...new Set(requests.map(({ slice }) => slice))];
    return this.#executor.withMajorities(slices, (isOver) =>
      scan({ ...this.#fast, readByLeader }, requests, isOver),
    );
  }

  view(slice: Slice): ReturnType<Index["view"]> {
    const { epoch, members } = this.#views.directory.viewOf(slice);
    const own = this.#elections.leaderOf(slice) ? this.#options.route.self.id : undefined;
    const leader = own ?? this.#executor.hint(slice) ?? this.#elections.believedLeader(slice);
    return { epoch, members: members.map(nodeOfVoter), leader };
  }

  recover(order: Parameters<Index["recover"]>[0]): ReturnType<Index["recover"]> {
    return this.#views.recover(order);
  }

  async counts(): ReturnType<Index["counts"]> {
    const { route } = this.#options;
    const parts = { census: this.#census, elections: this.#elections, route };
    const { toResize, ...counts } = await countSlices(parts, this.#held());
    const { led: slicesLed } = this.#elections;
    const repairing = this.#repairs.pending;
    const views = { changing: this.#views.underWay, toResize, pauses: this.#views.pauses() };
    return { ...counts, slicesLed, repairing, views };
  }

  async report({ slice, key }: RegisterAddress, block: BlockId, bad?: NodeId): Promise<void> {
    const { route, peers } = this.#options;
    const request = { slice, key, block, ...(bad === undefined ? {} : { bad }) };
    await this.#executor.ask<object>(slice, async (node, urge) =>
      node === route.self.id
        ? this.#lead.run(slice, urge, async () => {
            this.#repairs.report({ slice, key }, block, bad);
            return {};
          })
        : peers.call(this.#peer(node), "index.report", request, leaderPatienceMs),
    );
  }

  async digests(): Promise<ReadonlyMap<number, string>> {
    const all = new Map<number, string>();
    for (const slice of this.#held()) all.set(slice, await this.#digests.of(slice));
    return all;
  }

  // ------------------------------------------------------------------ leading

  async #readByLeader(
    slice: Slice,
    key: RegisterKey,
    body: boolean,
    fast?: () => Promise<{ register: StoredRegister } | undefined>,
  ): Promise<StoredRegister> {
    const { route, peers } = this.#options;
    const reply = await this.#executor.ask<{ register: StoredRegister }>(
      slice,
      async (node, urge) =>
        node === route.self.id
          ? this.#lead.run(slice, urge, async (leader) => ({
              register: await leader.read(key, body),
            }))
          : peers.call(
              this.#peer(node),
              "index.read",
              { slice, key, body, urge },
              leaderPatienceMs,
            ),
      fast,
    );
    return reply.register;
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

  // ------------------------------------------------------------------ peers

  #answerPeers(peers: Peers): void {
    answerMembers(peers, {
      replica: this.#replica,
      digests: this.#digests,
      directory: this.#views.directory,
      synchroniser: this.#synchroniser,
    });
    peers.onCall("index.execute", async (request) => {
      const { slice, operation, requestId, body, urge, again } = request;
      const key = request.key as RegisterKey;
      return this.#lead.run(slice, urge, async (leader) => {
        const parsed = parseOperation(operation);
        const result = await leader.execute(key, parsed, requestId, body, again);
        this.#copies.decided(result);
        return { result: JSON.stringify(result) };
      });
    });
    peers.onCall("index.read", ({ slice, key, body, urge }) =>
      this.#lead.run(slice, urge, async (leader) => ({
        register: await leader.read(key as RegisterKey, body),
      })),
    );
    peers.onCall("index.leader", ({ slice }) => this.#lead.of(slice));
    peers.onCall("index.report", ({ slice, key, block, bad }) =>
      this.#lead.run(slice, false, async () => {
        this.#repairs.report({ slice, key: key as RegisterKey }, block, bad);
        return {};
      }),
    );
  }
}
