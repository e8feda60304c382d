import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { type Bucket } from "../../../shared/records.ts";
import { bytesOf, makeService, plan, putRequest, requestId, stream } from "./fixture.ts";

async function withBucket() {
  const parts = makeService();
  const { service } = parts;
  const create = (name: string, owner = "me") =>
    service.createBucket({ name, owner, requestId: requestId() });
  const remove = (name = "b") => service.deleteBucket({ name, requestId: requestId() });
  const bucket = await create("b");
  const write = (key: string, to: Bucket = bucket) =>
    service.put(putRequest(key, plan(1), { bucket: to }), stream(bytesOf(1)));
  const erase = (key: string) => service.delete(putRequest(key, plan(0), { bucket }));
  return { ...parts, create, remove, bucket, write, erase };
}

describe("createBucket", () => {
  it("makes a record that getBucket finds", async () => {
    const { service, bucket } = await withBucket();
    expect(bucket).toMatchObject({ name: "b", owner: "me", shards: 16 });
    expect(await service.getBucket({ name: "b" })).toEqual(bucket);
    await expect(service.getBucket({ name: "c" })).rejects.toMatchObject({ code: "NoSuchBucket" });
  });

  it("refuses a name that is taken", async () => {
    const { create } = await withBucket();
    await expect(create("b")).rejects.toMatchObject({ code: "BucketAlreadyOwnedByYou" });
    await expect(create("b", "you")).rejects.toMatchObject({ code: "BucketAlreadyExists" });
  });
});

describe("listBuckets", () => {
  it("pages by name", async () => {
    const { service, create } = await withBucket();
    for (const name of ["a", "d", "c"]) await create(name);
    const page = async (after: string | undefined, limit: number) => {
      const { buckets, truncated } = await service.listBuckets({ after, limit });
      return [buckets.map(({ name }) => name).join(""), truncated];
    };
    expect(await page(undefined, 10)).toEqual(["abcd", false]);
    expect(await page(undefined, 4)).toEqual(["abcd", false]);
    expect(await page(undefined, 3)).toEqual(["abc", true]);
    expect(await page("c", 3)).toEqual(["d", false]);
  });
});

describe("deleteBucket", () => {
  it("deletes an empty bucket; a new one of the name starts afresh", async () => {
    const { service, remove, create, write, bucket } = await withBucket();
    await remove();
    await expect(service.getBucket({ name: "b" })).rejects.toMatchObject({ code: "NoSuchBucket" });
    await expect(remove()).rejects.toMatchObject({ code: "NoSuchBucket" });
    await expect(write("k")).rejects.toMatchObject({ code: "NoSuchBucket" });
    const again = await create("b");
    expect(again.id).not.toBe(bucket.id);
    await write("k", again);
  });

  it("refuses a bucket with objects without disturbing its writers", async () => {
    const { remove, write, index, erase } = await withBucket();
    await write("k");
    await expect(remove()).rejects.toMatchObject({ code: "BucketNotEmpty" });
    expect(index.executed.some(({ operation }) => operation.type === "setGate")).toBe(false);
    await erase("k");
    await remove();
  });

  it("opens the gates again when an object slipped in before they closed", async () => {
    const { service, remove, write, index, erase } = await withBucket();
    let written: Promise<unknown> | undefined;
    index.before = async (operation) => {
      if (operation.type === "setGate") await (written ??= write("k"));
    };
    await expect(remove()).rejects.toMatchObject({ code: "BucketNotEmpty" });
    await write("other");
    await erase("k");
    await erase("other");
    await remove();
    await expect(service.getBucket({ name: "b" })).rejects.toMatchObject({ code: "NoSuchBucket" });
  });

  it("does not open gates that another DeleteBucket has taken over", async () => {
    const { service, remove, write, erase, index } = await withBucket();
    let written: Promise<unknown> | undefined;
    let second: Promise<void> | undefined;
    index.before = async (operation) => {
      if (operation.type !== "setGate") return;
      if (!operation.open) {
        await (written ??= write("k")); // the first DeleteBucket will find it
      } else if (written && !second) {
        // While the first one is about to open its gates, the object goes and a second one deletes the bucket.
        second = erase("k").then(() => remove());
        await second;
      } else if (second) {
        await second;
      }
    };
    await expect(remove()).rejects.toMatchObject({ code: "BucketNotEmpty" });
    await second;
    expect(second).toBeDefined();
    await expect(service.getBucket({ name: "b" })).rejects.toMatchObject({ code: "NoSuchBucket" });
    for (let i = 0; i < 40; i++) {
      await expect(write(`k${i}`)).rejects.toMatchObject({ code: "NoSuchBucket" });
    }
  });

  it("keeps the gates closed when the fate of the record is unknown, until it is sent again", async () => {
    const { remove, write, index, service } = await withBucket();
    index.before = (operation) => {
      if (operation.type === "deleteBucket") throw new RingstowError("Unavailable");
    };
    await expect(remove()).rejects.toMatchObject({ code: "Unavailable" });
    await expect(write("k")).rejects.toMatchObject({ code: "NoSuchBucket" });
    index.before = () => {};
    await remove();
    await expect(service.getBucket({ name: "b" })).rejects.toMatchObject({ code: "NoSuchBucket" });
  });

  it("opens the gates when one of them cannot be closed", async () => {
    const { remove, write, index } = await withBucket();
    let closed = 0;
    index.before = (operation) => {
      if (operation.type === "setGate" && !operation.open && ++closed === 3) {
        throw new RingstowError("Unavailable");
      }
    };
    await expect(remove()).rejects.toMatchObject({ code: "Unavailable" });
    index.before = () => {};
    for (let i = 0; i < 40; i++) await write(`k${i}`);
  });

  it("answers the retry of a request that succeeded, and spares a new bucket of the name", async () => {
    const { service, create, write } = await withBucket();
    const request = { name: "b", requestId: requestId() };
    await service.deleteBucket(request);
    await service.deleteBucket(request);
    const again = await create("b");
    await service.deleteBucket(request);
    expect(await service.getBucket({ name: "b" })).toEqual(again);
    for (let i = 0; i < 40; i++) await write(`k${i}`, again);
  });

  it("aborts uploads under way and frees their parts", async () => {
    const { service, bucket, remove, index } = await withBucket();
    for (let i = 0; i < 40; i++) {
      const { id } = await service.createUpload(putRequest(`k${i}`, plan(0), { bucket }));
      const part = { bucket, key: `k${i}`, uploadId: id, partNumber: 1, body: plan(5) };
      await service.putPart({ ...part, requestId: requestId() }, stream(bytesOf(5)));
    }
    await remove();
    await service.settled();
    expect(index.keys("p")).toHaveLength(0);
  });

  it("counts neither deleted objects nor garbage", async () => {
    const { remove, write, erase } = await withBucket();
    await write("k");
    await erase("k");
    await remove();
  });
});
