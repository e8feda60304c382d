// Answers that several operations share.
import { type ByteStream } from "../../shared/object-service.ts";
import { slowAnswerMs } from "../../shared/limits.ts";
import { type Call } from "./call.ts";
import { errorElements, isFault, toS3Error } from "./errors.ts";
import { type XmlContent, XML_DECLARATION, xmlDocument } from "./xml-write.ts";

/** 200 or 204 without a body. */
export function emptyAnswer(
  call: Call,
  status: 200 | 204 = 200,
  headers = call.newHeaders(),
): Response {
  if (status === 200) headers.set("content-length", "0");
  return new Response(null, { status, headers });
}

export function xmlAnswer(call: Call, root: string, content: XmlContent): Response {
  const headers = call.newHeaders();
  headers.set("content-type", "application/xml");
  return new Response(xmlDocument(root, content), { headers });
}

/** Lets go of a stream that nobody will read. */
export async function releaseStream(stream: ByteStream): Promise<void> {
  await stream[Symbol.asyncIterator]().return?.();
}

/**
 * The answer of work that may take minutes (Complete, Copy). Quick work answers as usual. Slow work answers 200 at
 * once and a space now and then, so that neither side's time-out ends it; its failure is an <Error> in that body,
 * as in S3.
 */
export async function slowXmlAnswer(
  call: Call,
  root: string,
  work: Promise<XmlContent>,
): Promise<Response> {
  const settled = work.then(
    (content) => xmlDocument(root, content),
    (error: unknown) => ({ error }),
  );
  const first = await orLater(settled);
  if (first === undefined) return spacedAnswer(call, settled);
  if (typeof first === "object") throw first.error;
  const headers = call.newHeaders();
  headers.set("content-type", "application/xml");
  return new Response(first, { headers });
}

/** undefined when `settled` takes longer than `slowAnswerMs`. */
async function orLater<T>(settled: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), slowAnswerMs);
  });
  try {
    return await Promise.race([settled, late]);
  } finally {
    if (timer !== undefined) clearTimeout(timer);
  }
}

function spacedAnswer(call: Call, settled: Promise<string | { error: unknown }>): Response {
  const encoder = new TextEncoder();
  let started = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      // The declaration must come first: nothing, not even a space, may stand before it.
      if (!started) {
        started = true;
        controller.enqueue(encoder.encode(XML_DECLARATION));
        return;
      }
      const result = await orLater(settled);
      if (result === undefined) {
        controller.enqueue(encoder.encode(" "));
        return;
      }
      const xml = typeof result === "string" ? result : errorXml(call, result.error);
      controller.enqueue(encoder.encode(xml.slice(XML_DECLARATION.length)));
      controller.close();
    },
  });
  const headers = call.newHeaders();
  headers.set("content-type", "application/xml");
  return new Response(body, { headers });
}

function errorXml(call: Call, error: unknown): string {
  if (isFault(error)) call.reportFault(error);
  const elements = errorElements(toS3Error(error), call.target.path, call.responseId);
  return xmlDocument("Error", elements, "");
}
