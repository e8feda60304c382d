import fc from "fast-check";
import { expect, test } from "vitest";
import { LineHeaders } from "../../../gateway/request-headers.ts";

const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/u);
const value = fc.stringMatching(/^(?:[!-~\u00a1-\u00ff](?:[ -~\u00a1-\u00ff]{0,10}[!-~])?)?$/u);

test("LineHeaders answers as Headers do", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), name, (lines, other) => {
      const headers = new Headers(lines);
      const ours = new LineHeaders(lines.flat());
      for (const asked of [...lines.map(([one]) => one), other].map((one) => one.toLowerCase())) {
        expect(ours.has(asked)).toBe(headers.has(asked));
        expect(ours.get(asked)).toBe(headers.get(asked));
      }
      expect([...ours.keys()].toSorted()).toEqual([...headers.keys()]);
      expect(new Map(ours)).toEqual(new Map(headers));
    }),
  );
});
