// Range reads without a leader: pages of several slices, one message a node; rule 6 of fast-read.ts key by key.
// A page ends at the smallest last key of any truncated reply, so that a key that only one replica shows is not
// skipped. Keys on which the members disagree are read by the leader.
import { scanLeaderReadsMax } from "../../shared/limits.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { NO_VERSION, type Version } from "../../shared/versions.ts";
import { compareUtf8 } from "../../shared/utf8.ts";
import { type FastReadOptions, mayAnswer } from "./fast-read.ts";
import { decodeState, isTombstone, valueOf } from "./register-state.ts";
import { type Plan, ScanPoll } from "./scan-poll.ts";
import { type RegisterKey, type ScanPage, type ScanRequest, type ScanRow } from "./types.ts";
import { Slots } from "./slots.ts";

export interface ScanOptions extends FastReadOptions {
  readonly readByLeader: (slice: Slice, key: RegisterKey) => Promise<StoredRegister>;
}

/**
 * Pages in the order of the requests, whose limits are at least 1. Throws Unavailable without a majority.
 * @param isOver nobody waits for them any more
 */
export async function scan(
  options: ScanOptions,
  requests: readonly ScanRequest[],
  isOver: () => boolean,
): Promise<ScanPage[]> {
  const plans = await new ScanPoll(options, requests).run(isOver);
  const slots = new Slots(scanLeaderReadsMax);
  const readByLeader: ScanOptions["readByLeader"] = (slice, key) =>
    slots.run(() => options.readByLeader(slice, key));
  return Promise.all(plans.map((plan) => mergePage(readByLeader, plan)));
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
  const rows = await Promise.all(
    keys.map(async (name): Promise<ScanRow | undefined> => {
      const key = name as RegisterKey;
      const { versions, value } = found.get(name)!;
      const version = versions[0] ?? NO_VERSION;
      const agree = versions.length === replies.length && versions.every((one) => one === version);
      const settled =
        agree &&
        value !== undefined &&
        mayAnswer(version, plan.epoch, replies.length, plan.members.length);
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
