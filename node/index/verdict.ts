// What a request does to a register: a change, or nothing, or nothing any more because it was answered before.
import { RingstowError } from "../../shared/errors.ts";
import { type RequestId } from "../../shared/ids.ts";
import { type OperationContext } from "./chain-step.ts";
import {
  type Answered,
  type OperationStep,
  type Outcome,
  type RegisterState,
  applyOperation,
  cancelsUnheard,
  digestOf,
  refusalOf,
} from "./register-state.ts";
import { type RegisterKey, type RegisterOperation } from "./types.ts";

/** One operation that a leader is asked for. */
export interface LeaderRequest {
  readonly operation: RegisterOperation;
  readonly requestId: RequestId;
  /** Inline body that the operation brings. */
  readonly body: Uint8Array | undefined;
  /** An earlier attempt under the same request id may still be under way. */
  readonly again: boolean;
}

export type Verdict =
  | { readonly type: "change"; readonly step: OperationStep }
  /** Answered before, and the register knows it; or not the request that its id belongs to. */
  | { readonly type: "answered"; readonly outcome: Outcome }
  /** `final`: an attempt that comes later must find the same outcome. */
  | { readonly type: "noEffect"; readonly outcome: Outcome; readonly final: boolean };

/**
 * Decides without doing.
 * @param remembered what this node answered to the request when it had no effect
 * @param gateOpen whether the bucket lets new things in, where the operation asks that
 */
export function judge(
  key: RegisterKey,
  state: RegisterState,
  { operation, requestId }: LeaderRequest,
  remembered: Answered | undefined,
  gateOpen: boolean,
  context: Pick<OperationContext, "wallMs">,
): Verdict {
  const durable = state.answered.find(([id]) => id === requestId);
  const known =
    operation.type === "acquire" && waits(state, requestId) ? undefined : (durable ?? remembered);
  if (known) {
    const [, digest, outcome] = known;
    if (digest !== digestOf(operation)) {
      const reason = `Request id "${requestId}" was used for another operation`;
      return {
        type: "answered",
        outcome: refusalOf(new RingstowError("InvalidRequest", reason)),
      };
    }
    if (outcome.type === "queued") {
      const reason = "The place in the lock's queue is given up, or its turn has passed";
      return { type: "answered", outcome: refusalOf(new RingstowError("FenceTooOld", reason)) };
    }
    return durable ? { type: "answered", outcome } : { type: "noEffect", outcome, final: true };
  }
  try {
    if (!gateOpen) throw new RingstowError("NoSuchBucket");
    const step = applyOperation(key, state.value, operation, { ...context, requestId });
    if (step.changed || cancelsUnheard(state, operation)) return { type: "change", step };
    // A lock or a place in its queue stands in the chain under its request id: it is asked for until it is granted.
    return { type: "noEffect", outcome: step.result, final: operation.type !== "acquire" };
  } catch (error) {
    if (!(error instanceof RingstowError)) throw error;
    // What may succeed later is no answer that a client relies on.
    return { type: "noEffect", outcome: refusalOf(error), final: !error.retryable };
  }
}

/** Whether a request holds the chain's lock or waits for it: then the chain says more than its first answer did. */
function waits({ value }: RegisterState, requestId: RequestId): boolean {
  if (value?.kind !== "object") return false;
  const { lock, queue } = value.chain;
  return lock?.requestId === requestId || queue.some((waiting) => waiting.requestId === requestId);
}
