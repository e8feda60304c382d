// Native writers that take one lock in turn, at random: they poll, write, renew, release, cancel, fall asleep past
// their lease, and go on with a fence that is none any more; while nodes crash and stand still, links break and
// messages come twice. What they saw goes to the checker of lock histories.
import { type FaultKind } from "./fault-kinds.ts";
import { Faults } from "./faults.ts";
import {
  type LockAction,
  type LockOperation,
  type LockOutcome,
  type LockVerdict,
  checkLocks,
} from "./lock-checker.ts";
import { KEY, Scene } from "./scene.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { type WorldOptions } from "./world.ts";
import { objectAddress } from "../../node/object/addresses.ts";
import { RingstowError } from "../../shared/errors.ts";
import { parseRequestId, type RequestId, toHex } from "../../shared/ids.ts";
import {
  type ChainOperation,
  type ChainResult,
  type Index,
  type RegisterAddress,
} from "../../node/index/types.ts";

export interface LockSearchOptions {
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  readonly world?: Partial<WorldOptions>;
}

const clients = 4;
const turnsEach = 3;
const leaseMs = 3_000;
const attemptMs = 22_000; // a coordinator tries for 20 s
const driftPpm = 10_000; // 1 %, of each clock

export interface LockReport {
  readonly verdict: LockVerdict;
  readonly history: readonly LockOperation[];
  readonly problems: readonly string[];
}

/** One run of a seed: four writers on one name. */
export async function searchLocks({ seed, kinds, world: more }: LockSearchOptions) {
  const scene = await Scene.open({ seed, nodes: 5, syncMs: 1, driftPpm, ...more });
  const { world } = scene;
  const chance = world.chance.fork("lock search");
  const faults = new Faults(world, {
    kinds,
    without: [],
    everyMs: chance.pick([700, 2_000, 5_000]),
    lastMs: chance.pick([500, 2_000, 6_000]),
    downMax: 1,
  });
  Object.assign(world.conditions.quality, {
    jitterMs: chance.pick([0, 3, 20]),
    loss: kinds.length > 0 ? chance.pick([0, 0.01]) : 0,
    duplication: chance.pick([0, 0.05]),
  });
  const writers = Array.from({ length: clients }, (_, i) => new LockWriter(scene, i));
  faults.begin();
  const deadlineMs = world.clock.now + 1_200_000;
  await world.clock.settle(Promise.all(writers.map((writer) => writer.run())), { deadlineMs });
  faults.end();
  await world.heal();
  await world.clock.settle(writers[0]!.version(), { deadlineMs: world.clock.now + 60_000 });
  const history = writers.flatMap((writer) => writer.history);
  // Faster clocks end a lease earlier by as much as clocks may drift.
  const verdict = checkLocks(history, { leaseMs: leaseMs * (1 - (2 * driftPpm) / 1_000_000) });
  return { verdict, history, problems: scene.problems() } satisfies LockReport;
}

let ticks = 0;

class LockWriter {
  readonly history: LockOperation[] = [];
  readonly #scene: Scene;
  readonly #name: string;
  readonly #chance: SeededChance;
  readonly #at: RegisterAddress;

  constructor(scene: Scene, number: number) {
    this.#scene = scene;
    this.#name = `w${number}`;
    this.#chance = scene.world.chance.fork(this.#name);
    this.#at = objectAddress(scene.bucket, KEY, scene.world.genesis.sliceBits);
  }

  async run(): Promise<void> {
    for (let turn = 0; turn < turnsEach; turn++) await this.#turn();
  }

  async #turn(): Promise<void> {
    const chance = this.#chance;
    const requestId = this.#requestId();
    if (chance.happens(0.1)) void this.#cancelSoon(requestId);
    const fence = await this.#acquire(requestId);
    if (fence === undefined) return;
    await this.#pause(300);
    if (chance.happens(0.3)) await this.#write(fence);
    if (chance.happens(0.3)) await this.#renew(fence);
    // Some stand still past their lease, and go on as if nothing had happened.
    if (chance.happens(0.3))
      await this.#scene.world.clock.sleep(leaseMs * (0.5 + chance.fraction()));
    await this.#write(fence);
    if (chance.happens(0.2)) return; // dies with the lock
    await this.#release(fence);
    if (chance.happens(0.2)) await this.#release(fence);
    if (chance.happens(0.2)) await this.#write(fence);
  }

  /** Polls until the lock is granted; undefined when it is given up. */
  async #acquire(requestId: RequestId): Promise<number | undefined> {
    const operation = { type: "acquire", holder: this.#name, leaseMs } as const;
    for (let polls = 0; polls < 12; polls++) {
      const outcome = await this.#note({ kind: "acquire", requestId }, operation, requestId);
      if (outcome.kind === "granted") return outcome.fence;
      if (outcome.kind === "refused") return undefined;
      if (this.#chance.happens(0.03)) return undefined; // dies in the queue
      await this.#pause(700);
    }
    await this.#cancel(requestId);
    return undefined;
  }

  async #cancelSoon(requestId: RequestId): Promise<void> {
    await this.#pause(600);
    await this.#cancel(requestId);
  }

  #cancel(requestId: RequestId): Promise<unknown> {
    return this.#note({ kind: "cancel", requestId }, { type: "cancel", requestId });
  }

  #renew(fence: number): Promise<unknown> {
    return this.#note({ kind: "renew", fence }, { type: "renew", fence });
  }

  #release(fence: number): Promise<unknown> {
    return this.#note({ kind: "release", fence }, { type: "release", fence });
  }

  #write(fence: number): Promise<unknown> {
    const etag = toHex(this.#chance.bytes(16));
    const entry = { headers: {}, metadata: {}, size: 1, etag, body: { kind: "inline" } } as const;
    return this.#note({ kind: "write", fence }, { type: "publish", fence, entry });
  }

  /** A linearizable read of the version. */
  async version(): Promise<void> {
    const end = this.#begin({ kind: "read" });
    const { value } = await this.#scene.world
      .node(this.#scene.world.up()[0]!)
      .index.read(this.#at, { body: false });
    end({ kind: "version", version: value?.kind === "object" ? value.chain.version : 0 });
  }

  /** Runs an operation, sent again to another node while its outcome is unknown; three times at most. */
  async #note(
    action: LockAction,
    operation: ChainOperation,
    requestId = this.#requestId(),
  ): Promise<LockOutcome> {
    const { world } = this.#scene;
    const end = this.#begin(action);
    for (let attempt = 0; attempt < 3; attempt++) {
      if (attempt > 0) await this.#pause(300);
      const up = world.up();
      if (up.length === 0) continue;
      const { index } = world.node(this.#chance.pick(up));
      const outcome = await this.#attempt(index, operation, requestId, attempt > 0);
      if (outcome) return end(outcome);
    }
    return { kind: "unknown" };
  }

  async #attempt(
    index: Index,
    operation: ChainOperation,
    requestId: RequestId,
    again: boolean,
  ): Promise<LockOutcome | undefined> {
    const { clock, defects } = this.#scene.world;
    const options = { requestId, again, body: Uint8Array.of(1) };
    const answered = index.execute(this.#at, operation, options).then(
      (result) => outcomeOf(operation, result as ChainResult),
      (error: unknown): LockOutcome | undefined => {
        if (!(error instanceof RingstowError)) defects.push(`a writer saw ${String(error)}`);
        else if (error.code === "FenceTooOld") return { kind: "refused" };
        else if (!error.retryable) defects.push(`a writer saw ${error.code}: ${error.message}`);
        return undefined;
      },
    );
    // A node that crashed or stands still never answers.
    return Promise.race([answered, clock.sleep(attemptMs).then(() => undefined)]);
  }

  #begin(action: LockAction): (outcome: LockOutcome) => LockOutcome {
    const { clock } = this.#scene.world;
    const place = this.history.length;
    const called = { action, calledAt: ++ticks, calledMs: clock.now, note: this.#name };
    this.history.push({ ...called, outcome: { kind: "unknown" }, answeredAt: 0, answeredMs: 0 });
    return (outcome) => {
      this.history[place] = { ...called, outcome, answeredAt: ++ticks, answeredMs: clock.now };
      return outcome;
    };
  }

  #pause(mostMs: number): Promise<void> {
    return this.#scene.world.clock.sleep(this.#chance.fraction() * mostMs);
  }

  #requestId(): RequestId {
    return parseRequestId(toHex(this.#chance.bytes(16)));
  }
}

function outcomeOf({ type }: ChainOperation, result: ChainResult): LockOutcome {
  switch (result.type) {
    case "granted":
      return type === "renew" ? { kind: "ok" } : { kind: "granted", fence: result.fence };
    case "queued":
      return { kind: "queued", place: result.place };
    case "committed":
      return { kind: "version", version: result.version };
    default:
      return { kind: "ok" };
  }
}
