import { expect, test } from "vitest";
import { formatProgress, parseCopies } from "../../../../node/cli/copies.ts";
import { type ClusterStatus, type NodeLine } from "../../../../node/cli/status.ts";

test("parseCopies takes 1, 3 and 5, and says so of anything else", () => {
  expect(["1", "3", "5"].map(parseCopies)).toEqual([1, 3, 5]);
  for (const text of ["0", "2", "4", "7", "x", "", "03", "3.0", "-1", " 3", "55", "1e0"])
    expect(() => parseCopies(text), text).toThrow(/must be 1, 3 or 5/u);
});

interface Told {
  readonly version?: number;
  readonly toResize?: number;
  readonly under?: number;
  readonly over?: number;
  readonly repairing?: number;
}

/** A cluster with five copies wanted; undefined: a node that does not answer. */
function statusOf(...nodes: (Told | undefined)[]): ClusterStatus {
  const lines = nodes.map((told) => ({
    state: told ? "alive" : "dead",
    status: told && {
      copies: { version: told.version ?? 1, copies: 5 },
      underReplicated: told.under ?? 0,
      overReplicated: told.over ?? 0,
      repairing: told.repairing ?? 0,
      views: { toResize: told.toResize ?? 0 },
    },
  }));
  const copies = nodes.some(Boolean) ? { version: 1, copies: 5 } : undefined;
  return { clusterId: "c", copies, nodes: lines as unknown as NodeLine[] };
}

test("formatProgress sums what is left to do, and says when it is nothing", () => {
  expect(formatProgress(statusOf({}, {}, {}, {}, {}))).toBe(
    "5 copies of everything are wanted; 5 of 5 nodes that answer know it.\nNothing is left to do.",
  );
  const busy = statusOf({ toResize: 2, under: 3 }, { over: 1 }, { repairing: 4 }, {}, undefined);
  expect(formatProgress(busy)).toBe(
    "5 copies of everything are wanted; 4 of 4 nodes that answer know it.\n" +
      "2 slices have another number of voters, 3 blocks too few copies, 1 too many; 4 repairs are under way.",
  );
});

test("formatProgress does not believe nodes that have not heard of it, and counts the nodes there are", () => {
  const text = formatProgress(statusOf({}, { version: 0 }, {}));
  expect(text).toContain("2 of 3 nodes that answer know it");
  expect(text).toContain("The cluster has 3 nodes: there will be more copies");
  expect(text).not.toContain("Nothing is left");
  expect(formatProgress(statusOf(undefined))).toBe("No node answers.");
});
