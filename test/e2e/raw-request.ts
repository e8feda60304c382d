// Signed requests as no SDK would send them: any path, any header, any length, any clock.
import { createHash } from "node:crypto";
import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { AwsV4Signer } from "aws4fetch";
import { type DevFile } from "./dev-cluster.ts";

export interface RawRequest {
  readonly method: string;
  /** Sent and signed as it is. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | undefined;
  /** A body that depends on the signature; its digest is then declared in `headers`. */
  readonly bodyOf?: (signed: Readonly<Record<string, string>>) => Uint8Array;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly clockMs?: number;
  /** Cuts the connection after this many bytes of the body, which is declared whole. */
  readonly cutAfter?: number;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of the XML body; "" without one. */
  readonly code: string;
  readonly requestId: string;
}

/** The headers of a signed request, `host` and the signature included. */
export async function signedHeaders(
  dev: DevFile,
  asked: RawRequest,
): Promise<Record<string, string>> {
  const sha256 = createHash("sha256").update(asked.body ?? "");
  const clock = new Date(asked.clockMs ?? Date.now());
  const [path, query] = asked.path.split("?") as [string, string | undefined];
  const signer = new AwsV4Signer({
    method: asked.method,
    url: `${dev.endpoint}/?${query ?? ""}`,
    headers: { "x-amz-content-sha256": sha256.digest("hex"), ...asked.headers },
    accessKeyId: asked.accessKeyId ?? dev.accessKeyId,
    secretAccessKey: asked.secretAccessKey ?? dev.secretAccessKey,
    service: "s3",
    region: dev.region,
    datetime: clock.toISOString().replaceAll(/[:-]|\.\d{3}/gu, ""),
  });
  // Its URL would lose dot segments; a signature never escapes dots.
  signer.encodedPath = path.replaceAll("%2E", ".");
  const { headers } = await signer.sign();
  return { ...Object.fromEntries(headers), host: new URL(dev.endpoint).host };
}

/** Sends one request on a connection of its own. Rejects when the connection ends without an answer. */
export async function send(dev: DevFile, asked: RawRequest): Promise<RawAnswer> {
  const signed = await signedHeaders(dev, asked);
  const body = Buffer.from(asked.bodyOf?.(signed) ?? asked.body ?? "");
  const { hostname, port } = new URL(dev.endpoint);
  // Values go out as they were signed: in UTF-8, of which node:http takes one character a byte.
  const asBytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
  const lines = Object.entries(signed).map(([name, value]) => [name, asBytes(value)]);
  const headers = { "content-length": String(body.length), ...Object.fromEntries(lines) };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const { method, path } = asked;
    const outgoing = request({ hostname, port, method, path, headers, agent: false }, resolve);
    outgoing.once("error", reject);
    if (asked.cutAfter === undefined) outgoing.end(body);
    else outgoing.write(body.subarray(0, asked.cutAfter), () => outgoing.socket!.end());
  });
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk as string;
  const field = (name: string): string =>
    new RegExp(`<${name}>([^<]*)</${name}>`, "u").exec(text)?.[1] ?? "";
  return {
    status: response.statusCode!,
    headers: response.headers,
    text,
    code: field("Code"),
    requestId: field("RequestId"),
  };
}
