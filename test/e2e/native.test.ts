// The native API on a real cluster: the walk-through of the README as printed, writers in the order of their queue,
// holders and nodes that are stopped past a lease.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RingstowClient, isConverged } from "../../shared/client.ts";
import { type BeginReply, type LookupReply } from "../../shared/native-api.ts";
import { DevCluster, root, until } from "./dev-cluster.ts";

let cluster: DevCluster;
let client: RingstowClient;
let bucket: string;

beforeAll(async () => {
  cluster = await DevCluster.start();
  const { endpoint, accessKeyId, secretAccessKey } = cluster.dev;
  client = new RingstowClient({ endpoint, accessKeyId, secretAccessKey });
  bucket = cluster.dev.bucket;
}, 60_000);

afterAll(() => cluster.remove(), 60_000);

const text = async (key: string): Promise<string> =>
  new TextDecoder().decode(await client.read({ bucket, key }));

/** Lookups until one shows what is wanted. */
async function seen(key: string, wanted: (found: LookupReply) => boolean): Promise<LookupReply> {
  return until(`a change of "${key}"`, async () => {
    const found = await client.lookup({ bucket, key });
    return wanted(found) ? found : undefined;
  });
}

const pointers = ({ chain }: LookupReply) => {
  const body = chain.entries[0]!.body;
  return body.kind === "blocks" ? body.blocks[0]!.replicas : [];
};

test("the walk-through of the README works as printed", async () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const section = readme.split("\n## Native API\n")[1]!.split("\n## ")[0]!;
  const block = /```sh\n([\s\S]*?)```/u.exec(section)![1]!;
  const folder = mkdtempSync(join(tmpdir(), "ringstow-native-"));
  try {
    const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", block], {
      cwd: folder,
      env: { PATH: process.env["PATH"], DEV: join(cluster.folder, "dev.json") },
      timeout: 60_000,
    });
    expect(stdout).toContain('"state":"queued","place":0');
    expect(stdout).toContain("The sharp brown fox");
    expect(stdout).toContain('{"existed":true}');
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 90_000);

test("lookup tells the way, the chain and the best replica; its URL reads without the gateway", async () => {
  const key = "a/b ü+%.txt";
  const body = "x".repeat(20_000);
  await client.put({ bucket, key }, body, { "content-type": "text/x-test" });
  const found = await client.lookup({ bucket, key });
  const ids = cluster.dev.nodes.map(({ id }) => id);
  expect(ids).toContain(found.owner.id);
  expect(found.path).toHaveLength(found.hops + 1);
  expect(found.view.members).toHaveLength(3);
  expect(found.chain.entries[0]).toMatchObject({ version: 1, size: 20_000 });
  expect(pointers(found).map(({ node }) => node)).toContain(found.best[0]!.node.id);
  const { readUrl, node } = found.best[0]!;
  expect(readUrl.startsWith(node.url)).toBe(true);
  const part = await fetch(readUrl, { headers: { range: "bytes=5-9" } });
  expect([part.status, await part.text()]).toEqual([206, "xxxxx"]);
  const forged = readUrl.slice(0, -1) + (readUrl.endsWith("0") ? "1" : "0");
  expect((await fetch(forged)).status).toBe(403);
  const other = cluster.dev.nodes.find(({ url }) => url !== node.url)!;
  expect((await fetch(readUrl.replace(node.url, other.url))).status).toBe(403);
  await client.delete({ bucket, key });
});

describe("the paper's write", () => {
  test("writers are served in the order of the queue; each changes what the one before wrote", async () => {
    const name = { bucket, key: "queue" };
    await client.put(name, "-".repeat(5));
    const first = await client.begin(name, { holder: "0", leaseMs: 60_000 });
    const queued: BeginReply[] = [];
    for (const holder of ["1", "2", "3", "4"]) {
      const begun = await client.tryBegin(name, { holder, leaseMs: 60_000 });
      expect(begun).toMatchObject({ state: "queued", place: Number(holder) - 1 });
      queued.push(begun);
    }
    const served: string[] = [];
    const turn = async (i: number): Promise<void> => {
      const { requestId } = queued[i]!;
      const grant = await until("the turn", async () => {
        const begun = await client.tryBegin(name, { requestId, leaseMs: 60_000, waitMs: 5_000 });
        return begun.state === "granted" ? begun : undefined;
      });
      served.push(String(i + 1));
      await client.write(grant, i + 1, String(i + 1));
      await client.finish(name, grant);
    };
    // Asked in another order than they queued in.
    const turns = [3, 1, 0, 2].map(turn);
    await client.write(first, 0, "0");
    await client.finish(name, first);
    await Promise.all(turns);
    expect(served).toEqual(["1", "2", "3", "4"]);
    expect(await text("queue")).toBe("01234");
  }, 60_000);

  test("a holder stopped past its lease can change nothing afterwards", async () => {
    const name = { bucket, key: "stopped" };
    await client.put(name, "as it was");
    const { endpoint, accessKeyId, secretAccessKey } = cluster.dev;
    const program = join(root, "test/e2e/native-holder.ts");
    const args = [program, endpoint, accessKeyId, secretAccessKey, bucket, name.key, "1500"];
    const holder = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
    let said = "";
    holder.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await until("the holder to write", () => (said.includes("granted") ? true : undefined));
    const drafted = await client.lookup(name);
    holder.kill("SIGSTOP");
    await seen(name.key, ({ chain }) => chain.lock === undefined);
    holder.kill("SIGCONT");
    const ended = once(holder, "exit");
    holder.stdin.end("go\n");
    await ended;
    expect(JSON.parse(said.split("\n")[1]!)).toEqual({
      write: "FenceTooOld",
      renew: "FenceTooOld",
      finish: "FenceTooOld",
      unlock: "FenceTooOld",
    });
    const after = await client.lookup(name);
    expect(after.chain.entries).toEqual(drafted.chain.entries);
    expect(await text(name.key)).toBe("as it was");
    // The next holder begins from what is published, not from what the late one left.
    const next = await client.begin(name, { leaseMs: 10_000 });
    await client.write(next, 0, "AS");
    await client.finish(name, next);
    expect(await text(name.key)).toBe("AS it was");
  }, 60_000);

  test("a node stopped past the lease gets no reader until it is repaired", async () => {
    const name = { bucket, key: "behind" };
    await client.put(name, "old".repeat(10_000));
    await seen(name.key, (found) => pointers(found).length === 3 && isConverged(found));
    const before = await client.lookup(name);
    const grant = await client.begin(name, { leaseMs: 3_000 });
    const lagging = pointers(before).find(({ node }) => node !== grant.node.id)!.node;
    const { pid } = cluster.dev.nodes.find(({ id }) => id === lagging)!;
    await client.write(grant, 0, "NEW");
    process.kill(pid, "SIGSTOP");
    try {
      const finished = await client.finish(name, grant);
      expect(finished.unlocked).toBe(false);
      expect(finished.replicas.find(({ node }) => node.id === lagging)?.version).toBe(0);
      const unlocked = await seen(name.key, ({ chain }) => chain.lock === undefined);
      const behind = pointers(unlocked).find(({ node }) => node === lagging)!;
      expect(behind.version).toBeLessThan(finished.version);
      for (let i = 0; i < 10; i++) {
        const { best } = await client.lookup(name);
        expect(best[0]!.node.id).not.toBe(lagging);
      }
      expect((await text(name.key)).slice(0, 6)).toBe("NEWold");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    const repaired = await seen(name.key, isConverged);
    expect(pointers(repaired).map(({ node }) => node)).toContain(lagging);
  }, 120_000);

  test("an S3 write waits for the holder; a renewed lease lasts; who cancels leaves the queue", async () => {
    const name = { bucket, key: "mixed" };
    const grant = await client.begin(name, { leaseMs: 5_000 });
    expect((await client.renew(name, grant)).leaseMs).toBe(5_000);
    const waiting = await client.tryBegin(name, { leaseMs: 5_000 });
    await client.cancel(name, waiting.requestId);
    const put = client.put(name, "by PUT");
    await seen(name.key, ({ chain }) => chain.queue.some(({ holder }) => holder === "s3"));
    await client.write(grant, 0, "by lock");
    await client.finish(name, grant);
    expect((await put).version).toBe(2);
    expect(await text(name.key)).toBe("by PUT");
  }, 60_000);

  test("bad input is told as JSON", async () => {
    const name = { bucket, key: "bad" };
    const grant = await client.begin(name, { leaseMs: 5_000 });
    await expect(client.write(grant, 65 * 2 ** 20, "x")).rejects.toMatchObject({
      code: "InvalidRequest",
    });
    await expect(client.renew(name, { fence: grant.fence + 1 })).rejects.toMatchObject({
      code: "FenceTooOld",
    });
    await client.unlock(name, grant);
    await expect(client.list("no-such-bucket")).rejects.toMatchObject({ code: "NoSuchBucket" });
  });
});

test("the OpenAPI document and the page name every call, without a signature", async () => {
  const { endpoint } = cluster.dev;
  const document = (await (await fetch(`${endpoint}/v1/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  const { NATIVE_ROUTES } = await import("../../shared/native-api.ts");
  const ids = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  expect(ids.toSorted()).toEqual(Object.keys(NATIVE_ROUTES).toSorted());
  const page = await (await fetch(`${endpoint}/v1/docs`)).text();
  for (const call of Object.keys(NATIVE_ROUTES)) expect(page).toContain(`id="${call}"`);
  const unsigned = await fetch(`${endpoint}/v1/buckets`);
  expect([unsigned.status, ((await unsigned.json()) as { code: string }).code]).toEqual([
    403,
    "AccessDenied",
  ]);
});
