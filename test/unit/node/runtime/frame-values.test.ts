import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  describeFailure,
  failureFrom,
  packBounded,
  packValue,
  plainView,
  unpackValue,
} from "../../../../node/runtime/frame-values.ts";
import { RingstowError } from "../../../../shared/errors.ts";
import { frameBytesMax } from "../../../../shared/limits.ts";

const { value: plainData } = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    // -0 travels as 0: the two are one number, and only toEqual tells them apart.
    fc.double({ noNaN: true }).map((number) => number + 0),
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
  ),
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ maxLength: 40 }).filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
}));

describe("packValue, unpackValue", () => {
  test("keep every kind of plain data", () => {
    fc.assert(
      fc.property(plainData, (value) => {
        expect(unpackValue(plainView(packValue(value)))).toEqual(value);
      }),
    );
  });

  test("give byte arrays of their own, not views of the frame", () => {
    const frame = plainView(packValue({ a: new Uint8Array([1, 2, 3]) })).slice();
    const { a } = unpackValue(frame) as { a: Uint8Array };
    frame.fill(0);
    expect(a).toStrictEqual(new Uint8Array([1, 2, 3]));
  });

  test("a packed value is not changed by later ones", () => {
    const first = packValue({ text: "first" });
    const before = first.slice();
    for (let i = 0; i < 2000; i++) packValue({ i, text: "x".repeat(i % 300) });
    packValue(new Uint8Array(1_000_000));
    packValue("after");
    expect(plainView(first)).toEqual(plainView(before));
  });

  test("packBounded refuses what a frame cannot hold", () => {
    const large = new Uint8Array(frameBytesMax);
    expect(() => packBounded("x", large)).toThrow(
      expect.objectContaining({ code: "EntityTooLarge" }),
    );
  });
});

describe("describeFailure, failureFrom", () => {
  test("keep code, message and details of a RingstowError", () => {
    const error = new RingstowError("NoSuchKey", "Cannot find it", { key: "a" });
    const copy = failureFrom(unpackValue(plainView(packValue(describeFailure(error)))));
    expect(copy).toBeInstanceOf(RingstowError);
    expect(copy).toMatchObject({
      code: "NoSuchKey",
      message: "Cannot find it",
      details: { key: "a" },
    });
  });

  test("make Internal of every other throw and of what they cannot read", () => {
    expect(failureFrom(describeFailure(new TypeError("oops")))).toMatchObject({
      code: "Internal",
      message: "oops",
    });
    for (const odd of [null, 5, "x", {}, { code: "FromTheFuture", message: "m" }])
      expect(failureFrom(odd).code).toBe("Internal");
  });
});
