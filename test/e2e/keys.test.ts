// Access keys of a real cluster: made, limited, used up and deleted by the command, obeyed by gateways within seconds.
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DevCluster, ringstow, root, until } from "./dev-cluster.ts";
import { sdkClient } from "./sdk.ts";

interface MadeKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

let cluster: DevCluster;
let owner: S3Client;

beforeAll(async () => {
  cluster = await DevCluster.start(3);
  owner = sdkClient(cluster.dev);
  await owner.send(new CreateBucketCommand({ Bucket: "photos" }));
  for (const Bucket of ["demo", "photos"])
    await owner.send(new PutObjectCommand({ Bucket, Key: "there", Body: "it is" }));
}, 60_000);

afterAll(() => cluster.remove(), 60_000);

async function command(...args: string[]): Promise<string> {
  const main = join(root, "node/cli/main.ts");
  const all = [main, ...args, "--data", cluster.folder];
  const { stdout } = await promisify(execFile)(process.execPath, all, { timeout: 30_000 });
  return stdout;
}

async function newKey(...flags: string[]): Promise<{ key: MadeKey; client: S3Client }> {
  const key = JSON.parse(await command("key", "create", "--json", ...flags)) as MadeKey;
  return { key, client: sdkClient({ ...cluster.dev, ...key }) };
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    return (error as Error).name;
  }
}

const at = { Bucket: "photos", Key: "there" };

test("a key may do what it was given, and nothing else", async () => {
  const { client } = await newKey("--name", "reader", "--read", "photos");
  const got = await client.send(new GetObjectCommand(at));
  expect(await got.Body!.transformToString()).toBe("it is");
  expect((await client.send(new ListObjectsV2Command({ Bucket: "photos" }))).KeyCount).toBe(1);
  const { Buckets } = await client.send(new ListBucketsCommand({}));
  expect(Buckets!.map(({ Name }) => Name)).toEqual(["photos"]);
  const refused = [
    () => client.send(new PutObjectCommand({ ...at, Body: "x" })),
    () => client.send(new DeleteObjectCommand(at)),
    () => client.send(new DeleteBucketCommand({ Bucket: "photos" })),
    () => client.send(new GetObjectCommand({ Bucket: "demo", Key: "there" })),
    () => client.send(new CreateBucketCommand({ Bucket: "mine-too" })),
  ];
  for (const work of refused) expect(await refusal(work())).toBe("AccessDenied");
});

test("a copy needs to read its source and to write its target", async () => {
  const { client } = await newKey("--read", "demo", "--write", "photos");
  const copy = (from: string, to: string): Promise<string> =>
    refusal(
      client.send(new CopyObjectCommand({ Bucket: to, Key: "copy", CopySource: `${from}/there` })),
    );
  expect(await copy("demo", "photos")).toBe("done");
  expect(await copy("photos", "demo")).toBe("AccessDenied");
  const { client: writer } = await newKey("--write", "photos");
  const blind = new CopyObjectCommand({ ...at, Key: "blind", CopySource: "demo/there" });
  expect(await refusal(writer.send(blind))).toBe("AccessDenied");
});

test("a key that may make buckets owns those", async () => {
  const { client } = await newKey("--create-buckets");
  await client.send(new CreateBucketCommand({ Bucket: "my-own" }));
  await client.send(new PutObjectCommand({ Bucket: "my-own", Key: "k", Body: "v" }));
  await client.send(new DeleteObjectCommand({ Bucket: "my-own", Key: "k" }));
  await client.send(new DeleteBucketCommand({ Bucket: "my-own" }));
  expect(await refusal(client.send(new GetObjectCommand(at)))).toBe("AccessDenied");
});

test("limits and deletion are followed within seconds; an expired key is refused", async () => {
  const { key, client } = await newKey("--all", "write");
  const put = (): Promise<string> =>
    refusal(client.send(new PutObjectCommand({ ...at, Key: "limited", Body: "x" })));
  expect(await put()).toBe("done");
  await command("key", "limit", key.accessKeyId, "--all", "read");
  await until(
    "the limit",
    async () => ((await put()) === "AccessDenied" ? true : undefined),
    60_000,
  );
  const limited = await command("key", "limit", key.accessKeyId, "--expires", "2999-01-01");
  expect(limited).toMatch(/read:\*.*2999-01-01/u);
  await expect(command("key", "limit", key.accessKeyId)).rejects.toThrow("say what is to change");
  await expect(
    command("key", "limit", key.accessKeyId, "--nothing", "--all", "read"),
  ).rejects.toThrow("exclude each other");
  await client.send(new GetObjectCommand(at));
  expect(await command("key", "limit", key.accessKeyId, "--nothing")).toContain("nothing");
  expect(await command("key", "create")).toContain("may do nothing yet");
  await command("key", "delete", key.accessKeyId);
  await until(
    "the deletion",
    async () =>
      (await refusal(client.send(new GetObjectCommand(at)))) === "InvalidAccessKeyId"
        ? true
        : undefined,
    60_000,
  );
  await expect(command("key", "show", key.accessKeyId)).rejects.toThrow("does not exist");
  await expect(command("key", "create", "--expires", "yesterday")).rejects.toThrow("--expires");
}, 200_000);

test("last use is noted; the secret is told once and lies nowhere in clear", async () => {
  const { key, client } = await newKey("--all", "read", "--name", "seen");
  await client.send(new GetObjectCommand(at));
  await until("the note of its use", async () => {
    const [shown] = JSON.parse(await command("key", "show", key.accessKeyId, "--json")) as {
      lastUsedMs?: number;
    }[];
    return shown!.lastUsedMs !== undefined ? true : undefined;
  });
  expect(await command("key", "list")).not.toContain(key.secretAccessKey);
  expect(await command("key", "list", "--json")).not.toContain("sealedSecret");
  for (const { dataDir } of cluster.dev.nodes) {
    for (const file of readdirSync(join(dataDir, "registers"))) {
      const bytes = readFileSync(join(dataDir, "registers", file));
      expect(bytes.includes(key.secretAccessKey), `${dataDir}/${file}`).toBe(false);
    }
  }
}, 60_000);

test("buckets by command: made for a key, listed, shown with who may use them, deleted", async () => {
  const { key } = await newKey();
  const made = await command("bucket", "create", "by-command", "--owner", key.accessKeyId);
  expect(made).toContain(key.accessKeyId);
  expect(await command("bucket", "list")).toContain("by-command");
  expect(await command("bucket", "show", "by-command")).toContain(key.accessKeyId);
  await expect(command("bucket", "create", "By", "--owner", key.accessKeyId)).rejects.toThrow(
    "lower-case",
  );
  await expect(command("bucket", "create", "of-none", "--owner", "nobody")).rejects.toThrow(
    "does not exist",
  );
  await expect(command("bucket", "delete", "photos")).rejects.toThrow("holds objects");
  expect(await command("bucket", "delete", "by-command")).toContain("Deleted");
});

test("a new cluster has no key but those that are made", async () => {
  const folder = join(cluster.folder, "fresh");
  const init = ringstow(["init", "--data", folder, "--node", "http://127.0.0.1:1,127.0.0.1:2"]);
  expect(await init.exited).toBe(0);
  expect(readdirSync(folder).toSorted()).toEqual(["cluster.secret", "genesis.json", "node-1"]);
  expect(init.output()).toContain("key create");
});
