// One slice with three real replicas and leaders made by hand; a test decides which calls arrive.
import { type MemberLink } from "../../../node/index/member-link.ts";
import { NoEffects } from "../../../node/index/no-effects.ts";
import { Replica } from "../../../node/index/replica.ts";
import { SliceLeader } from "../../../node/index/slice-leader.ts";
import {
  type ChainOperation,
  type RegisterKey,
  type RegisterOperation,
  type RegisterResult,
  registerKey,
} from "../../../node/index/types.ts";
import { silentLog } from "../../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../../node/runtime/memory-store.ts";
import {
  type RequestId,
  type VoterId,
  parseFolderId,
  parseNodeId,
  parseRequestId,
  voterIdOf,
} from "../../../shared/ids.ts";
import { type Precondition } from "../../../shared/records.ts";
import { type Slice } from "../../../shared/slices.ts";
import { makeBallot } from "../../../shared/versions.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";
import { BUCKET } from "./index-cluster.ts";

export type LeaderCall = "prepare" | "accept" | "readReg" | "confirm" | "names";
/** true: arrives; false: lost; a promise: arrives when it is resolved. */
export type Fate = boolean | Promise<void>;

export const SLICE = 7 as Slice;

export class LeaderBench {
  readonly clock = new VirtualClock();
  readonly voters: readonly VoterId[];
  readonly replicas: readonly Replica[];
  readonly calls: { call: LeaderCall; to: number; atMs: number }[] = [];
  readonly missed: number[] = [];
  fate: (call: LeaderCall, to: number) => Fate = () => true;
  #requests = 0;

  constructor() {
    this.voters = ["1", "2", "3"].map((digit) =>
      voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
    );
    const view = { epoch: 1, members: this.voters };
    this.replicas = this.voters.map((voter) => {
      const store = openMemoryStore(new MemoryDisk(), this.clock, { syncMs: 1 });
      return new Replica({ store, voter, viewOf: () => view });
    });
  }

  /** Makes member `at` the leader of `round` by the promises of these members. */
  async elect(at: number, round: number, by = [0, 1, 2], named = true): Promise<SliceLeader> {
    const ballot = makeBallot(1, round, this.voters[at]!);
    const names = new Set<string>();
    for (const member of by) {
      const [reply] = await this.run(this.replicas[member]!.prepare([{ slice: SLICE, ballot }]));
      if (!reply?.ok) throw new Error(`Cannot elect: member ${member} refuses`);
      for (const name of reply.keys ?? []) names.add(name);
    }
    return new SliceLeader({
      slice: SLICE,
      ballot,
      members: this.voters,
      names: named ? names : undefined,
      link: this.#link(at),
      clock: this.clock,
      log: silentLog,
      noEffects: new NoEffects(this.clock),
      newRequestId: () => this.requestId(),
      onMissed: (_, member) => void this.missed.push(this.voters.indexOf(member)),
      onDeposed: () => {},
    });
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.settle(work, { deadlineMs: this.clock.now + 60_000 });
  }

  requestId(): RequestId {
    return parseRequestId((++this.#requests).toString(16).padStart(32, "0"));
  }

  key(name: string): RegisterKey {
    return registerKey("object", BUCKET, name);
  }

  do(
    leader: SliceLeader,
    name: string,
    operation: RegisterOperation,
    requestId = this.requestId(),
  ): Promise<RegisterResult> {
    return this.run(this.begin(leader, name, operation, requestId));
  }

  begin(
    leader: SliceLeader,
    name: string,
    operation: RegisterOperation,
    requestId = this.requestId(),
  ): Promise<RegisterResult> {
    const body = new TextEncoder().encode(name);
    return leader.execute(this.key(name), operation, requestId, body);
  }

  put(etag: string, precondition: Precondition = {}): ChainOperation {
    const entry = { headers: {}, metadata: {}, size: 1, etag, body: { kind: "inline" } } as const;
    return { type: "commit", entry, precondition };
  }

  async etag(leader: SliceLeader, name: string): Promise<string | undefined> {
    const { value } = await this.run(leader.read(this.key(name), false));
    return /"etag":"([^"]*)"/u.exec(value ?? "")?.[1];
  }

  #link(from: number): MemberLink {
    const carry = async <T>(
      call: LeaderCall,
      member: VoterId,
      work: (replica: Replica) => Promise<T> | T,
    ): Promise<T> => {
      const to = this.voters.indexOf(member);
      this.calls.push({ call, to, atMs: this.clock.now });
      const fate = this.fate(call, to);
      if (fate === false) await new Promise(() => {});
      if (fate instanceof Promise) await fate;
      await this.clock.sleep(1);
      return work(this.replicas[to]!);
    };
    const unused = (): never => {
      throw new Error("Unused");
    };
    return {
      self: this.voters[from]!,
      prepare: (member, claims) => carry("prepare", member, (replica) => replica.prepare(claims)),
      accept: (member, { slice, ballot }, writes) =>
        carry("accept", member, (replica) => replica.accept(slice, ballot, writes)),
      readReg: (member, { slice, ballot }, keys) =>
        carry("readReg", member, (replica) => replica.readReg(slice, ballot, keys)),
      names: (member, { slice, ballot }, after) =>
        carry("names", member, (replica) => replica.names(slice, ballot, after)),
      confirm: (member, { slice, ballot }) =>
        carry("confirm", member, (replica) => replica.confirm(slice, ballot)),
      readFast: unused,
      scan: unused,
      readLocal: (slice, key) => this.replicas[from]!.read(slice, key, "body"),
    };
  }
}
