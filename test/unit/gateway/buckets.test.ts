import { describe, expect, test } from "vitest";
import { TestGateway, xmlText, xmlTexts } from "./test-gateway.ts";
import { code, withBucket } from "./with-bucket.ts";

describe("buckets", () => {
  test("CreateBucket, HeadBucket, ListBuckets and DeleteBucket follow one bucket's life", async () => {
    const gateway = new TestGateway();
    const created = await gateway.send("PUT", "/photos", {
      body: `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>`,
    });
    expect(created.status).toBe(200);
    expect(created.headers.get("location")).toBe("/photos");
    expect(await code(await gateway.send("PUT", "/photos"))).toBe("BucketAlreadyOwnedByYou");
    expect(await code(await gateway.send("PUT", "/photos", { as: "bob" }))).toBe(
      "BucketAlreadyExists",
    );
    const head = await gateway.send("HEAD", "/photos");
    expect(head.status).toBe(200);
    expect(head.headers.get("x-amz-bucket-region")).toBe("ring-1");
    const list = await (await gateway.send("GET", "/")).text();
    expect(xmlTexts(list, "Name")).toEqual(["photos"]);
    expect(xmlTexts(await (await gateway.send("GET", "/", { as: "bob" })).text(), "Name")).toEqual(
      [],
    );
    expect((await gateway.send("DELETE", "/photos")).status).toBe(204);
    expect((await gateway.send("HEAD", "/photos")).status).toBe(404);
  });

  test("another owner's bucket is AccessDenied", async () => {
    const gateway = await withBucket();
    const response = await gateway.send("GET", "/photos", { as: "bob" });
    expect(response.status).toBe(403);
    expect(await code(response)).toBe("AccessDenied");
  });

  test("ListBuckets pages by max-buckets and token", async () => {
    const gateway = new TestGateway();
    for (const name of ["aaa", "bbb", "ccc"]) await gateway.send("PUT", `/${name}`);
    const first = await (await gateway.send("GET", "/?max-buckets=2")).text();
    expect(xmlTexts(first, "Name")).toEqual(["aaa", "bbb"]);
    const token = xmlText(first, "ContinuationToken")!;
    const second = await (
      await gateway.send("GET", `/?max-buckets=2&continuation-token=${token}`)
    ).text();
    expect(xmlTexts(second, "Name")).toEqual(["ccc"]);
    expect(xmlText(second, "ContinuationToken")).toBeUndefined();
  });

  test("features that a bucket does not have answer as S3 does", async () => {
    const gateway = await withBucket();
    const ask = (query: string) => gateway.send("GET", `/photos?${query}`);
    expect(await (await ask("location")).text()).toContain(">ring-1</LocationConstraint>");
    expect((await ask("versioning")).status).toBe(200);
    const acl = await (await ask("acl")).text();
    expect(acl).toContain('xsi:type="CanonicalUser"');
    expect(xmlText(acl, "Permission")).toBe("FULL_CONTROL");
    expect(await code(await ask("policy"))).toBe("NoSuchBucketPolicy");
    expect(await code(await ask("object-lock"))).toBe("ObjectLockConfigurationNotFoundError");
    const tagging = await ask("tagging");
    expect(tagging.status).toBe(501);
    expect(await code(tagging)).toBe("NotImplemented");
  });

  test("a bucket made anew elsewhere is found although the cached record is stale", async () => {
    const gateway = await withBucket();
    await gateway.send("PUT", "/photos/a", { body: "1" });
    const service = gateway.store.service();
    const anew = async (): Promise<void> => {
      gateway.store.objects.get(gateway.store.buckets.get("photos")!.id)!.clear();
      await service.deleteBucket({ name: "photos", requestId: "" as never });
      await service.createBucket({ name: "photos", owner: "alice", requestId: "" as never });
    };
    await anew();
    expect(await code(await gateway.send("GET", "/photos/a"))).toBe("NoSuchKey");
    await anew();
    expect((await gateway.send("PUT", "/photos/b", { body: "2" })).status).toBe(200);
    await service.delete({
      bucket: gateway.store.buckets.get("photos")!,
      key: "b",
      precondition: {},
      requestId: "" as never,
    });
    await service.deleteBucket({ name: "photos", requestId: "" as never });
    expect(await code(await gateway.send("GET", "/photos/a"))).toBe("NoSuchBucket");
  });

  test("bucket records are asked for once in a few seconds", async () => {
    const gateway = await withBucket();
    for (let i = 0; i < 3; i++) await gateway.send("GET", "/photos/none");
    const lookups = () => gateway.store.calls.filter(({ name }) => name === "getBucket").length;
    expect(lookups()).toBe(0);
    gateway.nowMs += 6_000;
    await gateway.send("GET", "/photos/none");
    await gateway.send("GET", "/photos/none");
    expect(lookups()).toBe(1);
    gateway.nowMs -= 60_000;
    await gateway.send("GET", "/photos/none");
    expect(lookups()).toBe(2);
  });

  test("impossible bucket names are InvalidBucketName", async () => {
    const gateway = new TestGateway();
    for (const name of ["ab", "Photos", "a..b", "192.168.0.1", "xn--x", "a".repeat(64), "-ab"]) {
      expect(await code(await gateway.send("PUT", `/${name}`)), name).toBe("InvalidBucketName");
    }
    // The empty name between two slashes.
    for (const path of ["//", "//key"])
      expect(await code(await gateway.send("PUT", path)), path).toBe("InvalidBucketName");
  });
});
