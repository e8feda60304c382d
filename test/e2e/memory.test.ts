// The memory that a cluster takes while large bodies pass through it: bounded by its buffers, not by the bodies.
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster } from "./dev-cluster.ts";
import { expectSmallProcesses } from "./peak-memory.ts";
import { MiB } from "./sample-files.ts";
import { sdkClient } from "./sdk.ts";

const Bucket = "demo";
let cluster: DevCluster;

beforeAll(async () => {
  cluster = await DevCluster.start();
});
afterAll(() => cluster?.remove());

/** A body that repeats one random megabyte and begins with a number of its own, so that bodies differ. */
function* pieces(seed: number, piece: Buffer, count: number): Generator<Buffer> {
  const first = Buffer.from(piece);
  first.writeUInt32BE(seed);
  yield first;
  for (let i = 1; i < count; i++) yield piece;
}

test("1 GiB through 8 clients in each direction leaves every process below 300 MB", async () => {
  const piece = randomBytes(MiB);
  const count = 128;
  const seeds = Array.from({ length: 8 }, (_, i) => i);
  const digestOf = (stream: Iterable<Buffer>): string => {
    const hash = createHash("sha256");
    for (const one of stream) hash.update(one);
    return hash.digest("hex");
  };
  const digests = seeds.map((seed) => digestOf(pieces(seed, piece, count)));
  const clients = seeds.map(() => sdkClient(cluster.dev));
  expectSmallProcesses("at the start", cluster.dev);
  let began = performance.now();
  await Promise.all(
    clients.map((s3, i) =>
      s3.send(
        new PutObjectCommand({
          Bucket,
          Key: `many/${i}`,
          Body: Readable.from(pieces(i, piece, count)),
          ContentLength: count * MiB,
        }),
      ),
    ),
  );
  expectSmallProcesses(`8 x 128 MiB up in ${seconds(began)} s`, cluster.dev);
  began = performance.now();
  await Promise.all(
    clients.map(async (s3, i) => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: `many/${i}` }));
      const hash = createHash("sha256");
      for await (const chunk of Body as Readable) hash.update(chunk as Buffer);
      expect(hash.digest("hex")).toBe(digests[i]);
    }),
  );
  expectSmallProcesses(`8 x 128 MiB down in ${seconds(began)} s`, cluster.dev);
  for (const s3 of clients) s3.destroy();
});

function seconds(began: number): string {
  return ((performance.now() - began) / 1000).toFixed(1);
}
