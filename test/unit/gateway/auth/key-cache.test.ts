import { beforeEach, describe, expect, test } from "vitest";
import { KeyCache } from "../../../../gateway/auth/key-cache.ts";
import { RingstowError } from "../../../../shared/errors.ts";
import { parseRequestId } from "../../../../shared/ids.ts";
import { sealedFor } from "../../../../shared/key-service.ts";
import {
  recordFreshMs,
  recordRefreshPauseMs,
  recordStaleMs,
  keyTouchMs,
  keyUnknownMs,
  recordUnreachableMs,
} from "../../../../shared/limits.ts";
import { type AccessKey } from "../../../../shared/records.ts";
import { sealSecret } from "../../../../shared/sealed-secret.ts";

const keyEncryption = new Uint8Array(32).fill(1);
const seal = (id: string, secret: string): string =>
  sealSecret(keyEncryption, new Uint8Array(24), sealedFor(id), new TextEncoder().encode(secret));

let nowMs: number;
let keys: Map<string, AccessKey>;
let asked: string[];
let touched: number[];
let failure: RingstowError | undefined;
let cache: KeyCache;

beforeEach(() => {
  nowMs = 1_000_000;
  const grants = { buckets: {}, createBuckets: true };
  keys = new Map([
    [
      "known",
      { id: "known", sealedSecret: seal("known", "s3cret"), name: "", grants, createdMs: 1 },
    ],
  ]);
  asked = [];
  touched = [];
  failure = undefined;
  cache = new KeyCache({
    keys: {
      async getKey({ id }) {
        asked.push(id);
        if (failure) throw failure;
        const key = keys.get(id);
        if (!key) throw new RingstowError("NoSuchAccessKey");
        return key;
      },
      async touchKey({ usedMs }) {
        touched.push(usedMs);
        return keys.get("known")!;
      },
    },
    keyEncryption,
    wallMs: () => nowMs,
    newRequestId: () => parseRequestId("0".repeat(32)),
  });
});

const secretOf = async (id = "known"): Promise<string | undefined> =>
  (await cache.find(id))?.secretAccessKey;

describe("KeyCache", () => {
  test("opens the sealed secret, and answers at once while it is fresh", async () => {
    expect(await secretOf()).toBe("s3cret");
    nowMs += recordFreshMs - 1;
    expect(cache.find("known")).not.toBeInstanceOf(Promise);
    expect(asked).toEqual(["known"]);
  });

  test("refreshes an older key behind the request, once a pause", async () => {
    await secretOf();
    nowMs += recordFreshMs;
    keys.delete("known");
    expect(cache.find("known")).not.toBeInstanceOf(Promise);
    void cache.find("known");
    expect(asked).toHaveLength(2);
    await new Promise(setImmediate);
    nowMs += recordRefreshPauseMs;
    expect(await secretOf()).toBeUndefined();
  });

  test("a deleted key is refused at the latest when it is stale", async () => {
    await secretOf();
    keys.delete("known");
    nowMs += recordStaleMs;
    expect(await secretOf()).toBeUndefined();
  });

  test("while no node answers a known key stays good for its time, then the call is refused", async () => {
    await secretOf();
    failure = new RingstowError("Unavailable");
    nowMs += recordUnreachableMs - 1;
    expect(await secretOf()).toBe("s3cret");
    nowMs += 1;
    await expect(secretOf()).rejects.toMatchObject({ code: "Unavailable" });
    await expect(secretOf("other")).rejects.toMatchObject({ code: "Unavailable" });
  });

  test("remembers for a moment that there is no such key", async () => {
    expect(await secretOf("none")).toBeUndefined();
    expect(cache.find("none")).toBeUndefined();
    expect(asked).toEqual(["none"]);
    nowMs += keyUnknownMs;
    keys.set("none", { ...keys.get("known")!, id: "none", sealedSecret: seal("none", "new") });
    expect(await secretOf("none")).toBe("new");
  });

  test("a secret that was sealed for another key does not open", async () => {
    keys.set("moved", { ...keys.get("known")!, id: "moved" });
    await expect(secretOf("moved")).rejects.toMatchObject({ code: "AccessDenied" });
  });

  test("notes a use, but not every one; a clock set back asks again", async () => {
    const credential = (await cache.find("known"))!;
    credential.used!();
    credential.used!();
    expect(touched).toEqual([nowMs]);
    nowMs += keyTouchMs;
    credential.used!();
    expect(touched).toHaveLength(2);
    nowMs -= 10 * keyTouchMs;
    await secretOf();
    expect(asked).toHaveLength(2);
  });
});
