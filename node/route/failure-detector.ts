// SWIM's failure detector (Das 2002, sections 3 and 4) with two of Lifeguard's cares: a node that was itself asleep
// blames nobody, and a suspect is asked again before it is buried. alive -> suspect -> dead; never dead at once.
// Invariant: a member is declared dead only after a direct probe and `indirectProbes` others' probes failed, and it
// had the time of a suspicion to refute.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import {
  indirectProbes,
  probeTimeoutMs,
  probesInFlightMax,
  suspectMs,
  suspectRefusedMs,
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
import { isLive, type MemberRow } from "./member-table.ts";
import { type Membership } from "./membership.ts";
import { shuffled } from "./shuffled.ts";

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
  /** One direct ping, which also carries gossip. */
  readonly ping: (peer: Peer) => Promise<ProbeOutcome>;
}

export class FailureDetector {
  readonly #deps: Deps;
  readonly #probing = new Set<NodeId>();
  readonly #suspicions = new Map<NodeId, { readonly timer: Timer; readonly dueMs: number }>();
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
   * A peer says that a member is dead that this node has spoken to. Believed when one ping fails; else it would be
   * enough that one side of a partition talks to be believed about the other.
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

  /** Starts the clock of a suspicion, own or heard; one that runs may only be shortened. */
  watch(id: NodeId, delayMs = suspectMs): void {
    const { clock, membership } = this.#deps;
    const row = membership.table.find(id);
    if (this.#stopped || row?.state !== "suspect") return;
    const dueMs = clock.monotonicMs() + delayMs;
    const running = this.#suspicions.get(id);
    if (running && running.dueMs <= dueMs) return;
    running?.timer.cancel();
    const timer = clock.after(delayMs, () => {
      this.#suspicions.delete(id);
      const slept = clock.monotonicMs() > dueMs + sleptMs;
      if (slept) this.watch(id, delayMs);
      else this.#bury(id, row.incarnation);
    });
    this.#suspicions.set(id, { timer, dueMs });
  }

  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#suspicions.values()) timer.cancel();
    this.#suspicions.clear();
  }

  #bury(id: NodeId, incarnation: number): void {
    const { membership, clock, log } = this.#deps;
    const row = membership.table.find(id);
    if (row?.state !== "suspect") return;
    if (row.incarnation !== incarnation) {
      this.watch(id);
      return;
    }
    log.warn("Member is dead", { id, incarnation });
    membership.commit(membership.table.declare(id, "dead", clock.wallMs()));
  }

  async #probeAndJudge(row: MemberRow): Promise<void> {
    const { membership, clock, log, ping } = this.#deps;
    const peer = { id: row.id, address: row.peerAddress };
    const first = await ping(peer);
    if (first === "reached") return;
    const outcomes = await Promise.all([ping(peer), ...this.#askOthers(row)]);
    if (outcomes.includes("reached") || this.#stopped) return;
    const now = membership.table.find(row.id);
    if (!now || !isLive(now) || now.incarnation !== row.incarnation) return;
    const refused = first === "unreachable" && outcomes.every((each) => each === "unreachable");
    if (now.state === "alive") {
      log.info("Member is suspected", { id: row.id, incarnation: row.incarnation, refused });
      membership.commit(membership.table.declare(row.id, "suspect", clock.wallMs()));
    }
    this.watch(row.id, refused ? suspectRefusedMs : suspectMs);
  }

  /** Indirect probes; a helper that cannot be reached itself says nothing. */
  #askOthers(row: MemberRow): Promise<ProbeOutcome>[] {
    const { membership, peers, chance } = this.#deps;
    const { self, table } = membership;
    const others = table
      .live()
      .filter((each) => each.id !== self.id && each.id !== row.id && each.state === "alive");
    return shuffled(others, chance)
      .slice(0, indirectProbes)
      .map(async (helper) => {
        try {
          const { outcome } = await peers.call(
            { id: helper.id, address: helper.peerAddress },
            "route.probe",
            { id: row.id, address: row.peerAddress },
            2 * probeTimeoutMs,
          );
          return outcome;
        } catch (error) {
          if (error instanceof TransportError || error instanceof RingstowError) return "silent";
          throw error;
        }
      });
  }
}
