// Reads without a leader: a majority of the view that agrees on a version answers at once.
// The rule: all of them active in the same epoch e, the same version, and that version written in e (or never
// written); or all members with the same version of any epoch. Everything else is for the leader.
import { type VoterId, nodeOfVoter } from "../../shared/ids.ts";
import { type StoredRegister, type Want } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version, epochOf } from "../../shared/versions.ts";
import { type Clock } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { type MemberLink } from "./member-link.ts";
import { type ReplyTimes } from "./reply-times.ts";
import { type View, majorityOf } from "./views.ts";

export interface FastReadOptions {
  readonly link: MemberLink;
  readonly clock: Clock;
  readonly route: Pick<Route, "find">;
  readonly viewOf: (slice: Slice) => View;
  readonly replyTimes: ReplyTimes;
}

/** Whether `count` of `members` members with this version in this epoch may answer a read. */
export function mayAnswer(
  version: Version,
  epoch: number,
  count: number,
  members: number,
): boolean {
  if (count === members) return true;
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

/** The register by a majority's word; undefined when the members disagree or too few answer: ask the leader. */
export function fastRead(
  options: FastReadOptions,
  slice: Slice,
  key: string,
  withBody: boolean,
): Promise<StoredRegister | undefined> {
  const { link, clock, route } = options;
  const view = options.viewOf(slice);
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
        if (member !== link.self) options.replyTimes.add(clock.monotonicMs() - askedAtMs);
        if (reply.ok && reply.epoch === view.epoch && reply.members.includes(member)) {
          count(reply.register, want === full, reply.epoch);
        } else askNext(full);
        finishOne();
      },
      () => {
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
    if (group.register && mayAnswer(register.version, epoch, group.count, order.length)) {
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
