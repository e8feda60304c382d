// Errors of the native API: JSON with Ringstow's own codes, and S3's for what the gateway itself refuses.
import { RingstowError } from "../../shared/errors.ts";
import { S3Error, toS3Error } from "../s3/errors.ts";

/** {code, message, requestId, details} with the error's status. Of a fault only its code is told. */
export function nativeFailure(
  error: unknown,
  about: { readonly requestId: string; readonly head: boolean },
): Response {
  const { requestId } = about;
  const headers = { "x-amz-request-id": requestId };
  const { status, ...told } = describe(error);
  if (about.head) return new Response(null, { status, headers });
  return Response.json({ ...told, requestId }, { status, headers });
}

function describe(error: unknown): {
  status: number;
  code: string;
  message: string;
  details: Readonly<Record<string, string>>;
} {
  if (error instanceof RingstowError && error.code !== "Internal") {
    const { status, code, message, details } = error;
    return { status, code, message, details };
  }
  const { status, code, message, fields } = error instanceof S3Error ? error : toS3Error(error);
  return { status, code, message, details: fields };
}
