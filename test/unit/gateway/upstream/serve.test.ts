// The whole way over real sockets: S3 client, gateway on Node, signed hop, node app, service double.
import { readdirSync } from "node:fs";
import { once } from "node:events";
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { AwsClient } from "aws4fetch";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createNodeUpstream, serveGateway } from "../../../../gateway/serve.ts";
import { type NearestUpstream } from "../../../../gateway/upstream/nearest-upstream.ts";
import { type RunningHttpServer } from "../../../../node/runtime/http-server.ts";
import { type TestNode, gatewaySecret, startNodes } from "../../node/http/node-fixture.ts";
import { ObjectDouble } from "../../node/http/object-double.ts";
import { OWN_BUCKETS } from "../own-buckets.ts";

const MiB = 1024 * 1024;
const keys = { accessKeyId: "key", secretAccessKey: "hidden" };
const region = "ring-1";

let double: ObjectDouble;
let nodes: TestNode[];
let upstream: NearestUpstream;
let gateway: RunningHttpServer;

beforeEach(async () => {
  double = new ObjectDouble();
  nodes = await startNodes([double]);
  upstream = createNodeUpstream({ seeds: [nodes[0]!.server.url], gatewaySecret });
  const { secretAccessKey } = keys;
  const credentials = () => ({ secretAccessKey, grants: OWN_BUCKETS });
  gateway = await serveGateway({
    config: {
      region,
      credentials,
      trustForwarded: false,
      tokenSecret: new Uint8Array(32),
      hopSecret: new Uint8Array(32),
    },
    upstream,
    host: "127.0.0.1",
    port: 0,
  });
});

afterEach(async () => {
  await gateway.close();
  await upstream.stop();
  await Promise.all(nodes.map(({ server }) => server.close()));
});

async function presigned(method: string, key: string): Promise<string> {
  const signer = new AwsClient({ ...keys, region, service: "s3" });
  const url = `${gateway.url}/photos/${key}?X-Amz-Expires=60`;
  return (await signer.sign(url, { method, aws: { signQuery: true } })).url;
}

test.each([0, 3, 100_000, 9 * MiB])("an S3 client puts and gets %i bytes", async (length) => {
  const client = new S3Client({
    region,
    endpoint: gateway.url,
    forcePathStyle: true,
    credentials: keys,
    requestChecksumCalculation: "WHEN_REQUIRED",
  });
  const at = { Bucket: "photos", Key: "ä/b" };
  const bytes = Buffer.alloc(length, 0x5a);
  const { ETag } = await client.send(new PutObjectCommand({ ...at, Body: bytes }));
  const got = await client.send(new GetObjectCommand(at));
  expect(got.ETag).toBe(ETag);
  expect(Buffer.from(await got.Body!.transformToByteArray()).equals(bytes)).toBe(true);
  const part = await client
    .send(new GetObjectCommand({ ...at, Range: "bytes=1-1" }))
    .catch((e: Error) => e.name);
  if (length > 1) expect(part).toMatchObject({ ContentLength: 1 });
  client.destroy();
});

test("100 downloads that a client leaves stop the node and give back their descriptors", async () => {
  double.store("big", Buffer.alloc(32 * MiB));
  const url = await presigned("GET", "big");
  const before = readdirSync("/proc/self/fd").length;
  for (let round = 0; round < 5; round++) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const request = httpRequest(url, { agent: new Agent() }).end();
        const [response] = (await once(request, "response")) as [IncomingMessage];
        await once(response, "data");
        response.destroy();
        await once(response, "close");
      }),
    );
  }
  await expect.poll(() => double.stopped, { timeout: 5000 }).toBe(100);
  // On a slow machine nodes are asked for signs of life, by connections that are kept for a while.
  await expect.poll(() => readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 20);
});

test("an upload that a client leaves fails at the node with IncompleteBody and stores nothing", async () => {
  const url = await presigned("PUT", "big");
  const request = httpRequest(url, { method: "PUT", headers: { "content-length": 8 * MiB } });
  request.on("error", () => undefined); // destroyed below
  request.write(Buffer.alloc(MiB));
  await expect.poll(() => double.calls.some(({ method }) => method === "put")).toBe(true);
  request.destroy();
  await expect.poll(() => double.bodyErrors).toMatchObject([{ code: "IncompleteBody" }]);
  expect(double.objects.size).toBe(0);
});

test("a download that no node can finish breaks the client's transfer", async () => {
  double.store("big", Buffer.alloc(4 * MiB));
  double.bodyOf = (bytes) =>
    (async function* () {
      // The first answer gives half of the object, those that resume it nothing.
      const good = bytes.length === 4 * MiB ? 2 * MiB : 0;
      for (let at = 0; at < good; at += 65_536) yield bytes.subarray(at, at + 65_536);
      throw new Error("disk broke");
    })();
  const url = await presigned("GET", "big");
  await expect(
    fetch(url).then(async (response) => (await response.arrayBuffer()).byteLength),
  ).rejects.toThrow();
});

test("a client that waits for 100 Continue gets it, or the error without sending", async () => {
  const send = async (url: string): Promise<{ status: number; continued: boolean }> => {
    const headers = { "content-length": 5 * MiB, expect: "100-continue" };
    const request = httpRequest(url, { method: "PUT", headers, agent: new Agent() });
    let continued = false;
    request.on("continue", () => {
      continued = true;
      request.end(Buffer.alloc(5 * MiB));
    });
    request.flushHeaders();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.resume();
    await once(response, "close");
    request.destroy();
    return { status: response.statusCode!, continued };
  };
  expect(await send(await presigned("PUT", "good"))).toEqual({ status: 200, continued: true });
  const refused = (await presigned("PUT", "bad")).replace("/bad", "/worse");
  expect(await send(refused)).toEqual({ status: 403, continued: false });
  expect(double.objects.get("good")?.bytes.length).toBe(5 * MiB);
});
