// Range reads without a leader: pages of several slices, one message a node; rule 6 of fast-read.ts key by key.
// A page ends at the smallest last key of any truncated reply, so that a key that only one replica shows is not
// skipped. Keys on which the members disagree are read by the leader.
import { RingstowError } from "../../shared/errors.ts";
import { type VoterId } from "../../shared/ids.ts";
import {
  askAgainMs,
  operationDeadlineMs,
  scanLeaderReadsMax,
  scanRowsMax,
} from "../../shared/limits.ts";
import { type StoredRegister, type Want } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version } from "../../shared/versions.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type FastReadOptions, mayAnswer, readOrder } from "./fast-read.ts";
import { type ScanRange } from "./member-link.ts";
import { decodeState, isTombstone, valueOf } from "./register-state.ts";
import { type ScanReply } from "./replica-replies.ts";
import { type RegisterKey, type ScanPage, type ScanRequest, type ScanRow } from "./types.ts";
import { Slots } from "./slots.ts";
import { majorityOf } from "./views.ts";

export interface ScanOptions extends FastReadOptions {
  readonly readByLeader: (slice: Slice, key: RegisterKey) => Promise<StoredRegister>;
}

type Reply = Extract<ScanReply, { ok: true }> & { readonly wanted: Want };

/** Which members answer for one request, and what they said. */
interface Plan {
  readonly request: ScanRequest;
  readonly members: readonly VoterId[];
  readonly asked: Set<VoterId>;
  readonly replies: Map<VoterId, Reply>;
}

/** Pages in the order of the requests, whose limits are at least 1. Throws Unavailable without a majority. */
export async function scan(
  options: ScanOptions,
  requests: readonly ScanRequest[],
): Promise<ScanPage[]> {
  const plans = requests.map((request): Plan => {
    const members = readOrder(options.viewOf(request.slice), options.link.self, options.route);
    return { request, members, asked: new Set(), replies: new Map() };
  });
  const deadline = options.clock.monotonicMs() + operationDeadlineMs;
  let missing = plans;
  while (missing.length > 0) {
    await askMembers(options, missing);
    missing = missing.filter(({ replies, members }) => replies.size < majorityOf(members.length));
    if (missing.length > 0 && options.clock.monotonicMs() > deadline) {
      throw new RingstowError("Unavailable", "Too few replicas of a slice answer");
    }
  }
  const slots = new Slots(scanLeaderReadsMax);
  const readByLeader: ScanOptions["readByLeader"] = (slice, key) =>
    slots.run(() => options.readByLeader(slice, key));
  return Promise.all(plans.map((plan) => mergePage(readByLeader, plan)));
}

/** Asks as many more members of each plan as its majority lacks, grouped by member. */
async function askMembers(options: ScanOptions, plans: readonly Plan[]): Promise<void> {
  const byMember = new Map<VoterId, { plan: Plan; range: ScanRange }[]>();
  let stuck = false;
  for (const plan of plans) {
    const lacking = majorityOf(plan.members.length) - plan.replies.size;
    const silent = plan.members.filter((member) => !plan.replies.has(member));
    let fresh = silent.filter((member) => !plan.asked.has(member)).slice(0, lacking);
    if (fresh.length < lacking) {
      // Everybody was asked: begin again with those that did not answer, after a pause.
      stuck = true;
      plan.asked.clear();
      fresh = silent.slice(0, lacking);
    }
    const haveValues = [...plan.replies.values()].some((reply) => reply.wanted === "value");
    for (const member of fresh) {
      plan.asked.add(member);
      const { slice, from, to, limit } = plan.request;
      // Values from one member are enough; when versions differ, the leader is asked anyway.
      const want = !haveValues && member === fresh[0] ? "value" : "version";
      const range: ScanRange = { slice, from, to, limit: Math.min(limit, scanRowsMax), want };
      const group = byMember.get(member) ?? [];
      group.push({ plan, range });
      byMember.set(member, group);
    }
  }
  if (stuck) await new Promise<void>((again) => void options.clock.after(askAgainMs, again));
  await Promise.all(
    [...byMember].map(async ([member, group]) => {
      const ranges = group.map(({ range }) => range);
      const replies = await options.link.scan(member, ranges).catch(() => undefined);
      group.forEach(({ plan }, i) => {
        const reply = replies?.[i];
        const epoch = options.viewOf(plan.request.slice).epoch;
        if (reply?.ok === true && reply.epoch === epoch) {
          plan.replies.set(member, { ...reply, wanted: ranges[i]!.want });
        }
      });
    }),
  );
}

async function mergePage(readByLeader: ScanOptions["readByLeader"], plan: Plan): Promise<ScanPage> {
  const replies = [...plan.replies.values()];
  let end = replies
    .filter((reply) => reply.more)
    .map((reply) => reply.rows.at(-1)!.key)
    .reduce<string | undefined>(
      (least, key) => (least === undefined || compareUtf8(key, least) < 0 ? key : least),
      undefined,
    );
  const found = new Map<string, { versions: Version[]; value: string | undefined }>();
  for (const reply of replies) {
    for (const row of reply.rows) {
      if (end !== undefined && compareUtf8(row.key, end) > 0) break;
      const entry = found.get(row.key) ?? { versions: [], value: undefined };
      entry.versions.push(row.version);
      entry.value ??= row.value;
      found.set(row.key, entry);
    }
  }
  // Keys that only the second member has come behind those of the first.
  const keys = [...found.keys()];
  const inOrder = keys.every((key, i) => i === 0 || compareUtf8(keys[i - 1]!, key) < 0);
  if (!inOrder) keys.sort(compareUtf8);
  if (keys.length > plan.request.limit) {
    // Each reply kept to the limit, and they named different keys.
    keys.length = plan.request.limit;
    end = keys.at(-1);
  }
  const epoch = replies[0]!.epoch;
  const rows = await Promise.all(
    keys.map(async (name): Promise<ScanRow | undefined> => {
      const key = name as RegisterKey;
      const { versions, value } = found.get(name)!;
      const version = versions[0] ?? NO_VERSION;
      const agree = versions.length === replies.length && versions.every((one) => one === version);
      const settled =
        agree &&
        value !== undefined &&
        mayAnswer(version, epoch, replies.length, plan.members.length);
      const text = settled ? value : (await readByLeader(plan.request.slice, key)).value;
      if (text === undefined || isTombstone(text)) return undefined;
      const decoded = valueOf(decodeState(text));
      return decoded && { key, value: decoded };
    }),
  );
  return {
    rows: rows.filter((row) => row !== undefined),
    // No string lies between a key and the key followed by U+0001: keys have no NUL.
    next: end === undefined ? undefined : (`${end}\u0001` as RegisterKey),
  };
}
