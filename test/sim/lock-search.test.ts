// Random schedules of native writers on one name, searched for an answer that no order of turns explains.
import { expect, test } from "vitest";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { searchLocks } from "./lock-search.ts";

/** What takes nodes away for good, or more of them than a slice can do without. */
const FINAL: ReadonlySet<string> = new Set(["crash all", "wipe", "leave"]);

const seeds = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i);

for (const seed of seeds(1, 12)) {
  test(`writers take turns whatever breaks, seed ${seed}`, async () => {
    const kinds = FAULT_KINDS.filter((kind) => !FINAL.has(kind));
    const { verdict, problems } = await searchLocks({ seed, kinds });
    expect(verdict.kind === "violation" ? verdict.story : verdict.kind).toBe("explained");
    expect(problems).toEqual([]);
  });
}
