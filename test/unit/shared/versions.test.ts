import fc from "fast-check";
import { expect, test } from "vitest";
import { parseVoterId } from "../../../shared/ids.ts";
import {
  ballotOf,
  epochOf,
  makeBallot,
  makeVersion,
  NO_BALLOT,
  NO_VERSION,
  roundOf,
  sequenceOf,
  voterOf,
} from "../../../shared/versions.ts";

const u32 = fc.oneof(fc.nat(3), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const u48 = fc.oneof(fc.nat(3), fc.integer({ min: 0, max: 2 ** 48 - 1 }));
const voter = fc
  .oneof(fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: (1n << 192n) - 1n }))
  .map((n) => parseVoterId(n.toString(16).padStart(48, "0")));
const parts = fc.tuple(u32, u32, voter, u48);

const compareParts = (a: readonly (number | string)[], b: readonly (number | string)[]): number => {
  for (const [i, x] of a.entries()) {
    if (x !== b[i]) return x < b[i]! ? -1 : 1;
  }
  return 0;
};
const compareText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

test("makeBallot: string order is the order of (epoch, round, voter)", () => {
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const [x, y] = [a, b].map(([epoch, round, by]) => makeBallot(epoch, round, by));
      expect(compareText(x!, y!)).toBe(compareParts(a.slice(0, 3), b.slice(0, 3)));
    }),
  );
});

test("makeVersion: string order is the order of (epoch, round, voter, sequence)", () => {
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const [x, y] = [a, b].map(([epoch, round, by, sequence]) =>
        makeVersion(makeBallot(epoch, round, by), sequence),
      );
      expect(compareText(x!, y!)).toBe(compareParts(a, b));
    }),
  );
});

test("the parts come back from a version and its ballot", () => {
  fc.assert(
    fc.property(parts, ([epoch, round, by, sequence]) => {
      const ballot = makeBallot(epoch, round, by);
      const version = makeVersion(ballot, sequence);
      expect(ballot).toHaveLength(64);
      expect(version).toHaveLength(76);
      expect(ballotOf(version)).toBe(ballot);
      expect([epochOf(version), roundOf(version), voterOf(version)]).toEqual([epoch, round, by]);
      expect([epochOf(ballot), roundOf(ballot), voterOf(ballot)]).toEqual([epoch, round, by]);
      expect(sequenceOf(version)).toBe(sequence);
      expect(NO_BALLOT < ballot).toBe(true);
      expect(NO_VERSION < version).toBe(true);
    }),
  );
});

test("NO_BALLOT and NO_VERSION have epoch, round and sequence 0 and no voter", () => {
  expect([epochOf(NO_BALLOT), roundOf(NO_BALLOT), voterOf(NO_BALLOT)]).toEqual([0, 0, undefined]);
  expect([epochOf(NO_VERSION), roundOf(NO_VERSION), voterOf(NO_VERSION)]).toEqual([
    0,
    0,
    undefined,
  ]);
  expect(sequenceOf(NO_VERSION)).toBe(0);
  expect(ballotOf(NO_VERSION)).toBe(NO_BALLOT);
});
