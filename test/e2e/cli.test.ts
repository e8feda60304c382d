// What goes wrong at the command line: one line that says what to do, exit code 1, and all data still there after a
// proper start. And what `status` and signals do.
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ClusterStatus } from "../../node/cli/status.ts";
import { DevCluster, isAlive, ringstow, until } from "./dev-cluster.ts";
import { sdkClient } from "./sdk.ts";

const NODES = 3;
const body = Buffer.alloc(100_000, "kept");
let cluster: DevCluster;

beforeAll(async () => {
  cluster = await DevCluster.start(NODES);
  const s3 = sdkClient(cluster.dev);
  for (const Key of ["small", "large"])
    await s3.send(
      new PutObjectCommand({ Bucket: "demo", Key, Body: Key === "small" ? "kept" : body }),
    );
  s3.destroy();
});
afterAll(() => cluster?.remove());

/** Runs a command that must fail; its one line. */
async function complaintOf(...args: string[]): Promise<string> {
  const running = ringstow(args);
  const code = await running.exited;
  expect({ code, output: running.output() }).toEqual({
    code: 1,
    // One line, and no stack.
    output: expect.stringMatching(/^ringstow: [^\n]+\n$/u) as string,
  });
  return running.output();
}

const dev = (): string[] => ["dev", "--data", cluster.folder, "--port", String(cluster.port)];

async function withPortTaken(port: number, run: () => Promise<void>): Promise<void> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  await run().finally(() => server.close());
}

async function expectDataThere(): Promise<void> {
  const s3 = sdkClient(cluster.dev);
  const read = async (Key: string): Promise<Buffer> => {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: "demo", Key }));
    return Buffer.from(await Body!.transformToByteArray());
  };
  expect((await read("small")).toString()).toBe("kept");
  expect((await read("large")).equals(body)).toBe(true);
  s3.destroy();
}

describe("a cluster that runs", () => {
  test("status shows every node; --json gives the same as JSON", async () => {
    const table = ringstow(["status", "--data", cluster.folder]);
    expect(await table.exited).toBe(0);
    const lines = table.output().trim().split("\n");
    console.log(table.output());
    expect(lines).toHaveLength(2 + NODES);
    expect(lines[1]).toMatch(/^node +zone +state/u);
    for (const [i, { id }] of cluster.dev.nodes.entries()) {
      const line = lines.find((one) => one.startsWith(id.slice(0, 8)));
      expect(line, `node ${i}`).toMatch(/ alive /u);
    }
    const json = ringstow(["status", "--data", cluster.folder, "--json"]);
    expect(await json.exited).toBe(0);
    const status = JSON.parse(json.output()) as ClusterStatus;
    expect(status.nodes.map(({ id }) => id).toSorted()).toEqual(
      cluster.dev.nodes.map(({ id }) => id).toSorted(),
    );
    for (const node of status.nodes) expect(node.status).toMatchObject({ id: node.id, blocks: 1 });
  });

  test("a second dev and a second node on the same data are refused, the first goes on", async () => {
    expect(await complaintOf(...dev())).toMatch(/another process uses it.*stop it first/u);
    const { dataDir, pid } = cluster.dev.nodes[0]!;
    expect(await complaintOf("node", "--data", dataDir)).toMatch(/another process uses it/u);
    expect(isAlive(pid)).toBe(true);
    await expectDataThere();
  });

  test.each(["0", "2", "4", "7", "x"])(
    "%s copies are refused, and nothing changes",
    async (wanted) => {
      expect(await complaintOf("copies", wanted, "--data", cluster.folder)).toBe(
        `ringstow: Cannot keep "${wanted}" copies: it must be 1, 3 or 5\n`,
      );
      const told = ringstow(["copies", "--data", cluster.folder]);
      expect(await told.exited).toBe(0);
      expect(told.output()).toContain("3 copies of everything are wanted; 3 of 3 nodes");
    },
  );

  test("a dead node is told, with what it was, and the data is there without it", async () => {
    const { id, dataDir } = cluster.dev.nodes[0]!;
    await cluster.kill(0);
    const line = await until("the death to be told", async () => {
      const running = ringstow(["status", "--data", cluster.folder]);
      expect(await running.exited).toBe(0);
      const found = running
        .output()
        .split("\n")
        .find((one) => one.startsWith(id.slice(0, 8)));
      return / (?:dead|suspect|no answer) /u.test(found!) ? found : undefined;
    });
    console.log(line);
    expect(cluster.output()).toMatch(
      new RegExp(
        `node ${id.slice(0, 8)} ended \\(SIGKILL\\). Start it again with: .*${dataDir}`,
        "u",
      ),
    );
    await expectDataThere();
  });
});

describe("signals", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("%s of dev stops every process", async (signal) => {
    await cluster.stop();
    const { nodes, gatewayPid } = await cluster.run();
    const pids = [gatewayPid, ...nodes.map(({ pid }) => pid)];
    expect(pids.every(isAlive)).toBe(true);
    expect(await cluster.stop(signal)).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  test("status of a stopped cluster says so, and so does a change of its copies", async () => {
    for (const command of [["status"], ["copies"], ["copies", "5"]])
      expect(await complaintOf(...command, "--data", cluster.folder)).toMatch(
        /Is the cluster running/u,
      );
  });
});

describe("a cluster that stands", () => {
  test("a data path below a file", async () => {
    const folder = join(cluster.folder, "genesis.json", "data");
    expect(await complaintOf("dev", "--data", folder)).toMatch(
      /Choose another folder with --data/u,
    );
    expect(await complaintOf("node", "--data", folder)).toMatch(/not a directory.*Check the path/u);
  });

  test("a taken port, of a new cluster", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ringstow-"));
    await withPortTaken(cluster.port + 2, async () => {
      const args = ["dev", "--data", folder, "--port", String(cluster.port)];
      expect(await complaintOf(...args)).toMatch(
        new RegExp(`port ${cluster.port + 2} is taken by another process.*--port`, "u"),
      );
    });
    rmSync(folder, { recursive: true });
  });

  // The gateway's, the first node's HTTP port, the last node's peer link.
  test.each([0, 1, 2 * NODES])("a taken port, %i after the first", async (offset) => {
    const port = cluster.port + offset;
    await withPortTaken(port, async () => {
      expect(await complaintOf(...dev())).toMatch(
        new RegExp(`:${port}: the port is taken by another process. Stop that process`, "u"),
      );
    });
  });

  test("a genesis file with one changed byte, of the cluster or of a node", async () => {
    for (const folder of [cluster.folder, cluster.dev.nodes[1]!.dataDir]) {
      const path = join(folder, "genesis.json");
      const whole = readFileSync(path, "utf8");
      const at = whole.indexOf("127.0.0.1") + 8;
      writeFileSync(path, `${whole.slice(0, at)}2${whole.slice(at + 1)}`);
      expect(await complaintOf(...dev())).toMatch(
        /checksum does not match. Copy genesis.json from/u,
      );
      writeFileSync(path, `{${whole}`);
      expect(await complaintOf(...dev())).toMatch(/it is not JSON. Copy genesis.json from/u);
      writeFileSync(path, whole);
    }
  });

  test("a missing cluster.secret, of the cluster or of a node", async () => {
    for (const folder of [cluster.folder, cluster.dev.nodes[1]!.dataDir]) {
      const path = join(folder, "cluster.secret");
      renameSync(path, `${path}.aside`);
      expect(await complaintOf(...dev())).toMatch(/cluster.secret.* Copy it from/u);
      renameSync(`${path}.aside`, path);
    }
  });

  test("wiped registers, and registers of another node", async () => {
    const [first, second] = cluster.dev.nodes.map(({ dataDir }) => join(dataDir, "registers"));
    renameSync(first!, `${first}.aside`);
    expect(await complaintOf(...dev())).toMatch(/are gone.*must not vote.*let a new node join/u);
    rmSync(first!, { recursive: true });
    cpSync(second!, first!, { recursive: true });
    expect(await complaintOf(...dev())).toMatch(/are those of another node/u);
    rmSync(first!, { recursive: true });
    renameSync(`${first}.aside`, first!);
  });

  test("after all that a proper start finds everything", async () => {
    await cluster.run();
    await expectDataThere();
  });
});
