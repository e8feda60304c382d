// AWS CLI version 1 with its defaults against a cluster as a user starts it: what README shows, and a day's work with files.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, type Outcome, awsCli1, describeClient } from "./client-program.ts";
import { DevCluster } from "./dev-cluster.ts";
import { expectSmallProcesses } from "./peak-memory.ts";
import {
  MiB,
  randomFile,
  readTree,
  sha256Of,
  writeCarefulNames,
  writeTree,
} from "./sample-files.ts";

describeClient(awsCli1, () => {
  let cluster: DevCluster;
  let aws: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    const { accessKeyId, secretAccessKey, region } = cluster.dev;
    aws = new ClientProgram(awsCli1, {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_DEFAULT_REGION: region,
      AWS_EC2_METADATA_DISABLED: "true",
    });
    const { stdout, stderr } = await aws.run(["--version"]);
    console.log((stdout || stderr).trim());
  });
  afterAll(async () => {
    aws?.remove();
    await cluster?.remove();
  });

  const withEndpoint = (args: readonly string[]): string[] => [
    "--endpoint-url",
    cluster.dev.endpoint,
    ...args,
  ];
  const run = (...args: string[]): Promise<Outcome> => aws.run(withEndpoint(args));
  const api = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { stdout } = await run("s3api", ...args, "--output", "json");
    return JSON.parse(stdout || "{}") as Record<string, unknown>;
  };
  const timed = async (what: string, ...args: string[]): Promise<Outcome> => {
    const outcome = await run(...args);
    console.log(`aws ${what}: ${outcome.seconds.toFixed(1)} s`);
    return outcome;
  };

  test("a bucket is made, listed and removed", async () => {
    await run("s3", "mb", "s3://made-by-cli");
    expect((await run("s3", "ls")).stdout).toMatch(/ made-by-cli\n/u);
    const again = await aws.try(withEndpoint(["s3", "rb", "s3://not-there-at-all"]));
    expect(again.code).not.toBe(0);
    expect(again.stderr).toContain("NoSuchBucket");
    await run("s3", "rb", "s3://made-by-cli");
    expect((await run("s3", "ls")).stdout).not.toContain("made-by-cli");
  });

  test("1 GiB goes up and comes down with the same SHA-256", async () => {
    const [from, to] = [aws.path("big"), aws.path("big-again")];
    const digest = await randomFile(from, 1024 * MiB);
    await timed("cp 1 GiB up", "s3", "cp", "--no-progress", from, "s3://demo/big");
    await timed("cp 1 GiB down", "s3", "cp", "--no-progress", "s3://demo/big", to);
    expect(await sha256Of(to)).toBe(digest);
    expectSmallProcesses("after 1 GiB up and down", cluster.dev);
    const head = await api("head-object", "--bucket", "demo", "--key", "big");
    expect(head).toMatchObject({ ContentLength: 1024 * MiB });
    expect(head["ETag"]).toMatch(/^"[0-9a-f]{32}-128"$/u);
    await run("s3", "rm", "s3://demo/big");
  });

  test("2,000 small files: sync up, ls, sync down, nothing to do again, rm --recursive, rb", async () => {
    const [from, to] = [aws.path("tree"), aws.path("tree-again")];
    writeTree(from, 2_000);
    await run("s3", "mb", "s3://tree");
    await timed("sync of 2,000 files up", "s3", "sync", "--no-progress", from, "s3://tree/t");
    const listed = await timed("ls --recursive", "s3", "ls", "--recursive", "s3://tree");
    expect(listed.stdout.trim().split("\n")).toHaveLength(2_000);
    expect((await run("s3", "ls", "s3://tree/t/")).stdout.match(/PRE d\d\//gu)).toHaveLength(8);
    const again = await timed("sync again", "s3", "sync", "--no-progress", from, "s3://tree/t");
    expect(again.stdout).toBe("");
    await timed("sync of 2,000 files down", "s3", "sync", "--no-progress", "s3://tree/t", to);
    expect(readTree(to)).toEqual(readTree(from));
    const full = await aws.try(withEndpoint(["s3", "rb", "s3://tree"]));
    expect(full.stderr).toContain("BucketNotEmpty");
    await timed("rm of 2,000 files", "s3", "rm", "--recursive", "s3://tree");
    expect((await aws.try(withEndpoint(["s3", "ls", "--recursive", "s3://tree"]))).stdout).toBe("");
    await run("s3", "rb", "s3://tree");
  });

  test("names that need care come back as they were", async () => {
    const from = aws.path("names");
    const names = writeCarefulNames(from);
    for (const name of names) {
      await run("s3", "cp", aws.path("names", name), `s3://demo/names/${name}`);
      await run("s3", "cp", `s3://demo/names/${name}`, aws.path("one"));
      expect(readFileSync(aws.path("one"), "utf8")).toBe(`I am ${name}`);
    }
    const { stdout } = await run("s3", "ls", "s3://demo/names/");
    for (const name of names) expect(stdout).toContain(` ${name}\n`);
    await run("s3", "sync", "s3://demo/names", aws.path("names-again"));
    expect(readTree(aws.path("names-again"))).toEqual(readTree(from));
  });

  test("put-object --if-none-match '*' succeeds once", async () => {
    writeFileSync(aws.path("body"), "first");
    const put = ["put-object", "--bucket", "demo", "--key", "once", "--body", aws.path("body")];
    await api(...put, "--if-none-match", "*");
    const second = await aws.try(withEndpoint(["s3api", ...put, "--if-none-match", "*"]));
    expect(second.code).not.toBe(0);
    expect(second.stderr).toContain("PreconditionFailed");
    await api("get-object", "--bucket", "demo", "--key", "once", aws.path("got"));
    expect(readFileSync(aws.path("got"), "utf8")).toBe("first");
  });

  test("a presigned URL works without credentials, and only as it was signed", async () => {
    writeFileSync(aws.path("shared"), "for you");
    // Version 1 of the CLI presigns with signature version 2 in us-east-1 unless it is told otherwise.
    await aws.run(["configure", "set", "default.s3.signature_version", "s3v4"]);
    await run("s3", "cp", aws.path("shared"), "s3://demo/shared file");
    const { stdout } = await run("s3", "presign", "s3://demo/shared file", "--expires-in", "60");
    const answer = await fetch(stdout.trim());
    expect([answer.status, await answer.text()]).toEqual([200, "for you"]);
    const forged = await fetch(stdout.trim().replace(/.$/u, (last) => (last === "0" ? "1" : "0")));
    expect(forged.status).toBe(403);
  });

  test("head-object tells what put-object said", async () => {
    writeFileSync(aws.path("described"), "x");
    const key = ["--bucket", "demo", "--key", "described"];
    const about = ["--content-type", "text/x-test", "--metadata", "colour=green,shape=round"];
    const put = await api("put-object", ...key, "--body", aws.path("described"), ...about);
    const head = await api("head-object", ...key);
    expect(head).toMatchObject({
      ContentLength: 1,
      ContentType: "text/x-test",
      ETag: put["ETag"],
      Metadata: { colour: "green", shape: "round" },
    });
    const missing = await aws.try(
      withEndpoint(["s3api", "head-object", "--bucket", "demo", "--key", "nowhere"]),
    );
    expect(missing.stderr).toContain("(404)");
  });

  test("list-objects-v2 gives pages that fit together", async () => {
    const keys = Array.from({ length: 25 }, (_, i) => `pages/${String(i).padStart(2, "0")}`);
    mkdirSync(aws.path("pages"));
    for (const key of keys) writeFileSync(aws.path(key), key);
    await run("s3", "sync", aws.path("pages"), "s3://demo/pages");
    const found: string[] = [];
    for (let token: string | undefined; ;) {
      const from = token === undefined ? [] : ["--continuation-token", token];
      const page = await api(
        ...["list-objects-v2", "--bucket", "demo", "--prefix", "pages/", "--max-keys", "10"],
        ...[...from, "--no-paginate"],
      );
      found.push(...(page["Contents"] as { Key: string }[]).map(({ Key }) => Key));
      if (!page["IsTruncated"]) break;
      token = page["NextContinuationToken"] as string;
    }
    expect(found).toEqual(keys);
    const all = await api(
      ...["list-objects-v2", "--bucket", "demo", "--prefix", "pages/", "--page-size", "7"],
    );
    expect((all["Contents"] as unknown[]).length).toBe(25);
  });
});
