import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  fromHex,
  nodeOfVoter,
  parseBlockId,
  parseFolderId,
  parseNodeId,
  parseRingId,
  parseVoterId,
  toHex,
  voterIdOf,
} from "../../../shared/ids.ts";

const hexDigits = (length: number) =>
  fc
    .array(fc.constantFrom(...Array.from("0123456789abcdef")), {
      minLength: length,
      maxLength: length,
    })
    .map((digits) => digits.join(""));

describe("parsers of ids", () => {
  test("take their number of lower-case hex digits as they are", () => {
    fc.assert(
      fc.property(hexDigits(32), hexDigits(16), (id, folder) => {
        expect(parseNodeId(id)).toBe(id);
        expect(parseRingId(id)).toBe(id);
        expect(parseFolderId(folder)).toBe(folder);
        expect(parseVoterId(id + folder)).toBe(id + folder);
      }),
    );
  });

  test.each([
    "",
    "0",
    "0".repeat(31),
    "0".repeat(33),
    "A".repeat(32),
    `${"0".repeat(31)}g`,
    `${"0".repeat(32)}\n`,
    `\n${"0".repeat(32)}`,
    ` ${"0".repeat(31)}`,
    "../".repeat(10) + "00",
  ])("refuse %j", (text) => {
    expect(() => parseNodeId(text)).toThrow(TypeError);
    expect(() => parseBlockId(text)).toThrow(`Cannot read a block id from "${text}"`);
  });
});

test("voterIdOf: node then folder; nodeOfVoter takes the node back", () => {
  fc.assert(
    fc.property(hexDigits(32), hexDigits(16), (node, folder) => {
      const voter = voterIdOf(parseNodeId(node), parseFolderId(folder));
      expect(parseVoterId(voter)).toBe(node + folder);
      expect(nodeOfVoter(voter)).toBe(node);
    }),
  );
});

test("toHex and fromHex are each other's inverse, and agree with Buffer", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const hex = toHex(bytes);
      expect(hex).toBe(Buffer.from(bytes).toString("hex"));
      expect([...fromHex(hex)]).toEqual([...bytes]);
    }),
  );
});
