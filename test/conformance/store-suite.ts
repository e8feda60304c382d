// What every implementation of the Store port must do (node/ports.ts).
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Row, type Store, type StoreWrite } from "../../node/ports.ts";

export interface StoreWorld {
  /** Opens the one store of this world; after close() it can be opened again. */
  open(): Promise<Store>;
  /** Runs a body; a world with virtual time lets it pass meanwhile. */
  run<T>(body: () => Promise<T>): Promise<T>;
  end(): Promise<void>;
}

const ALL = { from: "", to: "\u{10ffff}".repeat(9), limit: 1_000_000 };
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (value: Uint8Array | undefined): string | undefined =>
  value && new TextDecoder().decode(value);
const put = (key: string, value: string): StoreWrite => ({ key, value: bytes(value) });
const keysOf = (rows: readonly Row[]): string[] => rows.map((row) => row.key);
const byUtf8 = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Well-formed keys where UTF-8 order and JavaScript's order differ. */
const trickyKey = fc
  .array(
    fc.constantFrom(
      "a",
      "b",
      "/",
      "\u007f",
      "\u0080",
      "ÿ",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "\u{10000}",
      "\u{10ffff}",
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((characters) => characters.join(""));

export function describeStore(makeWorld: () => Promise<StoreWorld>): void {
  let world: StoreWorld;
  let store: Store;
  beforeEach(async () => {
    world = await makeWorld();
    store = await world.open();
  });
  afterEach(() => world.end());

  test("get: finds what write() stored, undefined for other keys", () =>
    world.run(async () => {
      await store.write([put("a", "1"), put("b", ""), put("ключ/€/😀", "3")]);
      expect(text(store.get("a"))).toBe("1");
      expect(text(store.get("b"))).toBe("");
      expect(text(store.get("ключ/€/😀"))).toBe("3");
      expect(store.get("c")).toBeUndefined();
      expect(store.get("ключ/€/")).toBeUndefined();
    }));

  test("get: values are plain byte arrays whose slice() copies", () =>
    world.run(async () => {
      await store.write([put("a", "xyz")]);
      expect(Object.getPrototypeOf(store.get("a"))).toBe(Uint8Array.prototype);
      const [row] = await store.range(ALL);
      expect(Object.getPrototypeOf(row!.value)).toBe(Uint8Array.prototype);
    }));

  test("get: keys of every length keep their last character", () =>
    world.run(async () => {
      const keys = Array.from({ length: 300 }, (_, i) => `${"k".repeat(i)}€`);
      await store.write(keys.map((key) => put(key, key)));
      // Shorter keys first: an adapter that reuses a buffer for keys must let it grow.
      for (const key of keys) expect(text(store.get(key))).toBe(key);
      expect(store.get("k".repeat(64))).toBeUndefined();
    }));

  test("range: rows in the order of the keys' UTF-8 bytes, beyond U+FFFF too", () =>
    world.run(async () => {
      const keys = ["\u{10000}", "\ue000", "\uffff", "z", "é", "a\u{1f600}", "a\uffee", "a"];
      await store.write(keys.map((key) => put(key, key)));
      expect(keysOf(await store.range(ALL))).toEqual(keys.toSorted(byUtf8));
      // U+FFFF sorts before U+10000 in UTF-8, and after it in UTF-16.
      const range = { from: "\ue000", to: "\u{10000}", limit: 10 };
      expect(keysOf(await store.range(range))).toEqual(["\ue000", "\uffff"]);
    }));

  test("range: from is inclusive, to is exclusive, limit cuts", () =>
    world.run(async () => {
      await store.write(["a", "b", "c", "d"].map((key) => put(key, key)));
      const keys = async (from: string, to: string, limit: number): Promise<string[]> =>
        keysOf(await store.range({ from, to, limit }));
      expect(await keys("b", "d", 10)).toEqual(["b", "c"]);
      expect(await keys("b", "d", 1)).toEqual(["b"]);
      expect(await keys("b", "d", 0)).toEqual([]);
      expect(await keys("bb", "cc", 10)).toEqual(["c"]);
      expect(await keys("c", "c", 10)).toEqual([]);
      expect(await keys("d", "b", 10)).toEqual([]);
    }));

  test("range: is a snapshot of the moment of the call", () =>
    world.run(async () => {
      await store.write([put("a", "old"), put("b", "old")]);
      const before = store.range(ALL);
      await store.write([put("a", "new"), { key: "b", value: undefined }, put("c", "new")]);
      expect((await before).map((row) => [row.key, text(row.value)])).toEqual([
        ["a", "old"],
        ["b", "old"],
      ]);
      expect(keysOf(await store.range(ALL))).toEqual(["a", "c"]);
    }));

  test("write: nothing of a batch is visible before it is durable, all of it afterwards", () =>
    world.run(async () => {
      const durable = store.write([put("a", "1"), put("b", "1")]);
      const early = store.range(ALL);
      expect(store.get("a")).toBeUndefined();
      expect(store.get("b")).toBeUndefined();
      expect(await early).toEqual([]);
      await durable;
      expect(keysOf(await store.range(ALL))).toEqual(["a", "b"]);
    }));

  test("write: batches become visible in the order of the calls, each whole", () =>
    world.run(async () => {
      const ended: number[] = [];
      const seen: string[] = [];
      const writes = Array.from({ length: 200 }, async (_, i) => {
        await store.write([put("x", String(i)), put("y", String(i)), put(`z${i}`, "")]);
        ended.push(i);
        const [x, y] = [text(store.get("x")), text(store.get("y"))];
        if (x !== y || Number(x) < i || !store.get(`z${i}`)) seen.push(`${i}: ${x} ${y}`);
      });
      await Promise.all(writes);
      expect(ended).toEqual(Array.from({ length: 200 }, (_, i) => i));
      expect(seen).toEqual([]);
      expect(text(store.get("x"))).toBe("199");
    }));

  test("write: within a batch the last write of a key wins; undefined deletes", () =>
    world.run(async () => {
      await store.write([
        put("a", "1"),
        put("a", "2"),
        put("b", "1"),
        { key: "b", value: undefined },
      ]);
      expect(text(store.get("a"))).toBe("2");
      expect(store.get("b")).toBeUndefined();
      await store.write([
        { key: "a", value: undefined },
        { key: "never", value: undefined },
      ]);
      expect(await store.range(ALL)).toEqual([]);
    }));

  test("write: an empty batch resolves", () => world.run(() => store.write([])));

  test("write: the array may be used again once it resolved, big values are kept whole", () =>
    world.run(async () => {
      const big = new Uint8Array(9_000_000).map((_, i) => i * 31 + (i >> 9));
      await store.write([{ key: "big", value: big }, put("small", "1")]);
      expect(Buffer.compare(store.get("big")!, big)).toBe(0);
      const [row] = await store.range({ from: "b", to: "c", limit: 1 });
      expect(Buffer.compare(row!.value, big)).toBe(0);
    }));

  test("settled: resolves after all writes called before", () =>
    world.run(async () => {
      await store.settled();
      let ended = 0;
      for (let i = 0; i < 50; i++) void store.write([put(`k${i}`, "")]).then(() => ended++);
      await store.settled();
      expect(ended).toBe(50);
      expect(await store.range(ALL)).toHaveLength(50);
    }));

  test("close: ends pending writes; what was written is there when it is opened again", () =>
    world.run(async () => {
      const rows = Array.from({ length: 500 }, (_, i) => put(`k${i}`, `v${i}`));
      const writes = rows.map((row) => store.write([row]));
      const closed = store.close();
      await expect(store.write([put("late", "")])).rejects.toMatchObject({ code: "Unavailable" });
      await Promise.all([...writes, closed]);
      expect(() => store.get("k1")).toThrow("closed");
      await expect(store.range(ALL)).rejects.toThrow("closed");
      await store.close();
      store = await world.open();
      for (const { key, value } of rows) expect(text(store.get(key))).toBe(text(value));
      expect(await store.range(ALL)).toHaveLength(500);
    }));

  test("open: refuses a second time while it is open", () =>
    world.run(() => expect(world.open()).rejects.toThrow("another process uses it")));

  test("any sequence of batches and reopenings equals a sorted map", async () => {
    const step = fc.oneof(
      fc.array(
        fc.record({
          key: trickyKey,
          value: fc.option(fc.uint8Array({ maxLength: 9 }), { nil: undefined }),
        }),
        {
          maxLength: 5,
        },
      ),
      fc.constant("reopen" as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 12 }),
        trickyKey,
        trickyKey,
        fc.nat(8),
        (steps, from, to, limit) =>
          world.run(async () => {
            await store.write(
              (await store.range(ALL)).map(({ key }) => ({ key, value: undefined })),
            );
            const model = new Map<string, Uint8Array>();
            for (const writes of steps) {
              if (writes === "reopen") {
                await store.close();
                store = await world.open();
                continue;
              }
              for (const { key, value } of writes) {
                if (value) model.set(key, value);
                else model.delete(key);
              }
              await store.write(writes);
            }
            const plain = (rows: readonly Row[]): unknown =>
              rows.map(({ key, value }) => [key, [...value]]);
            const expected = [...model]
              .toSorted(([a], [b]) => byUtf8(a, b))
              .map(([key, value]) => ({ key, value }));
            expect(plain(await store.range(ALL))).toEqual(plain(expected));
            const inside = expected.filter(
              ({ key }) => byUtf8(from, key) <= 0 && byUtf8(key, to) < 0,
            );
            expect(plain(await store.range({ from, to, limit }))).toEqual(
              plain(inside.slice(0, limit)),
            );
            for (const [key, value] of model) expect([...store.get(key)!]).toEqual([...value]);
          }),
      ),
      { numRuns: 25 },
    );
  });
}
