import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readGenesis, readNodeFile } from "../../../../node/cli/cluster-files.ts";
import { initCluster } from "../../../../node/cli/init.ts";
import { between } from "../../../../shared/ring.ts";

const nodes = [1, 2, 3].map((n) => ({
  url: `http://127.0.0.1:${9000 + n}`,
  peerAddress: `127.0.0.1:${9100 + n}`,
  zone: "z",
}));
let data: string;

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), "ringstow-init-"));
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

describe("initCluster", () => {
  test("gives every node the same genesis file and its own identity", async () => {
    const genesis = await initCluster({ data, nodes });
    const ids = new Set<string>();
    for (let n = 1; n <= 3; n++) {
      const folder = join(data, `node-${n}`);
      expect(await readGenesis(folder)).toEqual(genesis);
      const file = await readNodeFile(folder);
      expect(genesis.nodes.find(({ id }) => id === file.id)).toMatchObject({
        folder: file.folder,
        url: nodes[n - 1]!.url,
      });
      ids.add(file.id);
    }
    expect(ids.size).toBe(3);
    const [a, b, c] = genesis.nodes.map(({ id }) => id);
    expect(between(a!, b!, c!)).toBe(true);
  });

  test("refuses a folder with a cluster", async () => {
    await initCluster({ data, nodes });
    await expect(initCluster({ data, nodes })).rejects.toThrow("one is there already");
  });

  test("begins anew where an earlier init was cut off before any node started", async () => {
    await initCluster({ data, nodes });
    const before = readFileSync(join(data, "node-1/node.json"), "utf8");
    rmSync(join(data, "genesis.json"));
    await initCluster({ data, nodes: nodes.slice(0, 1) });
    expect(readFileSync(join(data, "node-1/node.json"), "utf8")).not.toBe(before);
    expect(existsSync(join(data, "node-2"))).toBe(false);
  });

  test("keeps folders in which a node has started, even without the cluster's genesis file", async () => {
    await initCluster({ data, nodes });
    rmSync(join(data, "genesis.json"));
    mkdirSync(join(data, "node-2/registers"));
    await expect(initCluster({ data, nodes })).rejects.toThrow("one is there already");
  });
});

test("initCluster touches no folder of somebody else's that is called like a node's", async () => {
  mkdirSync(join(data, "node-22"));
  writeFileSync(join(data, "node-22/README.md"), "a Node.js release");
  await expect(initCluster({ data, nodes })).rejects.toThrow("Choose another folder");
  expect(existsSync(join(data, "node-22/README.md"))).toBe(true);
});

test("readGenesis refuses a file with one changed character", async () => {
  const genesis = await initCluster({ data, nodes });
  const path = join(data, "genesis.json");
  writeFileSync(path, readFileSync(path, "utf8").replace(genesis.clusterId, `${"0".repeat(31)}1`));
  await expect(readGenesis(data)).rejects.toThrow("checksum");
});
