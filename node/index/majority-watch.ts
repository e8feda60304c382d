// Ends early what cannot end well: while a coordinator waits for a slice's leader or for most of its members, it asks
// the members for a sign of life. It leaves a member that gives none for `memberSilentMs`, and gives up when most are
// silent. An election among members that can be heard has all the time of `operationDeadlineMs`. Giving up is always
// safe: an operation under way may still take effect, and its caller is told that the outcome is unknown.
// A node that itself stood still, or whose machine has too much to do, needs more silence to blame others.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import {
  callTimeoutMs,
  memberSilentMs,
  signOfLifeAfterMs,
  signOfLifeFreshMs,
  signOfLifeMs,
  signOfLifePauseMs,
  timerLateMs,
} from "../../shared/limits.ts";
import { type Clock, type Timer, TransportError } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { majorityOf } from "./views.ts";

export interface Watch {
  /** Rejects with Unavailable when a majority is silent; never resolves. */
  readonly lost: Promise<never>;
  /** Whether `lost` has rejected, or end() was called. */
  readonly over: boolean;
  /** The outcome of a call to a member; TransportError when the member is silent meanwhile, or the watch is over. */
  whileHeard<T>(node: NodeId, call: Promise<T>): Promise<T>;
  end(): void;
}

export class MajorityWatch {
  readonly #clock: Clock;
  readonly #route: Pick<Route, "self" | "reaches">;
  /** When the first question was asked since each member was heard last. */
  readonly #silentSinceMs = new Map<NodeId, number>();
  readonly #heardAtMs = new Map<NodeId, number>();
  /** Questions under way, shared by all that wait. */
  readonly #asking = new Map<NodeId, Promise<void>>();

  constructor(clock: Clock, route: Pick<Route, "self" | "reaches">) {
    this.#clock = clock;
    this.#route = route;
  }

  /** A member answered something. */
  heard(node: NodeId): void {
    this.#silentSinceMs.delete(node);
    this.#heardAtMs.set(node, this.#clock.monotonicMs());
  }

  /** A member did not answer a question that was asked at `sinceMs`. */
  silent(node: NodeId, sinceMs: number): void {
    if (!this.#silentSinceMs.has(node)) this.#silentSinceMs.set(node, sinceMs);
  }

  /**
   * Begins to ask when the call takes long, at once where a majority is known to be silent.
   * @param members of the view as this node knows it
   * @param search looks whether there is a later view, before the caller is told that there is no majority
   */
  watch(members: () => readonly NodeId[], search: () => Promise<void>): Watch {
    const { promise: lost, reject } = Promise.withResolvers<never>();
    lost.catch(() => undefined); // it may reject when nobody waits any more
    let over = false;
    let searched: Promise<void> | undefined;
    let timer: Timer | undefined;
    let called: { readonly node: NodeId; leave(reason: TransportError): void } | undefined;
    /** Members of which this watch asked a question that is over: a silence of before is no reason to give up. */
    const asked = new Set<NodeId>();
    const isSilent = (node: NodeId): boolean =>
      asked.has(node) && this.#isSilent(node, memberSilentMs);
    const isLost = (): boolean => !isMajority(members(), (node) => !isSilent(node));
    const searchInTime = (): void => {
      // Begun early, so that it is over when the silence has lasted long enough.
      if (!isMajority(members(), (node) => !this.#isSilent(node, 0))) searched ??= search();
    };
    const end = (): void => {
      over = true;
      timer?.cancel();
      called?.leave(new TransportError("closed", "Nobody waits for the answer any more"));
    };
    const judge = async (): Promise<void> => {
      searchInTime();
      if (isLost()) await searched;
      if (over) return;
      if (isLost()) {
        reject(new RingstowError("Unavailable", "Most index nodes of the object do not answer"));
        end();
      } else if (called && isSilent(called.node)) {
        called.leave(new TransportError("timeout", `Node ${called.node} gives no sign of life`));
      }
    };
    const round = async (): Promise<void> => {
      searchInTime();
      await Promise.all(
        members().map(async (node) => {
          await this.#ask(node);
          asked.add(node);
          if (!over) await judge();
        }),
      );
      if (over) return;
      const lacking = members().some((node) => this.#isSilent(node, 0));
      timer = this.#clock.after(lacking ? signOfLifePauseMs : callTimeoutMs, () => void round());
    };
    const hopeful = isMajority(members(), (node) => !this.#isSilent(node, 0));
    timer = this.#clock.after(hopeful ? signOfLifeAfterMs : 0, () => void round());
    return {
      lost,
      get over() {
        return over;
      },
      whileHeard: (node, call) => {
        const { promise: left, reject: leave } = Promise.withResolvers<never>();
        called = { node, leave };
        return Promise.race([call, left]);
      },
      end,
    };
  }

  #isSilent(node: NodeId, forMs: number): boolean {
    const sinceMs = this.#silentSinceMs.get(node);
    return sinceMs !== undefined && this.#clock.monotonicMs() - sinceMs >= forMs;
  }

  /** How long a question waits: where a member is silent already, until that has lasted long enough. */
  #questionMs(node: NodeId, askedAtMs: number): number {
    const sinceMs = this.#silentSinceMs.get(node) ?? askedAtMs;
    const leftMs = sinceMs + memberSilentMs - askedAtMs;
    // Timers may be early by a fraction.
    return Math.abs(leftMs - signOfLifeMs) <= signOfLifeMs / 2 ? leftMs + 1 : signOfLifeMs;
  }

  #ask(node: NodeId): Promise<void> {
    if (node === this.#route.self.id) return Promise.resolve();
    // However many wait: a member is asked ten times a second at most.
    const heardAtMs = this.#heardAtMs.get(node) ?? Number.NEGATIVE_INFINITY;
    if (this.#clock.monotonicMs() - heardAtMs < signOfLifeFreshMs) return Promise.resolve();
    const under = this.#asking.get(node);
    if (under) return under;
    const asking = this.#askOne(node).finally(() => this.#asking.delete(node));
    this.#asking.set(node, asking);
    return asking;
  }

  async #askOne(node: NodeId): Promise<void> {
    const askedAtMs = this.#clock.monotonicMs();
    const questionMs = this.#questionMs(node, askedAtMs);
    if (await this.#route.reaches(node, questionMs)) {
      this.heard(node);
      return;
    }
    const sinceMs = this.#silentSinceMs.get(node);
    const now = this.#clock.monotonicMs();
    const lateMs = now - askedAtMs - questionMs;
    // Where the timer was late the answer may lie unread: that time proves nothing, and silence begins with its end.
    const isLate = lateMs > timerLateMs;
    if (sinceMs === undefined) this.#silentSinceMs.set(node, isLate ? now : askedAtMs);
    else if (isLate) this.#silentSinceMs.set(node, sinceMs + lateMs);
  }
}

function isMajority(members: readonly NodeId[], counts: (node: NodeId) => boolean): boolean {
  return members.filter(counts).length >= majorityOf(members.length);
}
