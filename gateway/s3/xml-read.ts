// Reads the small XML bodies of S3 requests. Values stay exactly what the client wrote ("007", " x ", "true"):
// references are decoded here, because the parser drops those it does not like and a key would change silently.
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { S3Error } from "./errors.ts";

/** One element: its text, and its children in order. */
export interface XmlNode {
  readonly text: string;
  readonly hasElements: boolean;
  /** Children of that name; empty when there are none. */
  all(name: string): readonly XmlNode[];
  /** Text of the only child of that name; undefined without one. Throws MalformedXML when there are several, or elements in it. */
  value(name: string): string | undefined;
}

const parser = new XMLParser({
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  ignoreAttributes: true,
  removeNSPrefix: true,
  isArray: () => true,
});

const REFERENCE = /&([^;&]*);?/gu;
const NAMED: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

function malformed(reason: string): S3Error {
  return new S3Error("MalformedXML", `The XML you provided was not well-formed: ${reason}`);
}

/** Parses a document whose root has the given name. Throws MalformedXML. The caller bounds the size. */
export function readXml(bytes: Uint8Array, root: string): XmlNode {
  let document: unknown;
  try {
    const text = decoder.decode(bytes);
    // Entities of one's own are how XML bombs are made; CDATA would escape the decoding of references.
    if (/<!\s*(?:DOCTYPE|ENTITY|\[CDATA\[)/iu.test(text)) {
      throw malformed("DOCTYPE and CDATA are refused");
    }
    const valid = XMLValidator.validate(text);
    if (valid !== true) throw malformed(valid.err.msg);
    document = parser.parse(text);
  } catch (error) {
    // Whatever the parser stumbles over (depth, reserved names, bytes that are no UTF-8) came from the client.
    throw error instanceof S3Error ? error : malformed((error as Error).message);
  }
  const roots = Object.entries(document as object).filter(([name]) => !name.startsWith("?"));
  const [name, elements] = roots[0] ?? [];
  if (roots.length !== 1 || name !== root || (elements as unknown[]).length !== 1) {
    throw malformed(`the document must be one <${root}>`);
  }
  return node((elements as unknown[])[0]);
}

function node(raw: unknown): XmlNode {
  const children = typeof raw === "object" && raw !== null ? (raw as Record<string, unknown>) : {};
  const all = (name: string): readonly XmlNode[] =>
    Object.hasOwn(children, name) ? (children[name] as unknown[]).map(node) : [];
  return {
    get text() {
      const text = typeof raw === "string" ? raw : children["#text"];
      return typeof text === "string" ? decodeReferences(text) : "";
    },
    hasElements: Object.keys(children).some((name) => name !== "#text"),
    all,
    value: (name) => {
      const found = all(name);
      if (found.length > 1) throw malformed(`there may be only one <${name}>`);
      if (found[0]?.hasElements) throw malformed(`<${name}> may only hold text`);
      return found[0]?.text;
    },
  };
}

function decodeReferences(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(REFERENCE, (reference, name: string) => {
    const named = Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
    if (reference.endsWith(";") && named !== undefined) return named;
    const point = /^#(?:x[0-9a-fA-F]{1,6}|\d{1,7});$/u.test(reference.slice(1))
      ? Number(name.startsWith("#x") ? `0x${name.slice(2)}` : name.slice(1))
      : -1;
    const character = point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
    if (!character) throw malformed(`unknown reference "${reference.slice(0, 20)}"`);
    return String.fromCodePoint(point);
  });
}
