// Copies whose bytes failed their check or were gone when they were read, told to the leaders of their registers. One
// that is read again and again is told now and then.
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import { reportAgainMs, reportsRememberedMax } from "../../shared/limits.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Clock } from "../ports.ts";

export type ReportCopy = (owner: RegisterAddress, block: BlockId, node: NodeId) => void;

export class BadCopies {
  readonly #clock: Clock;
  readonly #report: ReportCopy;
  /** By block and node, the oldest first; monotonic ms. */
  readonly #reportedMs = new Map<string, number>();

  constructor(clock: Clock, report: ReportCopy) {
    this.#clock = clock;
    this.#report = report;
  }

  found(owner: RegisterAddress, block: BlockId, node: NodeId): void {
    const name = `${block}/${node}`;
    const nowMs = this.#clock.monotonicMs();
    const reportedMs = this.#reportedMs.get(name);
    if (reportedMs !== undefined && nowMs - reportedMs < reportAgainMs) return;
    this.#reportedMs.delete(name);
    this.#reportedMs.set(name, nowMs);
    if (this.#reportedMs.size > reportsRememberedMax)
      this.#reportedMs.delete(this.#reportedMs.keys().next().value!);
    this.#report(owner, block, node);
  }
}
