import { XMLParser } from "fast-xml-parser";
import fc from "fast-check";
import { expect, test } from "vitest";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { readXml } from "../../../../gateway/s3/xml-read.ts";
import { element, escapeXml, xmlDocument } from "../../../../gateway/s3/xml-write.ts";
import { anyText } from "../any-text.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const read = (text: string) => readXml(bytes(text), "R");

test("readXml changes no value: numbers, booleans, spaces and references stay what they are", () => {
  const values = (inner: string) =>
    read(`<R>${inner}</R>`)
      .all("K")
      .map((node) => node.text);
  expect(values("<K>007</K><K>1e3</K><K>true</K><K> x </K>")).toEqual([
    "007",
    "1e3",
    "true",
    " x ",
  ]);
  expect(values("<K>&lt;a&gt;&amp;amp;&quot;&apos;</K>")).toEqual([`<a>&amp;"'`]);
  expect(values("<K>a&#13;&#xA;b&#1;&#x1F600;</K>")).toEqual(["a\r\nb\u0001😀"]);
  expect(values("<K/><K></K>\n <K>ü😀</K>")).toEqual(["", "", "ü😀"]);
  expect(values("<K>a<!-- no -->b</K>")).toEqual(["ab"]);
});

test("readXml takes a declaration, a namespace, a prefix, a BOM and attributes", () => {
  const text = `\ufeff<?xml version="1.0" encoding="UTF-8"?>\n<s:R xmlns:s="urn:x"><s:K a="1">v</s:K></s:R>`;
  expect(read(text).value("K")).toBe("v");
});

test("value refuses an element that holds others: joined texts would name another key", () => {
  const xml = (key: string) => new TextEncoder().encode(`<Delete><Key>${key}</Key></Delete>`);
  expect(readXml(xml("a<!-- note -->c"), "Delete").value("Key")).toBe("ac");
  expect(() => readXml(xml("a<b/>c"), "Delete").value("Key")).toThrow("may only hold text");
});

test("readXml refuses what is not one well-formed document of the right name", () => {
  const bad = [
    "",
    "text",
    "<R>",
    "<R></S>",
    "<S/>",
    "<R/><R/>",
    "<R><K>a</R></K>",
    "<!DOCTYPE R><R/>",
    `<!DOCTYPE R [<!ENTITY a "b">]><R>&a;</R>`,
    "<R><![CDATA[x]]></R>",
    "<R><K>&undefined;</K></R>",
    "<R><K>a & b</K></R>",
    "<R><K>&#0;</K></R>",
    "<R><K>&#xD800;</K></R>",
    "<R><K>&#x110000;</K></R>",
    "<R><__proto__>x</__proto__></R>",
    `<R>${"<a>".repeat(10_000)}${"</a>".repeat(10_000)}</R>`,
  ];
  for (const text of bad) {
    const touch = () =>
      read(text)
        .all("K")
        .map((node) => node.text);
    expect(touch, text.slice(0, 40)).toThrow(S3Error);
  }
  expect(() => readXml(new Uint8Array([0x3c, 0x52, 0x3e, 0xff]), "R")).toThrow(S3Error);
  expect(() => read("<R><K>a</K><K>b</K></R>").value("K")).toThrow(S3Error);
});

test("readXml gives a node or an S3Error, whatever the bytes", () => {
  const noise = fc.string({
    unit: fc.constantFrom(..."<>/R K&;#x0'\"!-[]?=".split("")),
    maxLength: 30,
  });
  fc.assert(
    fc.property(noise, (inner) => {
      try {
        const root = read(`<R>${inner}</R>`);
        expect(typeof root.text).toBe("string");
      } catch (error) {
        expect(error).toBeInstanceOf(S3Error);
      }
    }),
    { numRuns: 300 },
  );
});

test("readXml reads back what xmlDocument writes, for every text that keys may hold", () => {
  fc.assert(
    fc.property(anyText(30), (value) => {
      const xml = xmlDocument("R", [["K", value]]);
      expect(read(xml).value("K")).toBe(value);
    }),
  );
});

test("escapeXml leaves no markup and no control character", () => {
  expect(escapeXml(`<a href="x">'&'</a>`)).toBe(
    "&lt;a href=&quot;x&quot;&gt;&apos;&amp;&apos;&lt;/a&gt;",
  );
  expect(escapeXml("a\r\n\t\u0001\u007f\u0085\uffff")).toBe(
    "a&#xD;&#xA;&#x9;&#x1;&#x7F;&#x85;&#xFFFF;",
  );
});

test("xmlDocument nests elements, leaves out undefined ones, and other parsers agree", () => {
  const xml = xmlDocument("Root", [
    ["A", 1],
    ["B", undefined],
    ["C", [["D", true]]],
    ["E", "x<y", 'k="v"'],
  ]);
  expect(xml).toBe(
    '<?xml version="1.0" encoding="UTF-8"?>\n<Root xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><A>1</A><C><D>true</D></C><E k="v">x&lt;y</E></Root>',
  );
  expect(new XMLParser().parse(xml)).toMatchObject({ Root: { A: 1, C: { D: true }, E: "x<y" } });
  expect(element(["A", ""])).toBe("<A></A>");
  expect(xmlDocument("Error", [], "")).toBe(
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error></Error>',
  );
});
