// How old a record may be that a request takes, and how long a request waits for a newer one.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RecordCache } from "../../../gateway/record-cache.ts";
import { RingstowError } from "../../../shared/errors.ts";
import {
  recordFailedMs,
  recordFreshMs,
  recordRefreshPauseMs,
  recordStaleMs,
  recordUnreachableMs,
  recordWaitMs,
} from "../../../shared/limits.ts";

interface Named {
  readonly name: string;
}

let reads: number;
/** What nodes tell. */
let read: () => Promise<Named>;
let faults: unknown[];
let cache: RecordCache<Named>;

beforeEach(() => {
  vi.useFakeTimers();
  reads = 0;
  faults = [];
  read = async () => ({ name: "first" });
  const reportFault = (error: unknown): unknown => faults.push(error);
  cache = new RecordCache({ max: 10, wallMs: Date.now, reportFault });
});
afterEach(() => void vi.useRealTimers());

const find = (): Named | Promise<Named> =>
  cache.find("id", () => {
    reads++;
    return read();
  });
const refuses = (code: "Unavailable" | "NoSuchBucket") => (): Promise<never> =>
  Promise.reject(new RingstowError(code));
const never = (): Promise<never> => new Promise(() => undefined);
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

test("find answers at once while the record is fresh, and later with what was read behind a request's back", async () => {
  await find();
  read = async () => ({ name: "second" });
  await pass(recordFreshMs - 1);
  expect(find()).toEqual({ name: "first" });
  await pass(1);
  expect(find()).toEqual({ name: "first" });
  await pass(0);
  expect(find()).toEqual({ name: "second" });
  expect(reads).toBe(2);
});

test("what was read behind a request's back and cut off is read again after a pause", async () => {
  await find();
  read = never;
  await pass(recordFreshMs);
  for (let i = 0; i < 5; i++) expect(find()).toEqual({ name: "first" });
  expect(reads).toBe(2);
  await pass(recordRefreshPauseMs);
  expect(find()).toEqual({ name: "first" });
  expect(reads).toBe(3);
});

test("a stale record is read before the request goes on", async () => {
  await find();
  read = async () => ({ name: "second" });
  await pass(recordStaleMs);
  expect(await find()).toEqual({ name: "second" });
});

test("a request waits for a stale record only so long, and those after it for a while not at all", async () => {
  await find();
  read = never;
  await pass(recordStaleMs);
  const waiting = find();
  expect(waiting).toBeInstanceOf(Promise);
  await pass(recordWaitMs);
  expect(await waiting).toEqual({ name: "first" });
  expect(find()).toEqual({ name: "first" });
  expect(reads).toBe(3); // again, behind that request's back
  await pass(recordFailedMs);
  expect(find()).toBeInstanceOf(Promise);
});

test("while nodes cannot tell a record it serves for its time, then its reading decides", async () => {
  await find();
  read = refuses("Unavailable");
  for (let ageMs = 0; ageMs < recordUnreachableMs - 2_000; ageMs += 2_000) {
    await pass(2_000);
    expect(await find()).toEqual({ name: "first" });
  }
  await pass(2_000);
  await expect(find()).rejects.toMatchObject({ code: "Unavailable" });
  read = async () => ({ name: "second" });
  expect(await find()).toEqual({ name: "second" });
});

test("a record that is gone is forgotten, whenever it was read", async () => {
  await find();
  read = refuses("NoSuchBucket");
  await pass(recordStaleMs);
  await expect(find()).rejects.toMatchObject({ code: "NoSuchBucket" });
  read = async () => ({ name: "second" });
  await find();
  read = refuses("NoSuchBucket");
  await pass(recordFreshMs);
  expect(find()).toEqual({ name: "second" });
  await pass(0);
  await expect(find()).rejects.toMatchObject({ code: "NoSuchBucket" });
  expect(faults).toEqual([]);
});

test("an answer that comes late does not replace what was asked for after it", async () => {
  await find();
  const late = Promise.withResolvers<Named>();
  read = () => late.promise;
  await pass(recordFreshMs);
  void find();
  read = async () => ({ name: "third" });
  await pass(recordRefreshPauseMs);
  void find();
  await pass(0);
  late.resolve({ name: "second" });
  await pass(0);
  expect(find()).toEqual({ name: "third" });
});

test("a fault behind a request's back is reported", async () => {
  await find();
  read = () => Promise.reject(new TypeError("broken"));
  await pass(recordFreshMs);
  expect(find()).toEqual({ name: "first" });
  await pass(0);
  expect(String(faults)).toBe("TypeError: broken");
});

test("evict forgets a record, but not the one that replaced it; a clock that was set back asks again", async () => {
  cache.set("id", { name: "first" });
  cache.evict("id", ({ name }) => name === "other");
  expect(find()).toEqual({ name: "first" });
  vi.setSystemTime(Date.now() - 1_000);
  await find();
  expect(reads).toBe(1);
  cache.evict("id", ({ name }) => name === "first");
  await find();
  expect(reads).toBe(2);
});
