import { describe, expect, test } from "vitest";
import { HOST, TestGateway, xmlText, xmlTexts } from "./test-gateway.ts";
import { withBucket } from "./with-bucket.ts";

describe("errors", () => {
  test("the XML's RequestId is x-amz-request-id, HEAD has no body", async () => {
    const gateway = await withBucket();
    const response = await gateway.send("GET", "/photos/no%26thing");
    const text = await response.text();
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/xml");
    expect(text).not.toContain("xmlns");
    expect(xmlText(text, "RequestId")).toBe(response.headers.get("x-amz-request-id"));
    expect(xmlText(text, "Resource")).toBe("/photos/no&amp;thing");
    const head = await gateway.send("HEAD", "/photos/nothing");
    expect([head.status, await head.text()]).toEqual([404, ""]);
  });

  test("a fault is InternalError, told to the operator and not to the client", async () => {
    const gateway = await withBucket();
    gateway.store.service = () => {
      throw new Error("secret detail");
    };
    const response = await gateway.send("GET", "/photos/a");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
    expect(gateway.faults).toHaveLength(1);
  });

  test("unknown sub-resources are 501 and write nothing", async () => {
    const gateway = await withBucket();
    const before = gateway.store.calls.length;
    for (const target of [
      "/photos/a?tagging",
      "/photos/a?acl",
      "/photos/a?brandnew",
      "/photos?x",
    ]) {
      const response = await gateway.send("PUT", target, { body: "1" });
      expect(response.status, target).toBe(501);
    }
    expect((await gateway.send("OPTIONS", "/photos/a")).status).toBe(501);
    expect((await gateway.send("PATCH", "/photos/a")).status).toBe(501);
    expect(gateway.store.calls.length).toBe(before);
  });

  test("a URL presigned with signature version 2 is told which version to use", async () => {
    const gateway = await withBucket();
    const target = "/photos/a?AWSAccessKeyId=alice&Signature=c2ln&Expires=1795388400";
    const response = await gateway.send("GET", target, { anonymous: true });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("Please use AWS4-HMAC-SHA256");
  });

  test("an unsigned request is AccessDenied and its body stays unread", async () => {
    const gateway = await withBucket();
    const before = gateway.bodiesRead.length;
    const response = await gateway.send("PUT", "/photos/a", { body: "1", anonymous: true });
    expect(response.status).toBe(403);
    expect(gateway.bodiesRead.length).toBe(before);
  });
});

describe("hosts", () => {
  test("a bucket is found as a sub-domain of the public URL", async () => {
    const gateway = new TestGateway({ publicUrl: "https://s3.example.test" });
    await gateway.send("PUT", "/photos");
    const headers = { host: "photos.s3.example.test" };
    expect((await gateway.send("PUT", "/dir/a", { body: "1", headers })).status).toBe(200);
    expect(await (await gateway.send("GET", "/photos/dir/a")).text()).toBe("1");
    const list = await (await gateway.send("GET", "/?list-type=2", { headers })).text();
    expect(xmlTexts(list, "Key")).toEqual(["dir/a"]);
  });

  test("what was signed under the public host opens nothing in the bucket of another host", async () => {
    const gateway = new TestGateway({ publicUrl: "https://s3.example.test", trustForwarded: true });
    for (const bucket of ["photos", "secret"]) await gateway.send("PUT", `/${bucket}`);
    await gateway.send("PUT", "/photos/a", { body: "of photos" });
    await gateway.send("PUT", "/secret/photos/a", { body: "of secret" });
    const url = await gateway.presign("GET", "/photos/a");
    expect(await (await gateway.raw("GET", url, { host: HOST })).text()).toBe("of photos");
    for (const headers of [
      { host: "secret.s3.example.test" },
      { host: "SECRET.s3.example.test:443" },
      { host: HOST, "x-forwarded-host": "secret.s3.example.test" },
    ]) {
      const response = await gateway.raw("GET", url, headers);
      expect(xmlText(await response.text(), "Code")).toBe("SignatureDoesNotMatch");
    }
  });

  test("X-Forwarded-Host counts only from a trusted proxy", async () => {
    for (const trustForwarded of [true, false]) {
      const gateway = new TestGateway({ trustForwarded });
      const signed = await gateway.presign("PUT", "/photos");
      const headers = { host: "10.0.0.7:8080", "x-forwarded-host": "s3.example.test" };
      const response = await gateway.raw("PUT", signed, { ...headers, "content-length": "0" });
      expect(response.status).toBe(trustForwarded ? 200 : 403);
    }
  });
});
