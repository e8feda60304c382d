// Writes by S3 to a chain that a native writer may have locked: they take their place in the lock's queue for a bounded
// time. A coordinator that dies meanwhile leaves a place whose grant its lease ends.
import { RingstowError } from "../../shared/errors.ts";
import { fromHex, parseRequestId, toHex } from "../../shared/ids.ts";
import { lockedWriteMs } from "../../shared/limits.ts";
import {
  type ExecuteOptions,
  type RegisterAddress,
  type RegisterOperation,
  type RegisterResult,
} from "../index/types.ts";
import { type Context, freshRequestId } from "./context.ts";
import { poll } from "./pause.ts";

/** Runs a commit or delete, after the lock's turn came when there is one. Throws SlowDown when it does not come. */
export async function lockedWrite(
  context: Context,
  at: RegisterAddress,
  operation: RegisterOperation,
  options: ExecuteOptions,
): Promise<RegisterResult> {
  try {
    return await context.index.execute(at, operation, options);
  } catch (error) {
    const locked = error instanceof RingstowError && error.code === "Locked";
    if (!locked || (operation.type !== "commit" && operation.type !== "delete")) throw error;
  }
  const hash = context.digest.start("sha256");
  hash.update(fromHex(options.requestId));
  const requestId = parseRequestId(toHex(hash.digest().subarray(0, 16)));
  const acquire = { type: "acquire", holder: "s3", leaseMs: lockedWriteMs } as const;
  const leave = (): Promise<unknown> =>
    context.index.execute(
      at,
      { type: "cancel", requestId },
      { requestId: freshRequestId(context) },
    );
  const busy = new RingstowError("SlowDown", "A native writer holds this object's lock");
  const fence = await poll(context.clock, lockedWriteMs, async () => {
    const result = await context.index
      .execute(at, acquire, { requestId })
      .catch((error: unknown) => {
        // Sent again after the place was given up: that turn does not come back.
        throw error instanceof RingstowError && error.code === "FenceTooOld" ? busy : error;
      });
    return result.type === "granted" ? result.fence : undefined;
  });
  if (fence === undefined) {
    await leave();
    throw busy;
  }
  try {
    return await context.index.execute(at, { ...operation, fence }, options);
  } catch (error) {
    if (error instanceof RingstowError && !error.retryable)
      context.background.run("give a lock back", leave);
    throw error;
  }
}
