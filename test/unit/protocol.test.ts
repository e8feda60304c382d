// A changed shape of a call between nodes needs a new PROTOCOL_VERSION and a line of its history: nodes of two
// versions then refuse each other instead of misreading.
import { createHash } from "node:crypto";
import * as z from "zod";
import { expect, test } from "vitest";
import { CALLS, PROTOCOL_VERSION } from "../../shared/protocol.ts";

/** Hash of all schemas, by version. Add a line; never change one that was released. */
const HASHES: Record<number, string> = {
  1: "22f7ee9e092369d2d4d4ac934fb3e035af1be4ec9387ec556b0a365d5d6a24aa",
  2: "8b53299e3bece51034c95476993f11ffcea07a05a6e8ca7990750d1136994840",
  3: "3135e372bce5010c01d494e0b60bbde5c3afb23fbd4739151270c674c6aee801",
  4: "1edcbc350d4ac86d4024464f8d63bb437526553897ab397a9181e35cbdbe3293",
  5: "1c78b836a7f7af54989ea6ac0dad004c563230203fc4df7d3dfdaedc7cc4a873",
  6: "c1984387dbec3f4512cd27dfe2f3c5fa319b745e7458b3879b1f249e6ea0e6f1",
  7: "4819f038a57ba3fbf55f0c036d677fe4d98f745b83fdccf9aad5ffb57db00d64",
};

test("the schemas of the calls are those of PROTOCOL_VERSION", () => {
  const shapes = Object.entries(CALLS)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { request, reply }]) => [name, shapeOf(request), shapeOf(reply)]);
  const hash = createHash("sha256").update(JSON.stringify(shapes)).digest("hex");
  expect(hash).toBe(HASHES[PROTOCOL_VERSION]);
});

test("shapeOf tells two shapes apart", () => {
  expect(shapeOf(z.object({ a: z.string() }))).not.toEqual(shapeOf(z.object({ b: z.string() })));
  expect(shapeOf(z.object({ a: z.string() }))).not.toEqual(
    shapeOf(z.object({ a: z.optional(z.string()) })),
  );
});

function shapeOf(schema: unknown): unknown {
  return z.toJSONSchema(schema as z.ZodType, { unrepresentable: "any", io: "input" });
}
