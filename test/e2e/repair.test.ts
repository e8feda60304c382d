// Nodes that die for good on a real cluster: what they held is copied anew by itself, and one more may die then.
import { afterAll, beforeAll, expect, test } from "vitest";
import { RingstowClient } from "../../shared/client.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type LookupReply } from "../../shared/native-api.ts";
import { readGenesis } from "../../node/cli/cluster-files.ts";
import { type RegisterAddress } from "../../node/index/types.ts";
import { genesisViews } from "../../node/index/views.ts";
import { accessKeyAddress, bucketAddress } from "../../node/object/addresses.ts";
import { nodeOfVoter } from "../../shared/ids.ts";
import { DevCluster, ringstow, until } from "./dev-cluster.ts";

const repairAfterSeconds = 3;
const OBJECTS = 40;
const SIZES = [17_000, 100_000, 700_000, 3_000_000];
let cluster: DevCluster;
let client: RingstowClient;

beforeAll(async () => {
  cluster = await DevCluster.start(5, ["--repair-after", String(repairAfterSeconds)]);
  const { endpoint, accessKeyId, secretAccessKey } = cluster.dev;
  client = new RingstowClient({ endpoint, accessKeyId, secretAccessKey });
}, 60_000);
afterAll(() => cluster?.remove(), 60_000);

const nameOf = (i: number) => ({ bucket: cluster.dev.bucket, key: `object ${i}` });
const names = Array.from({ length: OBJECTS }, (_, i) => i);

function bodyOf(i: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SIZES[i % SIZES.length]!);
  for (let at = 0; at < bytes.length; at++) bytes[at] = (at * (i + 7) + (at >> 8)) & 0xff;
  return bytes;
}

const pointers = ({ chain }: LookupReply) => {
  const { body } = chain.entries[0]!;
  return body.kind === "blocks" ? body.blocks[0]!.replicas : [];
};

/** Sums over the nodes that answer `ringstow status`. */
async function wanting(): Promise<{ underReplicated: number; repairing: number }> {
  const run = ringstow(["status", "--data", cluster.folder, "--json"]);
  await run.exited;
  const sums = { underReplicated: 0, repairing: 0 };
  const status = JSON.parse(run.output()) as { nodes: { status?: typeof sums }[] };
  for (const { status: node } of status.nodes) {
    sums.underReplicated += node?.underReplicated ?? 0;
    sums.repairing += node?.repairing ?? 0;
  }
  return sums;
}

/** Through the gateway, which goes on elsewhere when a node does not answer. A slice may be without a leader for a while. */
async function readAll(some: readonly number[]): Promise<void> {
  for (const i of some) {
    const bytes = await until(`object ${i}`, async () => {
      try {
        return new Uint8Array(await (await client.get(nameOf(i))).arrayBuffer());
      } catch (error) {
        if (error instanceof RingstowError && error.code === "Unavailable") return undefined;
        throw error;
      }
    });
    expect(Buffer.compare(bytes, bodyOf(i)), `object ${i}`).toBe(0);
  }
}

/**
 * Two nodes whose death leaves the bucket and the access key a majority of their views, and as many objects as can be:
 * the members of a view stay here, only copies of blocks move.
 */
async function chooseVictims(): Promise<{ victims: [number, number]; readable: number[] }> {
  const genesis = await readGenesis(cluster.folder);
  const { bucket, accessKeyId, nodes } = cluster.dev;
  const viewOf = genesisViews(genesis);
  const membersOf = ({ slice }: RegisterAddress) => viewOf(slice).members.map(nodeOfVoter);
  const needed = [
    bucketAddress(bucket, genesis.sliceBits),
    accessKeyAddress(accessKeyId, genesis.sliceBits),
  ].map(membersOf);
  const objects = await Promise.all(
    names.map(async (i) => (await client.lookup(nameOf(i))).view.members),
  );
  const pairs = nodes.flatMap((_, a) => nodes.map((__, b) => [a, b] as [number, number]));
  const choices = pairs
    .filter(([a, b]) => a !== b)
    .map((victims) => {
      const dead = new Set<string>(victims.map((i) => nodes[i]!.id));
      const keeps = (members: readonly string[]): boolean =>
        members.filter((node) => !dead.has(node)).length > members.length / 2;
      const readable = needed.every(keeps) ? names.filter((i) => keeps(objects[i]!)) : [];
      return { victims, readable };
    });
  return choices.toSorted((a, b) => b.readable.length - a.readable.length)[0]!;
}

test("a node killed for good is replaced, and every object read when one more has died", async () => {
  for (const i of names) await client.put(nameOf(i), bodyOf(i));
  await until("three copies of everything", async () =>
    (await wanting()).underReplicated === 0 ? true : undefined,
  );
  const { victims, readable } = await chooseVictims();
  const first = cluster.dev.nodes[victims[0]];
  const before = await Promise.all(names.map((i) => client.lookup(nameOf(i))));
  const lost = before.filter((found) => pointers(found).some(({ node }) => node === first!.id));
  expect(lost.length).toBeGreaterThan(OBJECTS / 4);
  await cluster.kill(victims[0]);
  const killedMs = performance.now();
  await until("the loss to be seen", async () =>
    (await wanting()).underReplicated >= lost.length / 2 ? true : undefined,
  );
  await readAll(names.slice(0, 8));
  await until(
    "the repair",
    async () => {
      const { underReplicated, repairing } = await wanting();
      return underReplicated + repairing === 0 ? true : undefined;
    },
    90_000,
  );
  console.log(
    `repair: ${lost.length} of ${OBJECTS} objects had a copy on the node that died; three of each again ` +
      `${((performance.now() - killedMs) / 1_000).toFixed(1)} s after its death (--repair-after ${repairAfterSeconds})`,
  );
  const after = await Promise.all(names.map((i) => client.lookup(nameOf(i))));
  for (const found of after) {
    const nodes = pointers(found).map(({ node }) => node);
    expect(new Set(nodes).size).toBe(3);
    expect(nodes).not.toContain(first!.id);
  }
  await cluster.kill(victims[1]);
  expect(readable.length).toBeGreaterThan(OBJECTS / 4);
  await readAll(readable);
}, 200_000);
