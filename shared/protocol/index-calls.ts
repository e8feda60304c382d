// Calls of the index module: replicated registers in views (ballots and versions: shared/versions.ts).
// A register crosses the wire as its stored text, so that replicas never decode what they only keep.
import * as z from "zod/mini";
import { type RequestId, type VoterId } from "../ids.ts";
import { blockIdSchema, nodeIdSchema } from "../records.ts";
import { type Slice } from "../slices.ts";
import { type Ballot, type Version } from "../versions.ts";

const count = z.int().check(z.nonnegative());
const slice = z.custom<Slice>((value) => Number.isInteger(value) && (value as number) >= 0);
const ballot = z.custom<Ballot>((value) => typeof value === "string" && value.length === 64);
const version = z.custom<Version>(
  (value) => typeof value === "string" && (value.length === 76 || value.length === 0),
);
/** A ballot, or "" where nobody has promised anything. */
const promise = z.custom<Ballot>(
  (value) => typeof value === "string" && (value.length === 64 || value.length === 0),
);
const key = z.string().check(z.minLength(33));
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

const voter = z.custom<VoterId>((value) => typeof value === "string" && value.length === 48);

const view = z.object({ epoch: count, members: z.readonly(z.array(voter).check(z.maxLength(5))) });
const viewChange = z.object({ view, previous: view });
/** A view with what it was made from; absent for epoch 1, or when the teller does not know. */
const knownView = z.object({ ...view.shape, previous: z.optional(view) });

/** Why a replica does not take part: it promised a higher ballot, or it is not (any more) active in that epoch. */
const refusal = z.object({
  ok: z.literal(false),
  reason: z.enum(["promised", "epoch"]),
  promised: promise,
  epoch: count,
  /** With reason "epoch": the newest view that the replica knows of. */
  view: z.optional(knownView),
});
export type Refusal = z.infer<typeof refusal>;

/** A register as replicas keep it. */
export const registerSchema = z.object({
  key,
  /** "" when the register was never written. */
  version,
  /** Encoded state; absent when only the version was asked for. */
  value: z.optional(z.string()),
  /** Inline body; absent when there is none or it was not asked for. */
  body: z.optional(bytes),
});
export type StoredRegister = z.infer<typeof registerSchema>;

/** What of a register is wanted. */
const want = z.enum(["version", "value", "body"]);
export type Want = z.infer<typeof want>;

const rangeRow = z.object({ key, version, value: z.optional(z.string()) });

/** (key, version) of registers in the order of their keys; `more`: others follow. */
const versionPage = z.object({ rows: z.array(z.object({ key, version })), more: z.boolean() });
export type VersionPage = z.infer<typeof versionPage>;

/** `leader` is the node to ask instead, `view` the newest view, as far as the one that was asked knows. */
const notLeader = z.object({
  type: z.literal("notLeader"),
  leader: z.optional(z.string()),
  view: z.optional(knownView),
});

export const indexCalls = {
  /** PREPARE for many slices in one message and one fsync. Replies in the order of the claims. */
  "index.prepare": {
    request: z.object({ claims: z.array(z.object({ slice, ballot })) }),
    reply: z.array(
      z.union([
        /** `keys` names every register of the slice; absent when there are too many to name. */
        z.object({ ok: z.literal(true), keys: z.optional(z.array(z.string())) }),
        refusal,
      ]),
    ),
  },
  /** READREG: answered only under exactly the promised ballot. */
  "index.readreg": {
    request: z.object({ slice, ballot, keys: z.array(key) }),
    reply: z.union([
      z.object({ ok: z.literal(true), registers: z.array(registerSchema) }),
      refusal,
    ]),
  },
  /** Names of a slice under a ballot, in pages, for slices too large for a promise. */
  "index.names": {
    request: z.object({ slice, ballot, after: z.string() }),
    reply: z.union([
      z.object({ ok: z.literal(true), keys: z.array(z.string()), more: z.boolean() }),
      refusal,
    ]),
  },
  /** ACCEPT: durable before the reply. */
  "index.accept": {
    request: z.object({ slice, ballot, writes: z.array(registerSchema) }),
    reply: z.union([z.object({ ok: z.literal(true) }), refusal]),
  },
  /** CONFIRM: the ballot is still the promised one. */
  "index.confirm": {
    request: z.object({ slice, ballot }),
    reply: z.union([z.object({ ok: z.literal(true) }), refusal]),
  },
  /** READFAST: needs no leader; see fast-read.ts for the rule. */
  "index.readfast": {
    request: z.object({ slice, key, want }),
    reply: z.union([
      z.object({
        ok: z.literal(true),
        epoch: count,
        members: z.array(voter),
        register: registerSchema,
      }),
      refusal,
    ]),
  },
  /** Range READFAST of several slices in one message. */
  "index.scan": {
    request: z.object({
      ranges: z.array(z.object({ slice, from: z.string(), to: z.string(), limit: count, want })),
    }),
    reply: z.array(
      z.union([
        z.object({
          ok: z.literal(true),
          epoch: count,
          members: z.array(voter),
          rows: z.array(rangeRow),
          /** The range holds more rows behind the last one. */
          more: z.boolean(),
        }),
        refusal,
      ]),
    ),
  },
  /** An operation for the slice's leader. `urge`: another member did not answer, campaign if need be. */
  "index.execute": {
    request: z.object({
      slice,
      key,
      /** JSON of a RegisterOperation. */
      operation: z.string(),
      requestId: z.custom<RequestId>((value) => typeof value === "string" && value.length === 32),
      body: z.optional(bytes),
      urge: z.boolean(),
      /** An earlier attempt may still be under way: the outcome is to be remembered even without an effect. */
      again: z.optional(z.boolean()),
    }),
    reply: z.union([
      /** JSON of a RegisterResult. */
      z.object({ type: z.literal("done"), result: z.string() }),
      notLeader,
    ]),
  },
  /** A linearizable read by the slice's leader. */
  "index.read": {
    request: z.object({ slice, key, body: z.boolean(), urge: z.boolean() }),
    reply: z.union([z.object({ type: z.literal("done"), register: registerSchema }), notLeader]),
  },
  /** Whether the receiver leads the slice. Nobody campaigns for this question. */
  "index.leader": {
    request: z.object({ slice }),
    reply: z.union([z.object({ type: z.literal("done") }), notLeader]),
  },
  /** Tells the slice's leader that a block of a register wants repair; `bad`: the copy there failed a read. */
  "index.report": {
    request: z.object({ slice, key, block: blockIdSchema, bad: z.optional(nodeIdSchema) }),
    reply: z.union([z.object({ type: z.literal("done") }), notLeader]),
  },
  /** Anti-entropy: a digest over (key, version) of each slice, and views later than those in which the asker votes. */
  "index.digests": {
    request: z.object({ slices: z.array(slice), epochs: z.array(count) }),
    reply: z.object({
      digests: z.array(z.string()),
      views: z.array(z.object({ slice, view: knownView })),
    }),
  },
  /** Anti-entropy: (key, version) of a slice in pages. */
  "index.versions": {
    request: z.object({ slice, after: z.string() }),
    reply: versionPage,
  },
  /** Anti-entropy: whole registers. */
  "index.fetch": {
    request: z.object({ slice, keys: z.array(key) }),
    reply: z.object({ epoch: count, registers: z.array(registerSchema) }),
  },
  /** A view was decided: its members join it. Answered when the receiver is active in it, or after a while. */
  "index.install": {
    /** `settled`: all members of the view that live are active; for those who left. */
    request: z.object({ slice, change: viewChange, settled: z.boolean() }),
    /** `active`: the receiver is, or was, in the view of the change or a later one; `epoch`: the latest that it knows of. */
    reply: z.object({ epoch: count, active: z.boolean() }),
  },
  /**
   * A member that has become active in a view tells its first one what that would ask it by PREPARE: that it has promised
   * the ballot that came with the view. Answered when the receiver leads there, or cannot by this promise, or after a
   * while.
   */
  "index.promised": {
    request: z.object({ slice, ballot, member: voter, keys: z.optional(z.array(z.string())) }),
    reply: z.object({ leads: z.boolean() }),
  },
  /**
   * A view was decided, and its leader hands over: the receiver notes durably that it joins, gives up its vote in the
   * previous view, and serves this leader still. `serves`: it does both.
   */
  "index.enter": {
    request: z.object({ slice, change: viewChange, leader: ballot }),
    reply: z.object({ serves: z.boolean() }),
  },
  /** Who has entered a change gathers what it needs. Answered when it is active, or after a while. */
  "index.join": {
    request: z.object({ slice, change: viewChange }),
    reply: z.object({ active: z.boolean() }),
  },
  /**
   * The leader of the previous view has ended, and all it decided is where the new one finds it: its first member leads.
   * `active` are those who have promised it that with the view; `names` those of all registers, unless there are many.
   */
  "index.lead": {
    request: z.object({
      slice,
      ballot,
      active: z.array(voter).check(z.maxLength(5)),
      names: z.optional(z.array(z.string())),
    }),
    reply: z.object({ leads: z.boolean() }),
  },
  /**
   * SEAL: a member of the previous view gives up its vote for good, durably, before it answers. With `leader`, it goes on
   * to serve that one, who hands over.
   */
  "index.seal": {
    request: z.object({ slice, change: viewChange, leader: z.optional(ballot) }),
    reply: z.union([
      /**
       * `sealed`: a source, with a majority of others. `empty`: never was active in that view and never will be, counts
       * beside a source. `joined`: was or is active in the new view, a source alone. With the first page of what it holds.
       */
      z.object({
        ok: z.literal(true),
        state: z.enum(["sealed", "empty", "joined"]),
        page: z.optional(versionPage),
      }),
      refusal,
    ]),
  },
  /** (key, version) of what a sealed or active member of an epoch holds, in pages. */
  "index.snapshot": {
    request: z.object({ slice, epoch: count, after: z.string() }),
    reply: z.union([z.object({ ok: z.literal(true), ...versionPage.shape }), refusal]),
  },
  /**
   * Before a change: copy what `source`, active in `epoch`, holds; `page` is the first page of that, when it is at hand.
   * Asked again until it is complete.
   */
  "index.precopy": {
    request: z.object({ slice, epoch: count, source: voter, page: z.optional(versionPage) }),
    reply: z.object({ complete: z.boolean() }),
  },
  /** The newest views that a node knows of some slices; of all beyond epoch 1 behind `after` when none are named. */
  "index.views": {
    request: z.object({ slices: z.optional(z.array(slice)), after: z.optional(z.int()) }),
    reply: z.object({ views: z.array(z.object({ slice, view: knownView })), more: z.boolean() }),
  },
  /**
   * An operator's order after the loss of majorities: go on without these nodes. `startAnyway`: slices that nobody who
   * is left holds begin with what happens to be there. `orphans`: the callee sees to those of which nobody is left at
   * all; one node does. Gives how many slices the callee makes go on; which it cannot yet, and why; and how many nobody
   * holds, of those that it would begin anew.
   */
  "index.recover": {
    request: z.object({
      lost: z.array(nodeIdSchema),
      startAnyway: z.boolean(),
      orphans: z.boolean(),
    }),
    reply: z.object({
      slices: count,
      blocked: z.array(slice),
      reasons: z.array(z.string()),
      unheld: count,
    }),
  },
  /** A leader tells a member that it missed writes of these slices. */
  "index.behind": {
    request: z.object({ slices: z.array(slice) }),
    reply: z.object({}),
  },
} as const;
