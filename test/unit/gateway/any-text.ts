// Strings of any characters that UTF-8 can carry. Quicker than fast-check's "binary" unit, and rich in what goes wrong.
import fc from "fast-check";

const character = fc.oneof(
  fc.constantFrom(..." %+&=/?#<>\"'\r\n\t\u0001\u007f\u0085.~*()!;:@,$aZ09é€".split("")),
  fc.integer({ min: 1, max: 0xd7ff }).map((point) => String.fromCodePoint(point)),
  fc.integer({ min: 0xe000, max: 0x10ffff }).map((point) => String.fromCodePoint(point)),
);

/** Well-formed strings of up to `max` characters, without NUL. */
export function anyText(max: number, min = 0): fc.Arbitrary<string> {
  return fc.array(character, { minLength: min, maxLength: max }).map((parts) => parts.join(""));
}
