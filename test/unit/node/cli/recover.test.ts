// What `ringstow recover` tells of the slices that it could not bring back.
import { expect, test } from "vitest";
import { formatRecovery } from "../../../../node/cli/recover.ts";

test("formatRecovery tells what went on, and what is left to do", () => {
  const lost = ["abcd", "ef"];
  const done = { slices: 819, blocked: 0, empty: 0 };
  expect(formatRecovery(done, lost, false)).toBe("819 slices go on without abcd, ef.");
  const some = formatRecovery({ slices: 1, blocked: 2, empty: 3 }, lost, false);
  expect(some).toMatch(
    /^1 slices go on.*\n2 slices wait.*again\.\n3 slices stay away.*--start-empty/u,
  );
  // Begun with nothing, they are among those that go on.
  expect(formatRecovery({ slices: 4, blocked: 0, empty: 0 }, lost, true)).not.toContain("away");
});
