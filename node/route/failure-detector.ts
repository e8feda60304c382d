// SWIM's failure detector (Das 2002, sections 3 and 4) with Lifeguard's three cares: a node that may be slow itself
// waits longer (local health), a suspicion is long until others confirm it, a suspect is told so by whoever pings it.
// alive -> suspect -> dead; never dead at once.
// Invariant: a member is declared dead only after a direct probe and `indirectProbes` others' probes failed, and it
// had the time of a suspicion to refute. A node that stood still itself buries nobody.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import {
  indirectProbes,
  probeTimeoutMs,
  probesInFlightMax,
  suspectFactor,
  suspectMs,
  suspectRefusedMs,
  witnessesMax,
} from "../../shared/limits.ts";
import { type Peers } from "../peers.ts";
import {
  type Chance,
  type Clock,
  type Log,
  type Peer,
  type Timer,
  TransportError,
} from "../ports.ts";
import { type Background } from "./background.ts";
import { type LocalHealth, suspicionMs } from "./local-health.ts";
import { isLive, type MemberRow } from "./member-table.ts";
import { witnessOf } from "./member-wire.ts";
import { type Membership } from "./membership.ts";
import { randomOrder } from "./random-order.ts";

/** "unreachable": the host is there and refuses; "silent": nothing came back. */
export type ProbeOutcome = "reached" | "unreachable" | "silent";

/** A timer this late means that the node itself stood still. */
const sleptMs = 2_000;

interface Deps {
  readonly membership: Membership;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly log: Log;
  readonly background: Background;
  readonly health: LocalHealth;
  /** One direct ping, which also carries gossip. */
  readonly ping: (peer: Peer) => Promise<ProbeOutcome>;
}

interface Suspicion {
  readonly incarnation: number;
  startedMs: number;
  /** The host refuses: it runs, the node does not. */
  refused: boolean;
  dueMs: number;
  timer: Timer | undefined;
}

export class FailureDetector {
  readonly #deps: Deps;
  readonly #probing = new Set<NodeId>();
  readonly #suspicions = new Map<NodeId, Suspicion>();
  #stopped = false;

  constructor(deps: Deps) {
    this.#deps = deps;
    deps.peers.onCall("route.probe", async ({ id, address }) => {
      return { outcome: await deps.ping({ id, address }) };
    });
  }

  /** Probes a member now, unless that is under way; a failure makes it a suspect. */
  probe(id: NodeId): void {
    const { membership, background } = this.#deps;
    const row = membership.table.find(id);
    if (this.#stopped || !row || !isLive(row) || id === membership.self.id) return;
    if (this.#probing.has(id) || this.#probing.size >= probesInFlightMax) return;
    this.#probing.add(id);
    background.run("probe", async () => {
      try {
        await this.#probeAndJudge(row);
      } finally {
        this.#probing.delete(id);
      }
    });
  }

  /**
   * A peer says that a member is dead that this node has spoken to and nobody suspects here. Believed when one ping
   * fails; else it would be enough that one side of a partition talks to be believed about the other.
   */
  verifyDeath(rumour: MemberRow): void {
    const { membership, background, ping } = this.#deps;
    const { id } = rumour;
    const row = membership.table.find(id);
    if (this.#stopped || !row || this.#probing.has(id)) return;
    if (this.#probing.size >= probesInFlightMax) return; // the rumour comes again
    this.#probing.add(id);
    background.run("verify death", async () => {
      const outcome = await ping({ id, address: row.peerAddress });
      this.#probing.delete(id);
      if (outcome !== "reached" && !this.#stopped)
        membership.commit(membership.table.apply(rumour));
    });
  }

  /** Follows a suspicion that was heard, or what others add to one that runs. */
  watch(id: NodeId, witnesses: readonly number[]): void {
    const { membership } = this.#deps;
    const row = membership.table.find(id);
    if (this.#stopped || row?.state !== "suspect") return;
    membership.addWitnesses(id, witnesses);
    this.#setTimer(id, this.#suspicionOf(row));
  }

  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#suspicions.values()) timer?.cancel();
    this.#suspicions.clear();
  }

  /** This node's own finding. */
  #accuse(row: MemberRow, refused: boolean): void {
    const { membership, clock, log } = this.#deps;
    if (row.state === "alive") {
      log.info("Member is suspected", { id: row.id, incarnation: row.incarnation, refused });
      membership.commit(membership.table.declare(row.id, "suspect", clock.wallMs()));
    }
    const suspicion = this.#suspicionOf(row);
    // The refusal of a host counts from its finding: what ran before was a wait for a silent one.
    if (refused && !suspicion.refused) suspicion.startedMs = clock.monotonicMs();
    suspicion.refused ||= refused;
    const isNew = membership.addWitnesses(row.id, [witnessOf(membership.self.id)]);
    if (isNew) membership.spread(row.id);
    this.#setTimer(row.id, suspicion);
  }

  #suspicionOf(row: MemberRow): Suspicion {
    const known = this.#suspicions.get(row.id);
    if (known?.incarnation === row.incarnation) return known;
    known?.timer?.cancel();
    const startedMs = this.#deps.clock.monotonicMs();
    const fresh = {
      incarnation: row.incarnation,
      startedMs,
      refused: false,
      dueMs: Number.POSITIVE_INFINITY,
      timer: undefined,
    };
    this.#suspicions.set(row.id, fresh);
    return fresh;
  }

  /** A timer may only be shortened. */
  #setTimer(id: NodeId, suspicion: Suspicion): void {
    const { clock, membership } = this.#deps;
    const witnesses = membership.witnesses(id).size;
    const ms = suspicion.refused
      ? suspectRefusedMs
      : suspicionMs(membership.table.liveCount, Math.max(0, witnesses - 1), {
          leastMs: suspectMs,
          factor: suspectFactor,
          expectedMax: witnessesMax - 1,
        });
    const dueMs = suspicion.startedMs + ms;
    if (dueMs >= suspicion.dueMs) return;
    suspicion.timer?.cancel();
    suspicion.dueMs = dueMs;
    suspicion.timer = clock.after(dueMs - clock.monotonicMs(), () => this.#end(id, suspicion));
  }

  #end(id: NodeId, suspicion: Suspicion): void {
    const { membership, clock, log } = this.#deps;
    this.#suspicions.delete(id);
    const row = membership.table.find(id);
    if (row?.state !== "suspect") return;
    const slept = clock.monotonicMs() > suspicion.dueMs + sleptMs;
    if (slept || row.incarnation !== suspicion.incarnation) {
      this.#setTimer(id, this.#suspicionOf(row));
      return;
    }
    log.warn("Member is dead", { id, incarnation: row.incarnation });
    membership.commit(membership.table.declare(id, "dead", clock.wallMs()));
  }

  async #probeAndJudge(row: MemberRow): Promise<void> {
    const { membership, ping, health } = this.#deps;
    const peer = { id: row.id, address: row.peerAddress };
    const first = await ping(peer);
    if (first === "reached") {
      health.improve();
      return;
    }
    const others = this.#askOthers(row);
    const outcomes = await Promise.all([ping(peer), ...others]);
    if (this.#stopped) return;
    if (outcomes.includes("reached")) {
      health.improve();
      return;
    }
    // Helpers that answer show that this node's own network is well.
    health.worsen(others.length === 0 ? 1 : outcomes.filter((each) => each === "lost").length);
    const now = membership.table.find(row.id);
    if (!now || !isLive(now) || now.incarnation !== row.incarnation) return;
    const refused = first === "unreachable" && outcomes.every((each) => each === "unreachable");
    this.#accuse(now, refused);
  }

  /** Indirect probes; a helper that cannot be reached itself is "lost" and says nothing. */
  #askOthers(row: MemberRow): Promise<ProbeOutcome | "lost">[] {
    const { membership, chance } = this.#deps;
    const { self, table } = membership;
    const asked: Promise<ProbeOutcome | "lost">[] = [];
    for (const index of randomOrder(table.liveCount, chance)) {
      if (asked.length === indirectProbes) break;
      const helper = table.liveAt(index);
      if (helper.id !== self.id && helper.id !== row.id && helper.state === "alive")
        asked.push(this.#askOne(helper, row));
    }
    return asked;
  }

  async #askOne(helper: MemberRow, row: MemberRow): Promise<ProbeOutcome | "lost"> {
    const { peers, health } = this.#deps;
    try {
      const { outcome } = await peers.call(
        { id: helper.id, address: helper.peerAddress },
        "route.probe",
        { id: row.id, address: row.peerAddress },
        2 * probeTimeoutMs * health.factor,
      );
      return outcome;
    } catch (error) {
      if (error instanceof TransportError || error instanceof RingstowError) return "lost";
      throw error;
    }
  }
}
