// s3cmd against a cluster as a user starts it. It compares each answer's ETag with the MD5 it computed.
import { readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, type Outcome, describeClient } from "./client-program.ts";
import { DevCluster } from "./dev-cluster.ts";
import { MiB, randomFile, readTree, sha256Of, writeTree } from "./sample-files.ts";

describeClient("s3cmd", () => {
  let cluster: DevCluster;
  let s3cmd: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    s3cmd = new ClientProgram("s3cmd");
    const { endpoint, accessKeyId, secretAccessKey, region } = cluster.dev;
    const { host } = new URL(endpoint);
    const settings = [
      "[default]",
      `access_key = ${accessKeyId}`,
      `secret_key = ${secretAccessKey}`,
      `host_base = ${host}`,
      `host_bucket = ${host}`,
      `bucket_location = ${region}`,
      "use_https = False",
      // One try: a retry would hide an error of the server.
      "max_retries = 1",
    ];
    writeFileSync(s3cmd.path(".s3cfg"), settings.join("\n"));
    console.log((await s3cmd.run(["--version"])).stdout.trim());
  });
  afterAll(async () => {
    s3cmd?.remove();
    await cluster?.remove();
  });

  const run = async (...args: string[]): Promise<Outcome> => {
    const outcome = await s3cmd.run(["--no-progress", ...args]);
    expect(outcome.stderr).not.toMatch(/WARNING|ERROR/u);
    return outcome;
  };

  test("put, ls, info, get and del; the listed MD5 is that of the file", async () => {
    const [from, to] = [s3cmd.path("file"), s3cmd.path("file-again")];
    await randomFile(from, 3 * MiB);
    const md5 = createHash("md5").update(readFileSync(from)).digest("hex");
    await run("put", from, "s3://demo/some file.bin");
    const listed = (await run("ls", "--list-md5", "s3://demo/")).stdout;
    expect(listed).toContain(md5);
    expect(listed).toContain("s3://demo/some file.bin");
    expect((await run("info", "s3://demo/some file.bin")).stdout).toMatch(
      new RegExp(`MD5 sum:\\s+${md5}`, "u"),
    );
    await run("get", "s3://demo/some file.bin", to);
    expect(await sha256Of(to)).toBe(await sha256Of(from));
    await run("del", "s3://demo/some file.bin");
    expect((await run("ls", "s3://demo/")).stdout).not.toContain("some file.bin");
  });

  test("a file above the part size goes up in parts and comes back equal", async () => {
    const [from, to] = [s3cmd.path("big"), s3cmd.path("big-again")];
    const digest = await randomFile(from, 40 * MiB);
    const put = ["put", "--multipart-chunk-size-mb=15", from, "s3://demo/big"];
    expect((await s3cmd.run(["--progress", ...put])).stdout).toContain("part 3 of 3");
    await run("get", "s3://demo/big", to);
    expect(await sha256Of(to)).toBe(digest);
  });

  test("a bucket is made, synchronised both ways, emptied and removed", async () => {
    const [from, to] = [s3cmd.path("tree"), s3cmd.path("tree-again")];
    writeTree(from, 60);
    await run("mb", "s3://by-s3cmd");
    expect((await run("ls")).stdout).toContain("s3://by-s3cmd");
    await run("sync", `${from}/`, "s3://by-s3cmd/t/");
    expect((await run("sync", `${from}/`, "s3://by-s3cmd/t/")).stdout).not.toContain("upload:");
    await run("sync", "s3://by-s3cmd/t/", `${to}/`);
    expect(readTree(to)).toEqual(readTree(from));
    await run("del", "--recursive", "--force", "s3://by-s3cmd");
    await run("rb", "s3://by-s3cmd");
    expect((await run("ls")).stdout).not.toContain("by-s3cmd");
  });

  test("a copy and a move inside the store", async () => {
    writeFileSync(s3cmd.path("small"), "content");
    await run("put", s3cmd.path("small"), "s3://demo/one");
    await run("cp", "s3://demo/one", "s3://demo/two");
    await run("mv", "s3://demo/two", "s3://demo/ünï three");
    await run("get", "s3://demo/ünï three", s3cmd.path("three"));
    expect(readFileSync(s3cmd.path("three"), "utf8")).toBe("content");
    expect((await run("ls", "s3://demo/two")).stdout).toBe("");
  });

  test("a missing key is an error that s3cmd understands", async () => {
    const outcome = await s3cmd.try(["get", "s3://demo/nowhere", s3cmd.path("nowhere")]);
    expect(outcome.code).toBe(64);
    expect(outcome.stderr).toContain("does not exist");
  });
});
