// What `ringstow recover` tells of the slices that it could not bring back.
import { expect, test } from "vitest";
import { formatRecovery } from "../../../../node/cli/recover.ts";

test("formatRecovery tells what went on, and what is left to do", () => {
  const lost = ["abcd", "ef"];
  const done = { slices: 819, blocked: 0, reasons: [], unheld: 0 };
  expect(formatRecovery(done, lost)).toBe("819 slices go on without abcd, ef.");
  const some = formatRecovery({ slices: 1, blocked: 2, reasons: ["one", "two"], unheld: 3 }, lost);
  expect(some).toMatch(
    /^1 slices go on.*\n2 slices cannot yet:\n {2}one\n {2}two\nGive.*again\.\n3 slices stay away.*--start-anyway/u,
  );
});
