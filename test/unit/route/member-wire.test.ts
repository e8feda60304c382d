import * as fc from "fast-check";
import { expect, test } from "vitest";
import { CALLS } from "../../../shared/protocol.ts";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import {
  rowFromWire,
  rowToWire,
  standingFromWire,
  standingToWire,
  witnessOf,
} from "../../../node/route/member-wire.ts";
import { type MemberRow } from "../../../node/route/table-part.ts";
import { packValue, unpackValue } from "../../../node/runtime/frame-values.ts";

const hex = (digits: number) =>
  fc.string({
    unit: fc.constantFrom(..."0123456789abcdef".split("")),
    minLength: digits,
    maxLength: digits,
  });
const count = fc.nat({ max: 2 ** 48 });

/** Minus zero travels as zero. */
const degrees = fc.double({ min: -180, max: 180, noNaN: true }).map((value) => value + 0);

const anyRow: fc.Arbitrary<MemberRow> = fc.record({
  id: hex(32).map((text) => text as NodeId),
  folder: hex(16).map((text) => text as FolderId),
  url: fc.webUrl(),
  peerAddress: fc.string(),
  zone: fc.string(),
  position: fc.option(fc.record({ latitude: degrees, longitude: degrees }), { nil: undefined }),
  capacityBytes: count,
  freeBytes: count,
  incarnation: count,
  state: fc.constantFrom("alive", "suspect", "dead", "left"),
  sinceMs: fc.nat({ max: 2_000_000_000 }).map((seconds) => seconds * 1000),
  stamp: count,
});

test("rows travel as they are, and the schema of route.tell takes them", () => {
  fc.assert(
    fc.property(anyRow, (row) => {
      const bytes = new Uint8Array(packValue({ rows: [rowToWire(row)] }));
      const { rows } = CALLS["route.tell"].request.parse(unpackValue(bytes));
      expect(rowFromWire(rows[0]!)).toEqual(row);
    }),
  );
});

test("standings travel as they are, in fewer than 55 bytes", () => {
  fc.assert(
    fc.property(
      anyRow,
      fc.array(fc.nat({ max: 0xffffffff }), { maxLength: 4 }),
      (row, witnesses) => {
        const wire = standingToWire(row, witnesses);
        const bytes = new Uint8Array(packValue({ incarnation: 1, known: 1, standings: [wire] }));
        const { standings } = CALLS["route.ping"].request.parse(unpackValue(bytes));
        const { id, incarnation, state, sinceMs } = row;
        expect(standingFromWire(standings![0]!)).toEqual({
          id,
          incarnation,
          state,
          sinceMs,
          witnesses,
        });
        if (incarnation < 2 ** 32) expect(packValue(wire).length).toBeLessThan(55);
      },
    ),
  );
});

test.each([
  [{ rows: [[new Uint8Array(15)]] }],
  [{ rows: [["a", "b"]] }],
  [{ rows: [{ id: "a" }] }],
])("route.tell refuses what is no row: %j", (request) => {
  expect(CALLS["route.tell"].request.safeParse(request).success).toBe(false);
});

test("witnessOf is the first 32 bits of the id", () => {
  expect(witnessOf(`ffffffff${"0".repeat(24)}` as NodeId)).toBe(0xffffffff);
});
