import { expect, test } from "vitest";
import { copiesSchema, copiesSettingSchema, isLater } from "../../../shared/copies.ts";

test("isLater goes by version, and lets all nodes agree when one version has two numbers", () => {
  const at = (version: number, copies: number) => ({ version, copies });
  expect(isLater(at(2, 1), at(1, 5))).toBe(true);
  expect(isLater(at(1, 5), at(2, 1))).toBe(false);
  expect(isLater(at(1, 3), at(1, 3))).toBe(false);
  expect(isLater(at(1, 5), at(1, 3))).toBe(true);
  expect(isLater(at(1, 3), at(1, 5))).toBe(false);
});

test("an operator may ask for 1, 3 or 5, and nothing else", () => {
  for (const copies of [1, 3, 5]) expect(copiesSchema.safeParse(copies).success).toBe(true);
  for (const copies of [0, 2, 4, 6, 7, -1, 1.5, "3", undefined, null])
    expect(copiesSchema.safeParse(copies).success, String(copies)).toBe(false);
  for (const bad of [{ version: -1, copies: 3 }, { version: 1, copies: 6 }, { copies: 3 }])
    expect(copiesSettingSchema.safeParse(bad).success).toBe(false);
});
