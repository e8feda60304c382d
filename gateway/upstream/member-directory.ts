// Which nodes live: the member table as some node last told it. Asked of known members, then of the seeds; the last
// one known is kept while nobody answers. Refreshed by use and not by a timer, which edge runtimes do not have. Who is
// silent is waited for by nobody: the next one is asked, and a request goes on with the table that is known.
import { RingstowError } from "../../shared/errors.ts";
import {
  callReplyBytesMax,
  membersRefreshMs,
  membersStaleMs,
  membersTimeoutMs,
  recordWaitMs,
  upstreamAttemptsMax,
} from "../../shared/limits.ts";
import {
  type MemberTable,
  authHeader,
  memberTableSchema,
  membersPath,
} from "../../shared/object-protocol.ts";
import { ANY_NODE, type RequestSigner } from "../../shared/peer-auth.ts";
import { firstAnswer, inTime } from "../in-time.ts";
import { type HttpCaller } from "./http-caller.ts";
import { readJson } from "./reply.ts";

export interface DirectoryDeps {
  readonly caller: HttpCaller;
  readonly signer: RequestSigner;
  /** Base URLs of nodes to ask when no member answers. */
  readonly seeds: readonly string[];
  readonly wallMs: () => number;
}

export class MemberDirectory {
  readonly #deps: DirectoryDeps;
  #table: MemberTable | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** When the table was asked for. */
  #tableMs = Number.NEGATIVE_INFINITY;
  #turn = 0;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /**
   * The table; one that is not new starts a refresh behind the request, an old one before it. Throws Unavailable when none
   * was ever seen.
   */
  async table(): Promise<MemberTable> {
    const nowMs = this.#deps.wallMs();
    if (!this.#table) await this.refresh();
    else if (Math.abs(nowMs - this.#askedMs) > membersRefreshMs) {
      // A failure leaves the last table in use; the next request after the refresh time tries again.
      const refreshed = this.refresh().catch(() => undefined);
      if (Math.abs(nowMs - this.#tableMs) > membersStaleMs) await inTime(recordWaitMs, refreshed);
    }
    if (!this.#table) throw new RingstowError("Unavailable", "Cannot find any node: none answers");
    return this.#table;
  }

  /** Asks until one answers. Throws Unavailable when nobody does. */
  async refresh(): Promise<void> {
    const askedMs = this.#deps.wallMs();
    this.#askedMs = askedMs;
    try {
      this.#table = await firstAnswer(this.#origins(), recordWaitMs, (origin) => this.#ask(origin));
      this.#tableMs = askedMs;
    } catch (error) {
      const unavailable = new RingstowError("Unavailable", "No node of the cluster answers");
      unavailable.cause = error; // for operators: clients are not told where nodes are
      throw unavailable;
    }
  }

  /** Some members, another one first each time, then the seeds. */
  #origins(): string[] {
    const members = this.#table?.members ?? [];
    this.#turn++;
    const some = Array.from(
      { length: Math.min(members.length, upstreamAttemptsMax) },
      (_, i) => members[(this.#turn + i) % members.length]!.url,
    );
    return [...new Set([...some, ...this.#deps.seeds])];
  }

  async #ask(origin: string): Promise<MemberTable> {
    const signed = { method: "GET", path: membersPath, args: "" };
    const reply = await this.#deps.caller.call({
      method: "GET",
      origin,
      path: membersPath,
      headers: { [authHeader]: this.#deps.signer.sign(signed, ANY_NODE, {}) },
      headTimeoutMs: membersTimeoutMs,
    });
    const json = await readJson(reply, callReplyBytesMax);
    if (reply.status !== 200)
      throw new Error(`"${origin}" answers ${reply.status}: ${JSON.stringify(json)}`);
    const { sliceBits, members } = memberTableSchema.parse(json);
    if (members.length === 0) throw new Error(`"${origin}" knows no live node`);
    return { sliceBits, members: members.toSorted((a, b) => (a.id < b.id ? -1 : 1)) };
  }
}
