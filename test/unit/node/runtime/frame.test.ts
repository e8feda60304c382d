import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FRAME,
  FrameError,
  FrameParser,
  type FrameType,
  frameHeaderBytes,
  writeFrameHeader,
} from "../../../../node/runtime/frame.ts";
import { unpackValue } from "../../../../node/runtime/frame-values.ts";
import { frameBytesMax, streamChunkBytes } from "../../../../shared/limits.ts";

interface Frame {
  readonly type: FrameType;
  readonly id: number;
  readonly payload: Uint8Array;
}

const frames = fc.array(
  fc.record({
    type: fc.constantFrom(...Object.values(FRAME)),
    id: fc.nat({ max: 0xffff_ffff }),
    payload: fc.uint8Array({ maxLength: 60 }),
  }),
  { maxLength: 20 },
);
const cuts = fc.array(fc.nat({ max: 2_000 }), { maxLength: 30 });

function encode(list: readonly Frame[]): Uint8Array {
  const parts = list.map(({ type, id, payload }) => {
    const bytes = new Uint8Array(frameHeaderBytes + payload.length);
    bytes.set(payload, writeFrameHeader(bytes, 0, type, id, payload.length));
    return bytes;
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** The pieces between the cuts; empty pieces too. */
function split(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const borders = [0, ...at.map((cut) => cut % (bytes.length + 1)), bytes.length];
  const sorted = borders.toSorted((a, b) => a - b);
  return sorted.slice(1).map((border, i) => bytes.slice(sorted[i], border));
}

function collector(): { seen: Frame[]; parser: FrameParser } {
  const seen: Frame[] = [];
  const parser = new FrameParser((type, id, source, start, end) =>
    seen.push({ type, id, payload: source.slice(start, end) }),
  );
  return { seen, parser };
}

describe("FrameParser", () => {
  test("gives the same frames however the bytes are split", () => {
    fc.assert(
      fc.property(frames, cuts, (list, at) => {
        const { seen, parser } = collector();
        for (const piece of split(encode(list), at)) parser.push(piece);
        expect(seen).toEqual(list);
      }),
    );
  });

  test("gives a frame only when its last byte is there", () => {
    const whole = encode([{ type: FRAME.chunk, id: 7, payload: new Uint8Array(100).fill(1) }]);
    const { seen, parser } = collector();
    for (let i = 0; i < whole.length; i++) {
      expect(seen).toHaveLength(0);
      parser.push(whole.subarray(i, i + 1));
    }
    expect(seen).toHaveLength(1);
  });

  test("throws nothing but FrameError for any bytes, in any pieces", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), cuts, (bytes, at) => {
        const { parser } = collector();
        try {
          for (const piece of split(bytes, at)) parser.push(piece);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
    );
  });

  test("refuses unknown types and payloads above the limits before they come", () => {
    const head = (type: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(frameHeaderBytes);
      writeFrameHeader(bytes, 0, type as FrameType, 1, length);
      return bytes;
    };
    for (const bad of [
      head(0, 0),
      head(FRAME.reset + 1, 0),
      head(FRAME.request, frameBytesMax + 1),
      head(FRAME.chunk, streamChunkBytes + 1),
      head(FRAME.reply, 0xffff_ffff),
    ])
      expect(() => collector().parser.push(bad)).toThrow(FrameError);
    collector().parser.push(head(FRAME.chunk, streamChunkBytes));
  });
});

describe("unpackValue", () => {
  test("throws or gives a value for any bytes, and is whole again afterwards", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          unpackValue(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
        expect(unpackValue(new Uint8Array([0x92, 1, 0xa1, 0x61]))).toEqual([1, "a"]);
      }),
      { numRuns: 1000 },
    );
  });
});
