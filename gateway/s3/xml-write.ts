// A small writer of XML. Escapes what parsers would change or refuse: markup, "\r" and every control character.

/** XML text, already escaped. */
export type Xml = string & { readonly xml: true };

export const S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

/** Must be the first bytes of a document. */
export const XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

const SPECIAL = /[&<>"'\p{Cc}\ufffe\uffff]/gu;
const NAMED: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/** Text as element content. */
export function escapeXml(text: string): Xml {
  return text.replace(
    SPECIAL,
    (character) => NAMED[character] ?? `&#x${character.charCodeAt(0).toString(16).toUpperCase()};`,
  ) as Xml;
}

export type XmlContent = string | number | boolean | undefined | readonly XmlElement[];
/** Name and content; undefined content leaves the element out. A string is escaped. */
export type XmlElement = readonly [name: string, content: XmlContent, attributes?: string];

/** One element with everything in it. Names and attributes are the caller's constants and are not escaped. */
export function element([name, content, attributes]: XmlElement): Xml {
  if (content === undefined) return "" as Xml;
  const opening = attributes === undefined ? `<${name}>` : `<${name} ${attributes}>`;
  if (typeof content === "object") {
    let inner = "";
    for (const child of content) inner += element(child);
    return `${opening}${inner}</${name}>` as Xml;
  }
  const text = typeof content === "string" ? escapeXml(content) : String(content);
  return `${opening}${text}</${name}>` as Xml;
}

/** A whole document; `namespace` "" for errors, which have none. */
export function xmlDocument(root: string, content: XmlContent, namespace = S3_NAMESPACE): string {
  const attributes = namespace === "" ? undefined : `xmlns="${namespace}"`;
  return XML_DECLARATION + element(attributes ? [root, content, attributes] : [root, content]);
}
