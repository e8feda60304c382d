import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ListRequest, type ListResult } from "../../../shared/object-service.ts";
import { compareUtf8 } from "../../../shared/utf8.ts";
import { BUCKET, bytesOf, makeService, plan, putRequest, stream } from "./fixture.ts";

type Asked = Omit<ListRequest, "bucket">;

async function withKeys(keys: readonly string[]) {
  const parts = makeService();
  for (const key of keys) {
    await parts.service.put(putRequest(key, plan(1)), stream(bytesOf(1)));
  }
  const list = (asked: Partial<Asked>): Promise<ListResult> =>
    parts.service.list({
      bucket: BUCKET,
      prefix: "",
      delimiter: "",
      after: undefined,
      afterPrefix: false,
      limit: 1000,
      ...asked,
    });
  return { ...parts, list };
}

/** All items that S3's rules give, sorted by bytes: keys, and prefixes marked by a leading "P". */
function oracle(keys: readonly string[], prefix: string, delimiter: string): string[] {
  const bytes = (text: string): Buffer => Buffer.from(text, "utf8");
  const items = new Map<string, string>();
  for (const key of keys) {
    if (!key.startsWith(prefix)) continue;
    const rest = key.slice(prefix.length);
    const cut = delimiter === "" ? -1 : rest.indexOf(delimiter);
    const item = cut < 0 ? key : prefix + rest.slice(0, cut + delimiter.length);
    items.set((cut < 0 ? "K" : "P") + item, item);
  }
  return [...items]
    .toSorted(([, a], [, b]) => Buffer.compare(bytes(a), bytes(b)))
    .map(([marked]) => marked);
}

function itemsOf(page: ListResult): string[] {
  return [
    ...page.entries.map(({ key }) => `K${key}`),
    ...page.commonPrefixes.map((prefix) => `P${prefix}`),
  ].toSorted((a, b) => compareUtf8(a.slice(1), b.slice(1)));
}

const letter = fc.constantFrom("a", "b", "/", "//", "é", "\uffff", "\u{10000}", "\u{10ffff}", "~");
const name = fc.array(letter, { minLength: 1, maxLength: 5 }).map((letters) => letters.join(""));

describe("list", () => {
  it("pages like a naive listing", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 40 }),
        fc.oneof(fc.constant(""), name),
        fc.constantFrom("", "/", "a", "//", "\u{10000}"),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 3 }),
        async (keys, prefix, delimiter, limit, pageRows) => {
          const { list, index } = await withKeys(keys);
          index.pageRows = () => pageRows;
          const expected = oracle(keys, prefix, delimiter);
          const found: string[] = [];
          let last: ListResult["last"];
          for (;;) {
            const page = await list({ prefix, delimiter, limit, ...last });
            const items = itemsOf(page);
            found.push(...items);
            expect(page.truncated).toBe(found.length < expected.length);
            if (page.truncated) expect(items).toHaveLength(limit);
            if (!page.truncated) break;
            last = page.last;
          }
          expect(found).toEqual(expected);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("starts strictly after a key", async () => {
    const { list } = await withKeys(["a", "a\u0001", "a!", "b"]);
    expect(itemsOf(await list({ after: "a" }))).toEqual(["Ka\u0001", "Ka!", "Kb"]);
    expect(itemsOf(await list({ after: "a", limit: 1 }))).toEqual(["Ka\u0001"]);
    expect(itemsOf(await list({ after: "zz" }))).toEqual([]);
  });

  it("is not truncated when only deleted objects and uploads follow", async () => {
    const { list, service } = await withKeys(["a", "b"]);
    await service.delete(putRequest("b", plan(0)));
    await service.createUpload(putRequest("c", plan(0)));
    const page = await list({ limit: 1 });
    expect(itemsOf(page)).toEqual(["Ka"]);
    expect(page.truncated).toBe(false);
  });

  it("seeks past a group instead of reading it", async () => {
    const inside = Array.from({ length: 200 }, (_, i) => `g/${i}`);
    const { list, index } = await withKeys([...inside, "h"]);
    index.scanned.length = 0;
    index.pageRows = () => 2;
    const page = await list({ delimiter: "/", limit: 10 });
    expect(itemsOf(page)).toEqual(["Pg/", "Kh"]);
    expect(index.scanned.length).toBeLessThanOrEqual(3);
  });

  it("asks all slices at once, and once for a page that fits", async () => {
    const { list, index } = await withKeys(Array.from({ length: 60 }, (_, i) => `k${i}`));
    index.scanned.length = 0;
    await list({ limit: 20 });
    expect(index.scanned).toHaveLength(1);
    const slices = index.scanned[0]!.map(({ slice }) => slice);
    expect(new Set(slices).size).toBe(slices.length);
    expect(slices.length).toBeGreaterThan(5);
  });

  it("answers an empty bucket and limit 0", async () => {
    const { list } = await withKeys([]);
    const empty = { entries: [], commonPrefixes: [], truncated: false, last: undefined };
    expect(await list({})).toEqual(empty);
    const { list: listFull } = await withKeys(["a"]);
    expect(await listFull({ limit: 0 })).toEqual(empty);
  });
});

describe("listUploads", () => {
  it("pages by key, then by upload, and groups", async () => {
    const { service, clock } = makeService();
    const made: string[] = [];
    for (const key of ["b", "a", "d/1", "a", "d/2", "c", "e"]) {
      clock.nowMs += 1;
      const { id } = await service.createUpload(putRequest(key, plan(0)));
      made.push(`${key} ${id}`);
    }
    await service.put(putRequest("aa", plan(1)), stream(bytesOf(1)));
    const all = async (delimiter: string, limit: number): Promise<string[]> => {
      const found: string[] = [];
      let markers: { keyMarker: string | undefined; uploadIdMarker: string | undefined } = {
        keyMarker: undefined,
        uploadIdMarker: undefined,
      };
      for (let pages = 0; pages < 20; pages++) {
        const page = await service.listUploads({
          bucket: BUCKET,
          prefix: "",
          delimiter,
          limit,
          ...markers,
        });
        found.push(...page.uploads.map(({ key, upload }) => `${key} ${upload.id}`));
        found.push(...page.commonPrefixes);
        if (!page.truncated) return delimiter === "" ? found : found.toSorted(compareUtf8);
        markers = { keyMarker: page.nextKeyMarker, uploadIdMarker: page.nextUploadIdMarker };
      }
      throw new Error("Paging does not end");
    };
    const [b, a1, d1, a2, d2, c, e] = made;
    for (const limit of [1, 2, 3, 100]) {
      expect(await all("", limit)).toEqual([a1, a2, b, c, d1, d2, e]);
      expect(await all("/", limit)).toEqual([a1, a2, b, c, "d/", e]);
    }
  });
});
