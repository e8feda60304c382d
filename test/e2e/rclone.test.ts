// rclone against a cluster as a user starts it: a tree copied and checked, names, a multipart upload, deletion.
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, type Outcome, describeClient } from "./client-program.ts";
import { DevCluster } from "./dev-cluster.ts";
import {
  MiB,
  randomFile,
  readTree,
  sha256Of,
  writeCarefulNames,
  writeTree,
} from "./sample-files.ts";

describeClient("rclone", () => {
  let cluster: DevCluster;
  let rclone: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    const { endpoint, accessKeyId, secretAccessKey } = cluster.dev;
    // As the banner of `ringstow dev` shows it.
    rclone = new ClientProgram("rclone", {
      RCLONE_CONFIG_RINGSTOW_TYPE: "s3",
      RCLONE_CONFIG_RINGSTOW_PROVIDER: "Other",
      RCLONE_CONFIG_RINGSTOW_ENDPOINT: endpoint,
      RCLONE_CONFIG_RINGSTOW_ACCESS_KEY_ID: accessKeyId,
      RCLONE_CONFIG_RINGSTOW_SECRET_ACCESS_KEY: secretAccessKey,
    });
    console.log((await rclone.run(["version"])).stdout.split("\n")[0]);
  });
  afterAll(async () => {
    rclone?.remove();
    await cluster?.remove();
  });

  // One try each: a retry would hide an error of the server.
  const run = (...args: string[]): Promise<Outcome> =>
    rclone.run([...args, "--retries", "1", "--low-level-retries", "1"]);

  test("a tree is copied, checked, changed, synchronised, copied back and deleted", async () => {
    const [from, to] = [rclone.path("tree"), rclone.path("tree-again")];
    writeTree(from, 200);
    await run("mkdir", "ringstow:tree");
    const { seconds } = await run("copy", from, "ringstow:tree/t");
    console.log(`rclone copy of 200 files up: ${seconds.toFixed(1)} s`);
    expect((await run("check", from, "ringstow:tree/t")).stderr).toContain("0 differences found");
    await run("check", "--download", from, "ringstow:tree/t");
    const files = (await run("lsf", "-R", "--files-only", "ringstow:tree/t")).stdout;
    expect(files.trim().split("\n").toSorted()).toEqual([...readTree(from).keys()].toSorted());
    writeFileSync(rclone.path("tree", "d0", "e0", "0 file.txt"), "changed");
    await run("sync", from, "ringstow:tree/t");
    await run("copy", "ringstow:tree/t", to);
    expect(readTree(to)).toEqual(readTree(from));
    await run("delete", "ringstow:tree/t");
    expect((await run("lsf", "-R", "ringstow:tree")).stdout).toBe("");
    await run("rmdir", "ringstow:tree");
  });

  test("64 MiB go up in parts and come back equal", async () => {
    const [from, to] = [rclone.path("big"), rclone.path("big-again")];
    const digest = await randomFile(from, 64 * MiB);
    await run(
      "copyto",
      "--s3-upload-cutoff",
      "5M",
      "--s3-chunk-size",
      "8M",
      from,
      "ringstow:demo/big",
    );
    await run("copyto", "ringstow:demo/big", to);
    expect(await sha256Of(to)).toBe(digest);
    const [big] = JSON.parse((await run("lsjson", "ringstow:demo/big")).stdout) as {
      Size: number;
    }[];
    expect(big).toMatchObject({ Size: 64 * MiB });
    const piece = await run(
      "cat",
      "--offset",
      String(20 * MiB),
      "--count",
      "7",
      "ringstow:demo/big",
    );
    expect(piece.stdout.length).toBeGreaterThan(0);
  });

  test("an unknown length is streamed", async () => {
    const text = "streamed ".repeat(1_000_000);
    await rclone.run(["rcat", "ringstow:demo/streamed"], text);
    expect((await run("cat", "ringstow:demo/streamed")).stdout).toBe(text);
  });

  test("a copy inside the store and a move keep content and modification time", async () => {
    mkdirSync(rclone.path("one"));
    writeFileSync(rclone.path("one", "file"), "content");
    await run("copy", rclone.path("one"), "ringstow:demo/first");
    await run("copy", "ringstow:demo/first", "ringstow:demo/second");
    await run("moveto", "ringstow:demo/second/file", "ringstow:demo/third/file");
    await run("check", rclone.path("one"), "ringstow:demo/third");
    expect((await run("cat", "ringstow:demo/third/file")).stdout).toBe("content");
    const times = await Promise.all(
      ["first", "third"].map(async (name) => (await run("lsl", `ringstow:demo/${name}`)).stdout),
    );
    expect(times[1]).toBe(times[0]);
    expect((await run("lsf", "ringstow:demo")).stdout).not.toContain("second/");
  });

  test("names that need care come back as they were", async () => {
    const [from, to] = [rclone.path("names"), rclone.path("names-again")];
    const names = writeCarefulNames(from);
    await run("copy", from, "ringstow:demo/names");
    const listed = (await run("lsf", "ringstow:demo/names")).stdout.trim().split("\n");
    expect(listed.toSorted()).toEqual(names.toSorted());
    await run("copy", "ringstow:demo/names", to);
    expect(readTree(to)).toEqual(readTree(from));
  });
});
