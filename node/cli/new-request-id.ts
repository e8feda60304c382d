import { randomBytes } from "node:crypto";
import { type RequestId, parseRequestId } from "../../shared/ids.ts";

/** For requests that this process makes itself. */
export function newRequestId(): RequestId {
  return parseRequestId(randomBytes(16).toString("hex"));
}
