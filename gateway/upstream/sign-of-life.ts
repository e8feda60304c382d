// Leaves a node that gives no sign of life: while a call waits for its answer, the node is asked whether it is there.
// A node whose host vanished, or that was paused, refuses no connection; without asking, a write would wait for the
// longest time that a node may work on one. Nothing is shared between requests: edge runtimes forbid that.
import { lastNodeAsks, nodeSignMs, nodeSlowMs, timerLateMs } from "../../shared/limits.ts";
import { HttpCallError } from "./http-caller.ts";

export interface Signs {
  /** Resolves when the node answers anything; may reject. */
  ask(): Promise<unknown>;
  /** Unanswered questions after which the node is left. */
  readonly asks: number;
  /** Whether the call may be sent to another node now; else it is left only after `lastNodeAsks`. */
  mayLeave(): boolean;
}

/** The call's answer. Throws HttpCallError "timeout" when the node gave no sign of life; the call is then nobody's. */
export function whileAlive<T>(
  call: Promise<T>,
  signs: Signs,
  abandon: (late: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false;
    let timer = setTimeout(ask, nodeSlowMs);
    let pauseMs = nodeSignMs;
    let unanswered = 0;
    const end = (settle: () => void): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      settle();
    };
    call.then(
      (answer) => (over ? abandon(answer) : end(() => resolve(answer))),
      (error: unknown) => end(() => reject(error)),
    );

    function ask(): void {
      const askedAtMs = performance.now();
      let answered = false;
      const answer = (): void => {
        answered = true;
      };
      signs.ask().then(answer, () => undefined);
      timer = setTimeout(() => {
        if (answered) unanswered = 0;
        // Late itself: this machine has too much to do, and the sign may lie unread. Then it needs more proof.
        else unanswered += performance.now() - askedAtMs > nodeSignMs + timerLateMs ? 0.3 : 1;
        if (unanswered >= (signs.mayLeave() ? signs.asks : lastNodeAsks)) {
          end(() => reject(new HttpCallError("timeout", "The node gives no sign of life")));
          return;
        }
        pauseMs = Math.min(2 * pauseMs, 8 * nodeSignMs);
        timer = setTimeout(ask, answered ? pauseMs : 0);
      }, nodeSignMs);
    }
  });
}
