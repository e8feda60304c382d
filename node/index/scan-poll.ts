// Asks members of several slices for their pages until a majority of each has answered: what goes to one node is one
// message. Who has not answered after `callTimeoutMs` is not waited for alone: the next members are asked as well.
// Members of a view that has passed say so; then those of the next one are asked.
import { RingstowError } from "../../shared/errors.ts";
import { type VoterId } from "../../shared/ids.ts";
import {
  askAgainMs,
  callTimeoutMs,
  operationDeadlineMs,
  scanRowsMax,
} from "../../shared/limits.ts";
import { type Want } from "../../shared/protocol/index-calls.ts";
import { pause } from "../waiting.ts";
import { type FastReadOptions, readOrder } from "./fast-read.ts";
import { type ScanRange } from "./member-link.ts";
import { type ScanReply } from "./replica-replies.ts";
import { type ScanRequest } from "./types.ts";
import { majorityOf } from "./views.ts";

export type PageReply = Extract<ScanReply, { ok: true }> & { readonly want: Want };

/** Which members answer for one request, and what they said. */
export interface Plan {
  readonly request: ScanRequest;
  readonly epoch: number;
  readonly members: readonly VoterId[];
  readonly asked: Set<VoterId>;
  /** Those asked that have neither answered nor failed. */
  readonly waitedFor: Map<VoterId, { readonly askedAtMs: number; readonly want: Want }>;
  readonly replies: Map<VoterId, PageReply>;
}

export class ScanPoll {
  readonly #options: FastReadOptions;
  readonly #plans: Plan[];
  /** A message has ended. */
  #wake: () => void = () => undefined;

  constructor(options: FastReadOptions, requests: readonly ScanRequest[]) {
    this.#options = options;
    this.#plans = requests.map((request) => this.#planOf(request));
  }

  /**
   * Plans in the order of the requests, each with the replies of a majority. Throws Unavailable after
   * `operationDeadlineMs`.
   * @param isOver nobody waits any more
   */
  async run(isOver: () => boolean): Promise<readonly Plan[]> {
    const { clock, views } = this.#options;
    const deadline = clock.monotonicMs() + operationDeadlineMs;
    for (;;) {
      for (const [at, { request, epoch }] of this.#plans.entries()) {
        if (views.viewOf(request.slice).epoch > epoch) this.#plans[at] = this.#planOf(request);
      }
      const missing = this.#plans.filter((plan) => lacking(plan) > 0);
      if (missing.length === 0) return this.#plans;
      if (isOver() || clock.monotonicMs() > deadline)
        throw new RingstowError("Unavailable", "Too few replicas of a slice answer");
      const stuck = missing.filter((plan) => plan.waitedFor.size === 0 && !next(plan));
      if (stuck.length > 0) await this.#beginAgain(stuck);
      else await this.#askMore(missing);
    }
  }

  #planOf(request: ScanRequest): Plan {
    const { link, route, views } = this.#options;
    const view = views.viewOf(request.slice);
    const members = readOrder(view, link.self, route);
    return {
      ...{ request, epoch: view.epoch, members },
      ...{ asked: new Set(), waitedFor: new Map(), replies: new Map() },
    };
  }

  /** All were asked: after a pause those are asked again that did not answer. */
  async #beginAgain(plans: readonly Plan[]): Promise<void> {
    const { views, clock } = this.#options;
    await Promise.all(plans.map(({ request }) => views.search(request.slice)));
    await pause(clock, askAgainMs);
    for (const { asked } of plans) asked.clear();
  }

  /** Asks as many more as majorities lack. Resolves when one has ended, or there is reason to ask others. */
  async #askMore(plans: readonly Plan[]): Promise<void> {
    const { clock } = this.#options;
    const now = clock.monotonicMs();
    const byMember = new Map<VoterId, Asked[]>();
    let waitMs = callTimeoutMs;
    for (const plan of plans) {
      let member = next(plan);
      for (
        ;
        member !== undefined && lacking(plan) > inTime(plan, now).length;
        member = next(plan)
      ) {
        // Values from one member are enough; when versions differ, the leader is asked anyway.
        const wants = [...plan.replies.values(), ...inTime(plan, now)].map(({ want }) => want);
        const want = wants.includes("value") ? "version" : "value";
        plan.asked.add(member);
        plan.waitedFor.set(member, { askedAtMs: now, want });
        const group = byMember.get(member) ?? [];
        group.push({ plan, want });
        byMember.set(member, group);
      }
      for (const { askedAtMs } of inTime(plan, now))
        waitMs = Math.min(waitMs, askedAtMs + callTimeoutMs - now);
    }
    for (const [member, group] of byMember) void this.#ask(member, group);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = clock.after(waitMs, resolve);
    await promise;
    timer.cancel();
  }

  async #ask(member: VoterId, group: readonly Asked[]): Promise<void> {
    const { link, views } = this.#options;
    const ranges = group.map(({ plan: { request }, want }): ScanRange => {
      const { slice, from, to, limit } = request;
      return { slice, from, to, limit: Math.min(limit, scanRowsMax), want };
    });
    const replies = await link.scan(member, ranges).catch(() => undefined);
    for (const [i, { plan, want }] of group.entries()) {
      const reply = replies?.[i];
      plan.waitedFor.delete(member);
      if (reply?.ok === true && reply.epoch === plan.epoch) {
        plan.replies.set(member, { ...reply, want });
      } else if (reply) {
        views.learn(plan.request.slice, reply.ok ? reply : reply.view);
      }
    }
    this.#wake();
  }
}

/** One plan's part of a message to a member. */
interface Asked {
  readonly plan: Plan;
  readonly want: Want;
}

function lacking({ members, replies }: Plan): number {
  return majorityOf(members.length) - replies.size;
}

/** The next member to ask. */
function next({ members, asked, replies }: Plan): VoterId | undefined {
  return members.find((member) => !asked.has(member) && !replies.has(member));
}

/** Members whose answer may still be expected. */
function inTime({ waitedFor }: Plan, now: number) {
  return [...waitedFor.values()].filter(({ askedAtMs }) => now < askedAtMs + callTimeoutMs);
}
