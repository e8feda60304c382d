// Waiting for somebody only so long, in time that the tests move.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { firstAnswer, inTime } from "../../../gateway/in-time.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const never = (): Promise<never> => new Promise(() => undefined);
const after = <T>(ms: number, value: T): Promise<T> =>
  new Promise((resolve) => setTimeout(() => resolve(value), ms));

describe("inTime", () => {
  test("gives what came in time, and undefined for what did not", async () => {
    expect(await inTime(100, Promise.resolve(undefined))).toEqual({ value: undefined });
    const late = inTime(100, after(101, "late"));
    await vi.advanceTimersByTimeAsync(100);
    expect(await late).toBeUndefined();
  });

  test("rejects as the promise does, and drops a failure that comes late", async () => {
    await expect(inTime(100, Promise.reject(new Error("no")))).rejects.toThrow("no");
    const failing = after(101, 0).then(() => Promise.reject(new Error("late")));
    const waiting = inTime(100, failing);
    await vi.advanceTimersByTimeAsync(200);
    expect(await waiting).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("firstAnswer", () => {
  const asked: string[] = [];
  const ask = (answers: Record<string, () => Promise<string>>): Promise<string> => {
    asked.length = 0;
    return firstAnswer(Object.keys(answers), 100, (candidate) => {
      asked.push(candidate);
      return answers[candidate]!();
    });
  };
  const fails = (): Promise<never> => Promise.reject(new Error("down"));

  test("asks one alone when it answers in time", async () => {
    const found = ask({ a: () => after(99, "A"), b: () => after(0, "B") });
    await vi.advanceTimersByTimeAsync(200);
    expect(await found).toBe("A");
    expect(asked).toEqual(["a"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("asks the next beside a silent one, and at once after one that failed", async () => {
    const found = ask({ a: never, b: never, c: fails, d: () => after(7, "D") });
    await vi.advanceTimersByTimeAsync(206);
    expect(asked).toEqual(["a", "b", "c", "d"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(await found).toBe("D");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("takes the answer of one that was only slow", async () => {
    const found = ask({ a: () => after(150, "A"), b: never });
    await vi.advanceTimersByTimeAsync(150);
    expect(await found).toBe("A");
  });

  test("rejects with the last failure when all have failed", async () => {
    await expect(ask({ a: fails, b: fails })).rejects.toThrow("down");
    expect(asked).toEqual(["a", "b"]);
  });
});
