// Opens the first of several replicas that sends its head: the second is asked when the first is slow, each further one
// when nothing came for `callTimeoutMs` more, and the next at once when one has failed.
// Invariant: each replica is asked once, and all but the answered one are closed when this resolves or rejects.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { callTimeoutMs } from "../../shared/limits.ts";
import { type Clock, type Timer } from "../ports.ts";
import { type OpeningSource, type ReplicaSource } from "./replica-source.ts";

export interface HedgeParts {
  readonly clock: Clock;
  readonly hedgeDelayMs: number;
  start(node: NodeId): OpeningSource;
  /** How long a head took; of a loser, how long it had been waited for. */
  onHead(node: NodeId, tookMs: number): void;
  onFailed(node: NodeId, error: unknown): void;
}

/** `order` is not empty. Rejects with the last failure when all failed. */
export function openHedged(parts: HedgeParts, order: readonly NodeId[]): Promise<ReplicaSource> {
  return new Promise((resolve, reject) => {
    const running = new Map<OpeningSource, number>();
    let nextIndex = 0;
    let timer: Timer | undefined;
    let done = false;

    const startNext = (): void => {
      const node = order[nextIndex++];
      if (node === undefined) return;
      const source = parts.start(node);
      running.set(source, parts.clock.monotonicMs());
      timer?.cancel();
      const waitMs = running.size === 1 ? parts.hedgeDelayMs : callTimeoutMs;
      timer = parts.clock.after(waitMs, startNext);
      source.ready.then(
        (ready) => won(source, ready),
        (error: unknown) => lost(source, error),
      );
    };
    const won = (source: OpeningSource, ready: ReplicaSource): void => {
      if (done) {
        ready.close(); // came after another had won
        return;
      }
      done = true;
      timer?.cancel();
      const now = parts.clock.monotonicMs();
      for (const [other, startedMs] of running) {
        parts.onHead(other.node, now - startedMs);
        if (other !== source) other.close();
      }
      resolve(ready);
    };
    const lost = (source: OpeningSource, error: unknown): void => {
      source.close();
      if (done) return;
      running.delete(source);
      parts.onFailed(source.node, error);
      if (nextIndex < order.length) startNext();
      else if (running.size === 0) {
        done = true;
        timer?.cancel();
        reject(error instanceof Error ? error : new RingstowError("Internal", String(error)));
      }
    };
    startNext();
  });
}
