// Reads without a leader: a majority of the view that agrees on a version answers at once.
// The rule: all of them active in the same epoch e, the same version, and that version written in e (or never
// written); or all members with the same version of any epoch. Everything else is for the leader.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { type StoredRegister, type Want } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version, epochOf } from "../../shared/versions.ts";
import { type Clock } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { type IndexFaults } from "./faults.ts";
import { type MajorityWatch } from "./majority-watch.ts";
import { type MemberLink } from "./member-link.ts";
import { type ReplyTimes } from "./reply-times.ts";
import { type ViewDirectory } from "./view-directory.ts";
import { type View, majorityOf } from "./views.ts";

export interface FastReadOptions {
  readonly link: MemberLink;
  readonly clock: Clock;
  readonly route: Pick<Route, "find">;
  readonly views: Pick<ViewDirectory, "viewOf" | "learn" | "search">;
  readonly replyTimes: ReplyTimes;
  /** Told who answers, so that what follows a read in vain need not find out again. */
  readonly majority?: Pick<MajorityWatch, "heard" | "silent"> | undefined;
  readonly faults?: IndexFaults | undefined;
}

/** Whether `count` of `members` members with this version in this epoch may answer a read. */
export function mayAnswer(
  version: Version,
  epoch: number,
  count: number,
  members: number,
  faults?: IndexFaults,
): boolean {
  if (count === members) return true;
  if (faults?.crossEpochFastRead === true) return count >= majorityOf(members);
  const current = version === NO_VERSION || epochOf(version) === epoch;
  return current && count >= majorityOf(members);
}

/** Members to ask, the best first: this node, then live ones, then the rest; each group in the view's order. */
export function readOrder(view: View, self: VoterId, route: Pick<Route, "find">): VoterId[] {
  const rank = (member: VoterId): number => {
    if (member === self) return 0;
    return route.find(nodeOfVoter(member))?.state === "alive" ? 1 : 2;
  };
  return view.members.toSorted((a, b) => rank(a) - rank(b));
}

/**
 * The register by a majority's word; undefined when the members disagree or too few answer: ask the leader.
 * Members of a view that has passed say so; then those of the next one are asked.
 */
export async function fastRead(
  options: FastReadOptions,
  slice: Slice,
  key: string,
  withBody: boolean,
): Promise<StoredRegister | undefined> {
  for (;;) {
    const view = options.views.viewOf(slice);
    const found = await readIn(options, view, slice, key, withBody);
    if (found || options.views.viewOf(slice).epoch === view.epoch) return found;
  }
}

function readIn(
  options: FastReadOptions,
  view: View,
  slice: Slice,
  key: string,
  withBody: boolean,
): Promise<StoredRegister | undefined> {
  const { link, clock, route } = options;
  const order = readOrder(view, link.self, route);
  const quorum = majorityOf(order.length);
  const full: Want = withBody ? "body" : "value";
  const { promise, resolve } = Promise.withResolvers<StoredRegister | undefined>();
  const byVersion = new Map<string, { count: number; register: StoredRegister | undefined }>();
  let asked = 0;
  let ended = 0;

  const askNext = (want: Want): void => {
    const member = order[asked];
    if (member === undefined) return;
    asked++;
    const askedAtMs = clock.monotonicMs();
    link.readFast(member, slice, key, want).then(
      (reply) => {
        if (member !== link.self) {
          options.replyTimes.add(clock.monotonicMs() - askedAtMs);
          options.majority?.heard(nodeOfVoter(member));
        }
        if (reply.ok && reply.epoch === view.epoch && reply.members.includes(member)) {
          count(reply.register, want === full, reply.epoch);
        } else {
          const told = reply.ok ? { epoch: reply.epoch, members: reply.members } : reply.view;
          options.views.learn(slice, told);
          askNext(full);
        }
        finishOne();
      },
      () => {
        if (member !== link.self) options.majority?.silent(nodeOfVoter(member), askedAtMs);
        askNext(full);
        finishOne();
      },
    );
  };
  const count = (register: StoredRegister, isFull: boolean, epoch: number): void => {
    const group = byVersion.get(register.version) ?? { count: 0, register: undefined };
    byVersion.set(register.version, group);
    group.count++;
    if (isFull) group.register = register;
    const { faults } = options;
    if (group.register && mayAnswer(register.version, epoch, group.count, order.length, faults)) {
      hedge.cancel();
      resolve(group.register);
    }
  };
  const finishOne = (): void => {
    ended++;
    if (ended < asked) return;
    hedge.cancel();
    resolve(undefined);
  };
  const hedge = clock.after(options.replyTimes.hedgeDelayMs(), () => {
    while (asked < order.length) askNext(full);
  });
  askNext(full);
  while (asked < quorum) askNext("version");
  return promise;
}
