// Which view follows: every step keeps a majority of those who are there.
import { expect, test } from "vitest";
import { nextMembers, nextSize } from "../../../node/index/next-view.ts";
import { type VoterId } from "../../../shared/ids.ts";

const voters = (names: string): VoterId[] => names.split("").map((name) => name as VoterId);

/** The next view of `present` where `desired` are wanted and only `up` are there, as letters. */
function next(present: string, desired: string, up = "abcdefgh"): string | undefined {
  return nextMembers(voters(present), voters(desired), (voter) => up.includes(voter))?.join("");
}

test("nextMembers leaves a view that has whom it should have, in whatever order", () => {
  expect(next("abc", "abc")).toBeUndefined();
  expect(next("abc", "cab")).toBeUndefined();
  expect(next("abc", "")).toBeUndefined();
});

test("nextMembers replaces one member at a time, in the order of who should lead", () => {
  expect(next("abc", "bcd")).toBe("bcd");
  expect(next("abc", "def")).toBe("dbc");
  expect(next("dbc", "def")).toBe("dec");
  expect(next("dec", "def")).toBe("def");
});

test("nextMembers replaces those first that are not there", () => {
  expect(next("abc", "ade", "abde")).toBe("adb");
  expect(next("abc", "def", "abdef")).toBe("dab");
});

test("nextMembers waits for newcomers that are not there, one of several too", () => {
  expect(next("abc", "abd", "abc")).toBeUndefined();
  expect(next("abc", "ade", "abcd")).toBeUndefined();
});

test("nextMembers takes another size in one step", () => {
  expect(next("a", "abc")).toBe("abc");
  expect(next("abc", "abcde")).toBe("abcde");
  expect(next("abcde", "abc")).toBe("abc");
  expect(next("abc", "a")).toBe("a");
});

test("nextMembers takes a larger size only with a majority that is there, and all newcomers", () => {
  expect(next("abc", "abcde", "abde")).toBe("abcde");
  expect(next("abc", "abcde", "abcd")).toBeUndefined();
  expect(next("a", "abc", "ab")).toBeUndefined();
});

test("nextMembers takes a smaller size only with all that are there: it has nobody to spare", () => {
  expect(next("abcde", "abc", "abce")).toBe("abc");
  expect(next("abcde", "abc", "abde")).toBeUndefined();
  expect(next("abcde", "cde", "cde")).toBe("cde");
  expect(next("abcde", "a", "bcde")).toBeUndefined();
});

test("nextSize grows as far as there are nodes, and shrinks only when that is wanted", () => {
  expect(nextSize(3, 5, 5)).toBe(5);
  expect(nextSize(3, 5, 7)).toBe(5);
  expect(nextSize(1, 5, 4)).toBe(3);
  expect(nextSize(1, 5, 2)).toBe(1);
  expect(nextSize(5, 3, 5)).toBe(3);
  expect(nextSize(5, 3, 3)).toBe(3);
  expect(nextSize(5, 1, 4)).toBe(1);
});

test("nextSize keeps a view where nodes are missing: for more voters, or for as many", () => {
  // One of three has died, and four of the five that are wanted are there: it is replaced all the same.
  expect(nextSize(3, 5, 4)).toBe(3);
  expect(nextSize(3, 5, 2)).toBeUndefined();
  expect(nextSize(3, 3, 2)).toBeUndefined();
  expect(nextSize(5, 5, 4)).toBeUndefined();
  expect(nextSize(5, 3, 2)).toBeUndefined();
  expect(nextSize(1, 1, 0)).toBeUndefined();
});

test("nextMembers reaches any view in as many steps as members differ, and never returns", () => {
  for (const desired of ["fgh", "cde", "bdh", "eab"]) {
    let present = "abc";
    const differing = desired.split("").filter((name) => !present.includes(name)).length;
    for (let step = 0; step < differing; step++) present = next(present, desired)!;
    expect(present).toBe(desired);
    expect(next(present, desired)).toBeUndefined();
  }
});
