// What workerd changes about headers, undone: the gateway signs, stores and answers the bytes that clients send. workerd
// reads and writes header values as UTF-8 where the gateway holds one character a byte (Latin-1, as node:http); it puts its
// own Accept-Encoding into requests; and it compresses a body again whose Content-Encoding says that it is compressed.

const NOT_ASCII = /[\u0080-\u{10ffff}]/u;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** One character for each byte of a text in UTF-8. */
export function bytesOfText(text: string): string {
  if (!NOT_ASCII.test(text)) return text;
  let bytes = "";
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/** The text that such bytes are; what is no UTF-8 stays as it is. */
export function textOfBytes(bytes: string): string {
  if (!NOT_ASCII.test(bytes)) return bytes;
  try {
    return decoder.decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
  } catch {
    return bytes;
  }
}

/** The request with the headers that its client sent. Few requests need it: only those are made anew. */
export function asSent(request: Request): Request {
  const { headers } = request;
  const changed: [string, string][] = [];
  for (const [name, value] of headers) {
    const bytes = bytesOfText(value);
    if (bytes !== value) changed.push([name, bytes]);
  }
  const { cf } = request as { cf?: { clientAcceptEncoding?: unknown } };
  const accepts = cf?.clientAcceptEncoding;
  // Some SDKs sign it (Go's signs "identity").
  if (typeof accepts === "string" && signsAcceptEncoding(request))
    changed.push(["accept-encoding", accepts]);
  if (changed.length === 0) return request;
  const sent = new Request(request);
  for (const [name, value] of changed) sent.headers.set(name, value);
  return sent;
}

function signsAcceptEncoding({ headers, url }: Request): boolean {
  const signed = /SignedHeaders=[^,&]*accept-encoding/u;
  return signed.test(headers.get("authorization") ?? "") || signed.test(url);
}

/** The response so that these very bytes go out: header values, and a body that is encoded already. */
export function asStored(response: Response): Response {
  const changed: [string, string][] = [];
  for (const [name, value] of response.headers) {
    const text = textOfBytes(value);
    if (text !== value) changed.push([name, text]);
  }
  if (changed.length === 0 && !response.headers.has("content-encoding")) return response;
  const { status, headers, body } = response;
  const init = { status, headers, encodeBody: "manual" } as const;
  const stored = new Response(body, init);
  for (const [name, value] of changed) stored.headers.set(name, value);
  return stored;
}
