// Anti-entropy of member tables: one hash of the whole table, mostly equal; else hashes of its 256 parts, then of the
// rows in the parts that differ, and only rows that one side lacks travel. The number of copies is compared besides.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { probeTimeoutMs } from "../../shared/limits.ts";
import { type ReplyOf, type RequestOf } from "../../shared/protocol.ts";
import { type Peers } from "../peers.ts";
import { type Peer, TransportError } from "../ports.ts";
import { type KnownCopies } from "./known-copies.ts";
import { type MemberRow } from "./member-table.ts";
import { rowToWire } from "./member-wire.ts";
import { type Membership, type News } from "./membership.ts";
import { hashRow } from "./table-part.ts";

interface Deps {
  readonly membership: Membership;
  readonly copies: KnownCopies;
  readonly peers: Peers;
  readonly hear: (news: News, from: NodeId | undefined, options: { isOld?: boolean }) => void;
}

export class TableExchange {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
    deps.peers.onCall("route.compare", (request) => this.#compared(request));
    deps.peers.onCall("route.sift", ({ parts }, caller) => this.#sift(parts, caller.id));
  }

  /**
   * Compares the whole table with a peer's and evens both out. True when the peer answered.
   * @param options isOld: what comes of it need not spread from here
   */
  async compare(peer: Peer, options: { isOld?: boolean } = {}): Promise<boolean> {
    const { membership, peers, hear, copies } = this.#deps;
    const { table } = membership;
    const timeoutMs = 2 * probeTimeoutMs;
    try {
      const request = { digest: table.digest(), copies: copies.laterThan() };
      const compared = await peers.call(peer, "route.compare", request, timeoutMs);
      if (compared.copies) copies.learn(compared.copies);
      const { digests } = compared;
      if (!digests) return true;
      const differing = table
        .digests()
        .flatMap((each, part) => (each === digests[part] ? [] : [part]));
      const parts = differing.map((part): [number, number[]] => [
        part,
        table.part(part).map(hashRow),
      ]);
      if (parts.length === 0) return true;
      const reply = await peers.call(peer, "route.sift", { parts }, timeoutMs);
      hear(reply, peer.id, options);
      const lacking = new Set(reply.lacking);
      const rows = differing.flatMap((part) =>
        table.part(part).filter((row) => lacking.has(hashRow(row))),
      );
      if (rows.length > 0) {
        const told = { rows: rows.map(rowToWire), ...this.#sideFor(peer.id, rows) };
        await peers.call(peer, "route.tell", told, timeoutMs);
      }
      return true;
    } catch (error) {
      if (error instanceof TransportError || error instanceof RingstowError) return false;
      throw error;
    }
  }

  #compared({ digest, copies: theirs }: RequestOf<"route.compare">): ReplyOf<"route.compare"> {
    const { membership, copies } = this.#deps;
    const { table } = membership;
    if (theirs) copies.learn(theirs);
    const digests = digest === table.digest() ? undefined : table.digests();
    return { digests, copies: copies.laterThan(theirs) };
  }

  #sift(
    parts: RequestOf<"route.sift">["parts"],
    caller: NodeId | undefined,
  ): ReplyOf<"route.sift"> {
    const { table } = this.#deps.membership;
    const rows: MemberRow[] = [];
    const lacking: number[] = [];
    for (const [part, hashes] of parts) {
      const theirs = new Set(hashes);
      const own = new Set<number>();
      for (const row of table.part(part)) {
        const hash = hashRow(row);
        own.add(hash);
        if (!theirs.has(hash)) rows.push(row);
      }
      lacking.push(...hashes.filter((hash) => !own.has(hash)));
    }
    return { rows: rows.map(rowToWire), lacking, ...this.#sideFor(caller, rows) };
  }

  /** A node that reads that it counts as dead must know which side of a healed partition is smaller. */
  #sideFor(receiver: NodeId | undefined, rows: readonly MemberRow[]): Pick<News, "side"> {
    const isTold = rows.some((row) => row.id === receiver && row.state === "dead");
    return isTold ? { side: this.#deps.membership.side() } : {};
  }
}
