// AWS CLI version 2 against a cluster as a user starts it: what it does otherwise than version 1, and a day's work.
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, type Outcome, awsCli2, describeClient } from "./client-program.ts";
import { DevCluster } from "./dev-cluster.ts";
import {
  MiB,
  randomFile,
  readTree,
  sha256Of,
  writeCarefulNames,
  writeTree,
} from "./sample-files.ts";

describeClient(awsCli2, () => {
  let cluster: DevCluster;
  let aws: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    const { accessKeyId, secretAccessKey, region } = cluster.dev;
    aws = new ClientProgram(awsCli2, {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_DEFAULT_REGION: region,
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_PAGER: "",
      // One try each: a retry would hide an error of the server.
      AWS_MAX_ATTEMPTS: "1",
    });
    console.log((await aws.run(["--version"])).stdout.trim());
  });
  afterAll(async () => {
    aws?.remove();
    await cluster?.remove();
  });

  const run = (...args: string[]): Promise<Outcome> =>
    aws.run(["--endpoint-url", cluster.dev.endpoint, ...args]);
  const api = async (...args: string[]): Promise<Record<string, unknown>> =>
    JSON.parse((await run("s3api", ...args, "--output", "json")).stdout || "{}") as Record<
      string,
      unknown
    >;

  test("a tree is synchronised up and down; nothing is to do again; mv and rm", async () => {
    const [from, to] = [aws.path("tree"), aws.path("tree-again")];
    writeTree(from, 100);
    writeCarefulNames(aws.path("tree", "names"));
    await run("s3", "mb", "s3://tree");
    await run("s3", "sync", "--no-progress", from, "s3://tree/t");
    expect((await run("s3", "sync", "--no-progress", from, "s3://tree/t")).stdout).toBe("");
    await run("s3", "mv", "--recursive", "s3://tree/t", "s3://tree/moved");
    await run("s3", "sync", "--no-progress", "s3://tree/moved", to);
    expect(readTree(to)).toEqual(readTree(from));
    const listed = (await run("s3", "ls", "--recursive", "s3://tree")).stdout;
    expect(listed.trim().split("\n")).toHaveLength(108);
    expect(listed).not.toContain(" t/");
    await run("s3", "rm", "--recursive", "s3://tree");
    await run("s3", "rb", "s3://tree");
    expect((await run("s3", "ls")).stdout).not.toContain("tree");
  });

  test("40 MiB go up in parts, from a file and from a pipe, and come back equal", async () => {
    const [from, to] = [aws.path("big"), aws.path("big-again")];
    const digest = await randomFile(from, 40 * MiB);
    await run("s3", "cp", "--no-progress", from, "s3://demo/big");
    await run("s3", "cp", "--no-progress", "s3://demo/big", to);
    expect(await sha256Of(to)).toBe(digest);
    const head = await api("head-object", "--bucket", "demo", "--key", "big");
    expect(head["ETag"]).toMatch(/^"[0-9a-f]{32}-5"$/u);
    const text = "piped ".repeat(2_000_000);
    await aws.run(
      ["--endpoint-url", cluster.dev.endpoint, "s3", "cp", "-", "s3://demo/piped"],
      text,
    );
    expect((await run("s3", "cp", "s3://demo/piped", "-")).stdout).toBe(text);
  });

  test("put-object --checksum-algorithm is checked, stored and given back", async () => {
    writeFileSync(aws.path("body"), "content");
    const sums: Record<string, string> = {};
    for (const algorithm of ["CRC32", "SHA1", "SHA256"]) {
      const at = ["--bucket", "demo", "--key", `sum-${algorithm}`];
      const put = ["put-object", ...at, "--body", aws.path("body")];
      const stored = await api(...put, "--checksum-algorithm", algorithm);
      const field = `Checksum${algorithm}`;
      expect(stored[field]).toEqual(expect.any(String));
      sums[algorithm] = stored[field] as string;
      const head = await api("head-object", ...at, "--checksum-mode", "ENABLED");
      expect(head[field]).toBe(stored[field]);
      await api("get-object", ...at, "--checksum-mode", "ENABLED", aws.path("got"));
      expect(readFileSync(aws.path("got"), "utf8")).toBe("content");
    }
    expect(sums["SHA256"]).toBe("7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=");
    const wrong = await aws.try([
      ...["--endpoint-url", cluster.dev.endpoint, "s3api", "put-object", "--bucket", "demo"],
      ...["--key", "wrong", "--body", aws.path("body")],
      ...["--checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
    ]);
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain("BadDigest");
    expect((await run("s3", "ls", "s3://demo/")).stdout).not.toContain("wrong");
  });

  test("a presigned URL works without credentials", async () => {
    writeFileSync(aws.path("shared"), "for you");
    await run("s3", "cp", aws.path("shared"), "s3://demo/shared file");
    const { stdout } = await run("s3", "presign", "s3://demo/shared file", "--expires-in", "60");
    const answer = await fetch(stdout.trim());
    expect([answer.status, await answer.text()]).toEqual([200, "for you"]);
  });
});
