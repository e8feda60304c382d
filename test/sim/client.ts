// One client of the simulated cluster: picks a coordinator, tries again elsewhere with the same request id when an
// outcome is unknown, and writes what it saw into the history.
import { type History } from "./history.ts";
import { type Condition, type Value } from "./linearizability.ts";
import { etagOf, makeBody, readAll, streamOf } from "./bodies.ts";
import { type SeededChance } from "./seeded-chance.ts";
import { ConnectionLost } from "./machine.ts";
import { type World } from "./world.ts";
import { RingstowError } from "../../shared/errors.ts";
import { parseRequestId, type RequestId, toHex } from "../../shared/ids.ts";
import { type BucketRef, type ObjectService } from "../../shared/object-service.ts";
import { type Precondition } from "../../shared/records.ts";
import { compareUtf8 } from "../../shared/utf8.ts";

export interface ClientOptions {
  /** A client waits so long for one attempt. */
  readonly attemptMs: number;
  /** Attempts of one operation; all of them together must end before request ids are forgotten (60 s). */
  readonly attempts: number;
}

// Longer than a coordinator tries (20 s): then no earlier attempt is under way when the next begins.
const CLIENT_DEFAULTS: ClientOptions = { attemptMs: 22_000, attempts: 2 };

class NoAnswer extends Error {}

type Attempted<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "error"; readonly error: RingstowError }
  | { readonly kind: "unknown"; readonly reason: string };

export class Client {
  readonly name: string;
  readonly #world: World;
  readonly #history: History;
  readonly #chance: SeededChance;
  readonly #bucket: BucketRef;
  readonly #options: ClientOptions;
  #bodies = 0;

  constructor(
    name: string,
    world: World,
    history: History,
    bucket: BucketRef,
    options: Partial<ClientOptions> = {},
  ) {
    this.name = name;
    this.#world = world;
    this.#history = history;
    this.#bucket = bucket;
    this.#chance = world.chance.fork(`client ${name}`);
    this.#options = { ...CLIENT_DEFAULTS, ...options };
  }

  newRequestId(): RequestId {
    return parseRequestId(toHex(this.#chance.bytes(16)));
  }

  /** Writes a fresh body of about `size` bytes. Gives its ETag, and whether it was acknowledged. */
  async put(
    key: string,
    size: number,
    options: { condition?: Condition | undefined; at?: number; requestId?: RequestId } = {},
  ): Promise<{ value: string; outcome: "ok" | "refused" | "unknown"; reason: string }> {
    const { condition } = options;
    const body = makeBody(`${key} by ${this.name} #${++this.#bodies}`, size);
    const requestId = options.requestId ?? this.newRequestId();
    const open = this.#history.call(
      key,
      { kind: "put", value: body.etag, condition },
      this.#note(options.at),
    );
    const pieces = 1 + this.#chance.below(3);
    const ended = await this.#attempt(options.at, (object, again) =>
      object.put(
        {
          bucket: this.#bucket,
          key,
          headers: {},
          metadata: {},
          body: { length: body.bytes.length, encoding: "plain" },
          precondition: preconditionOf(condition),
          requestId,
          again,
        },
        streamOf(body.bytes, pieces),
      ),
    );
    if (ended.kind === "done" && ended.value.etag !== body.etag)
      this.#world.defects.push(`put of "${key}" answered ETag ${ended.value.etag}, not its MD5`);
    const reason = ended.kind === "unknown" ? ended.reason : "";
    return { value: body.etag, outcome: this.#endWrite(open, "put", ended), reason };
  }

  /** Reads a key; undefined when no coordinator gave an answer. */
  async get(key: string, options: { at?: number } = {}): Promise<{ value: Value } | undefined> {
    const open = this.#history.call(key, { kind: "get" }, this.#note(options.at));
    const ended = await this.#attempt(options.at, async (object): Promise<Value> => {
      const found = await object.get({
        bucket: this.#bucket,
        key,
        conditions: {},
        headOnly: false,
      });
      if (found.type !== "object") throw new Error(`Cannot read a get's answer "${found.type}"`);
      const bytes = await readAll(found.body);
      if (etagOf(bytes) !== found.entry.etag || bytes.length !== found.entry.size)
        this.#world.defects.push(
          `get of "${key}" gave ${bytes.length} bytes that are not its body`,
        );
      return found.entry.etag;
    });
    const missing = ended.kind === "error" && ended.error.code === "NoSuchKey";
    if (ended.kind !== "done" && !missing) {
      this.#history.count("get", "unknown");
      if (ended.kind === "error") this.#unexpected("get", ended.error);
      return undefined;
    }
    const value = ended.kind === "done" ? ended.value : undefined;
    open.answer({ kind: "ok", value });
    return { value };
  }

  async delete(key: string, options: { at?: number } = {}): Promise<"ok" | "refused" | "unknown"> {
    const requestId = this.newRequestId();
    const open = this.#history.call(key, { kind: "delete" }, this.#note(options.at));
    const ended = await this.#attempt(options.at, (object, again) =>
      object.delete({ bucket: this.#bucket, key, precondition: {}, requestId, again }),
    );
    if (ended.kind === "done") {
      open.answer({ kind: "ok", existed: ended.value.existed });
      return "ok";
    }
    return this.#endWrite(open, "delete", ended);
  }

  /**
   * Reads a key and replaces the value that it found, whatever that is: a list that grows, whose every value names the
   * one before. False when it could not be read.
   */
  async append(key: string, size: number): Promise<boolean> {
    const read = await this.get(key);
    if (!read) return false;
    const { value } = read;
    const condition = value === undefined ? { ifNoneMatch: "*" } : { ifMatch: value };
    await this.put(key, size, { condition });
    return true;
  }

  /**
   * Lists all keys under a prefix page by page. Each key of `known` is then a read of the history: it was listed with
   * its value, or was absent, at some moment of the call for its page. False when a page had no answer.
   */
  async list(prefix: string, limit: number, known: readonly string[]): Promise<boolean> {
    const wanted = known.filter((key) => key.startsWith(prefix)).toSorted(compareUtf8);
    let next = 0;
    let after: string | undefined;
    for (let pages = 0; pages < 1_000; pages++) {
      const from = after;
      const calledAt = this.#history.tick();
      const ended = await this.#attempt(undefined, (object) =>
        object.list({
          bucket: this.#bucket,
          prefix,
          delimiter: "",
          after: from,
          afterPrefix: false,
          limit,
        }),
      );
      if (ended.kind !== "done") {
        this.#history.count("list", "unknown");
        if (ended.kind === "error") this.#unexpected("list", ended.error);
        return false;
      }
      const answeredAt = this.#history.tick();
      const listed = new Map<string, string>();
      for (const { key, entry } of ended.value.entries) {
        if (after !== undefined && compareUtf8(after, key) >= 0)
          this.#world.defects.push(`a list gave "${key}" behind "${after}"`);
        if (!key.startsWith(prefix))
          this.#world.defects.push(`a list of "${prefix}" gave "${key}"`);
        if (!known.includes(key)) this.#world.defects.push(`a list gave "${key}", never written`);
        listed.set(key, entry.etag);
        after = key;
      }
      if (ended.value.entries.length > limit)
        this.#world.defects.push(`a list of at most ${limit} gave ${ended.value.entries.length}`);
      if (ended.value.truncated) after = ended.value.last?.after ?? after;
      const note = `list by ${this.name} at ${this.#world.clock.now.toFixed(1)} ms`;
      while (next < wanted.length) {
        const key = wanted[next]!;
        if (ended.value.truncated && after !== undefined && compareUtf8(key, after) > 0) break;
        const outcome = { kind: "ok", value: listed.get(key) } as const;
        this.#history.add(key, { action: { kind: "get" }, outcome, calledAt, answeredAt, note });
        next++;
      }
      if (!ended.value.truncated) break;
    }
    this.#history.count("list", "ok");
    return true;
  }

  #endWrite(
    open: ReturnType<History["call"]>,
    kind: string,
    ended: Attempted<unknown>,
  ): "ok" | "refused" | "unknown" {
    if (ended.kind === "done") {
      open.answer({ kind: "ok" });
      return "ok";
    }
    if (ended.kind === "error") {
      const { code } = ended.error;
      if (code === "PreconditionFailed" || code === "NoSuchKey") {
        open.answer({ kind: "refused" });
        return "refused";
      }
      this.#unexpected(kind, ended.error);
    }
    this.#history.count(kind, "unknown");
    return "unknown";
  }

  /** Tries at one coordinator after the other; an operation fixed to one stays there. */
  async #attempt<T>(
    at: number | undefined,
    work: (object: ObjectService, again: boolean) => Promise<T>,
  ): Promise<Attempted<T>> {
    const world = this.#world;
    let reason = "no attempt";
    for (let attempt = 0; attempt < this.#options.attempts; attempt++) {
      if (attempt > 0) await world.clock.sleep(this.#chance.range(20, 300) * attempt);
      const up = world.up();
      const i = at ?? (up.length > 0 ? this.#chance.pick(up) : 0);
      try {
        return {
          kind: "done",
          value: await this.#within(world.at(i, (object) => work(object, attempt > 0))),
        };
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
        if (error instanceof NoAnswer || error instanceof ConnectionLost) continue;
        if (!(error instanceof RingstowError)) {
          world.defects.push(
            `a client saw ${error instanceof Error ? error.stack : String(error)}`,
          );
          return { kind: "unknown", reason };
        }
        if (!error.retryable) return { kind: "error", error };
      }
    }
    return { kind: "unknown", reason };
  }

  #within<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#world.clock.after(this.#options.attemptMs, () =>
        reject(new NoAnswer(`no answer in ${this.#options.attemptMs} ms`)),
      );
      work.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  /** A refusal that no fault of network or disk explains. */
  #unexpected(kind: string, error: RingstowError): void {
    this.#world.defects.push(`a ${kind} failed with ${error.code}: ${error.message}`);
  }

  #note(at: number | undefined): string {
    const where = at === undefined ? "" : ` at node ${at}`;
    return `${this.name}${where}, ${this.#world.clock.now.toFixed(1)} ms`;
  }
}

function preconditionOf(condition: Condition | undefined): Precondition {
  return {
    ...(condition?.ifMatch === undefined ? {} : { ifMatch: [condition.ifMatch] }),
    ...(condition?.ifNoneMatch === undefined ? {} : { ifNoneMatch: [condition.ifNoneMatch] }),
  };
}
