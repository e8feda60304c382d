// The AWS SDK as clients under faults use it, and what its failures mean for a history.
import { S3Client, S3ServiceException } from "@aws-sdk/client-s3";
import { type DevFile } from "../dev-cluster.ts";

export interface ClientLimits {
  /** Attempts of one call, all under one invocation id. */
  readonly attempts: number;
  /** Of one attempt, until its answer's head. */
  readonly attemptMs: number;
}

/** A client of one gateway. */
export function clientOf(
  { region, accessKeyId, secretAccessKey }: DevFile,
  endpoint: string,
  { attempts, attemptMs }: ClientLimits,
): S3Client {
  return new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: attempts,
    requestHandler: {
      connectionTimeout: 2_000,
      requestTimeout: attemptMs,
      throwOnRequestTimeout: true,
    },
  });
}

export type Failed =
  /** The condition did not hold, or there is no such object. */
  | { readonly kind: "refused"; readonly status: 404 | 412 }
  /** No answer, or one that may be another next time: it may be carried out, or not. */
  | { readonly kind: "unknown"; readonly reason: string }
  /** What no fault of network, process or clock explains. */
  | { readonly kind: "defect"; readonly reason: string };

/** What a failed call means. */
export function failureOf(error: unknown): Failed {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  const reason = `${status ?? "no answer"} ${String(error)}`;
  if (status === 412 || status === 404) return { kind: "refused", status };
  const known = status !== undefined && status >= 400 && status < 500;
  return { kind: known ? "defect" : "unknown", reason };
}
