// boto3 against a cluster as a user starts it; boto3-client.py is the program, this judges what it saw.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, boto3, describeClient } from "./client-program.ts";
import { DevCluster, root } from "./dev-cluster.ts";
import { MiB, randomFile, sha256Of } from "./sample-files.ts";

describeClient(boto3, () => {
  let cluster: DevCluster;
  let python: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    const { accessKeyId, secretAccessKey, region } = cluster.dev;
    python = new ClientProgram(boto3, {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_DEFAULT_REGION: region,
      AWS_EC2_METADATA_DISABLED: "true",
    });
  });
  afterAll(async () => {
    python?.remove();
    await cluster?.remove();
  });

  test("transfers in parts, conditions, checksums, copies, pages, presigned URLs, deletions", async () => {
    const digest = await randomFile(python.path("big"), 18 * MiB);
    const script = join(root, "test/e2e/boto3-client.py");
    const { stdout } = await python.run([script, cluster.dev.endpoint, python.home]);
    const { bigTag, boto3: version, ...saw } = JSON.parse(stdout) as Record<string, unknown>;
    console.log(`boto3 ${String(version)}`);
    expect(await sha256Of(python.path("got"))).toBe(digest);
    expect(bigTag).toMatch(/^"[0-9a-f]{32}-4"$/u);
    const [crc32, sha1] = ["/sUwqQ==", "BA8G/XdAkkeNRQd09bowxdp4rMg="];
    const sha256 = "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=";
    expect(saw).toEqual({
      got: ["content", "text/x-test", { colour: "green" }],
      range: "ont",
      missing: "NoSuchKey",
      notModified: "304",
      precondition: "PreconditionFailed",
      copies: [7, 18 * MiB],
      CRC32: [crc32, crc32],
      SHA1: [sha1, sha1],
      SHA256: [sha256, sha256],
      presigned: "for you",
      keys: [
        ...["a/copy", "a/presigned", "a/stream", "a/ü +%", "big", "big-copy"],
        ...["sum/CRC32", "sum/SHA1", "sum/SHA256"],
      ],
      deleted: 9,
      gone: "NoSuchBucket",
    });
  });
});
