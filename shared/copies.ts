// How many copies of everything a cluster keeps: voters of a slice, replicas of a block. Genesis says it first (version
// 0); each change is the next version of one register. Of two that a node hears of, the later one counts.
import * as z from "zod/mini";

/** What an operator may ask for: an even number of voters survives no more losses than one voter less. */
export const copiesSchema = z.literal([1, 3, 5]);
export type Copies = z.infer<typeof copiesSchema>;

export const copiesSettingSchema = z.object({
  version: z.int().check(z.nonnegative()),
  copies: z.int().check(z.minimum(1), z.maximum(5)),
});
export type CopiesSetting = z.infer<typeof copiesSettingSchema>;

/**
 * Whether a setting replaces another. No version has two numbers, unless a register was recovered from an older copy;
 * then all nodes agree on the larger number.
 */
export function isLater(a: CopiesSetting, b: CopiesSetting): boolean {
  return a.version !== b.version ? a.version > b.version : a.copies > b.copies;
}
