// Looks for a slice's leader elsewhere while the member that is asked gives no answer: once it took `callTimeoutMs`, the
// others are asked whether they lead, as long as it takes. They are asked for their word and not for the operation,
// which so is never at two members whose answers both count; and nobody campaigns, so a leader that is only slow stays
// one. A slice that nobody else leads gains nothing here: its silent leader is left when majority-watch.ts says so.
import { type NodeId } from "../../shared/ids.ts";
import { callTimeoutMs } from "../../shared/limits.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Clock, type Timer } from "../ports.ts";
import { type LeaderReply } from "./executor.ts";
import { type ViewDirectory } from "./view-directory.ts";

export type Elsewhere = Extract<LeaderReply<object>, { type: "notLeader" }>;

export interface LeaderSearchOptions {
  readonly clock: Clock;
  readonly views: Pick<ViewDirectory, "viewOf">;
  readonly members: (slice: Slice) => readonly NodeId[];
  /** Whether a node leads a slice, in its own eyes. */
  readonly leads: (node: NodeId, slice: Slice) => Promise<LeaderReply<object>>;
}

export class LeaderSearch {
  readonly #options: LeaderSearchOptions;
  /** Questions under way, shared by all that wait for the same members. */
  readonly #asking = new Map<string, Promise<Elsewhere | undefined>>();

  constructor(options: LeaderSearchOptions) {
    this.#options = options;
  }

  /**
   * The call's answer; or where to go instead, as the member that was called would say it, if that is known before.
   * @param tried the member that was called, and those that did not answer before: whatever they say, they are not asked
   */
  during<T>(
    slice: Slice,
    tried: ReadonlySet<NodeId>,
    call: Promise<T>,
  ): Promise<{ readonly reply: T | Elsewhere; readonly elsewhere: boolean }> {
    const { clock } = this.#options;
    const { promise: elsewhere, resolve } = Promise.withResolvers<Elsewhere>();
    let ended = false;
    let timer: Timer | undefined;
    const wait = (): void => {
      timer = clock.after(callTimeoutMs, () => void look());
    };
    const look = async (): Promise<void> => {
      const found = await this.#ask(slice, tried);
      if (found) resolve(found);
      else if (!ended) wait();
    };
    wait();
    return Promise.race([
      call.then((reply) => ({ reply, elsewhere: false })),
      elsewhere.then((reply) => ({ reply, elsewhere: true })),
    ]).finally(() => {
      ended = true;
      timer?.cancel();
    });
  }

  #ask(slice: Slice, tried: ReadonlySet<NodeId>): Promise<Elsewhere | undefined> {
    const id = [slice, ...tried].join(" ");
    const under = this.#asking.get(id);
    if (under) return under;
    const asking = this.#askOthers(slice, tried).finally(() => this.#asking.delete(id));
    this.#asking.set(id, asking);
    return asking;
  }

  /** The first that leads the slice, or tells of a later view; undefined when all have ended without. */
  #askOthers(slice: Slice, tried: ReadonlySet<NodeId>): Promise<Elsewhere | undefined> {
    const { leads, views, members } = this.#options;
    const others = members(slice).filter((member) => !tried.has(member));
    const { promise, resolve } = Promise.withResolvers<Elsewhere | undefined>();
    const asked = others.map(async (other) => {
      // Without an answer it leads nothing that could be waited for.
      const reply = await leads(other, slice).catch(() => undefined);
      if (reply?.type === "done") resolve({ type: "notLeader", leader: other });
      else if (reply?.view && reply.view.epoch > views.viewOf(slice).epoch) resolve(reply);
    });
    void Promise.all(asked).then(() => resolve(undefined));
    return promise;
  }
}
