// A cluster that begins with one node and becomes three, then five, while clients work; then a node dies for good, and
// another leaves in good order. Nothing that was acknowledged may be lost on the way, and no client notices.
import { GetObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSecret } from "../../node/cli/cluster-files.ts";
import { withPeers } from "../../node/cli/peer-session.ts";
import { type Slice } from "../../shared/slices.ts";
import { DevCluster, type DevNode, until } from "./dev-cluster.ts";
import { Load } from "./load.ts";
import { differingSlices, statuses } from "./node-answers.ts";
import { sdkClient } from "./sdk.ts";

const OBJECTS = 1_000;
const SLICES = 4_096;
const FLAGS = ["--join-after", "2", "--repair-after", "3", "--move-pause", "0"];
let cluster: DevCluster;
let s3: S3Client;
let load: Load;
const nodes: DevNode[] = [];

beforeAll(async () => {
  cluster = await DevCluster.start(1, FLAGS);
  nodes.push(...cluster.dev.nodes);
  s3 = sdkClient(cluster.dev);
  load = new Load(cluster.dev, 4);
  await load.prepare();
});
afterAll(async () => {
  load?.destroy();
  s3?.destroy();
  await cluster?.remove();
});

const everyone = () => ({ folder: cluster.folder, dev: { nodes } });
const bodyOf = (i: number): Buffer => Buffer.alloc(500 + (i % 50) * 500, `object ${i} `);

async function eachObject(work: (i: number) => Promise<unknown>): Promise<void> {
  const turns = Array.from({ length: OBJECTS }, (_, i) => i).values();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const i of turns) await work(i);
    }),
  );
}

async function wrongObjects(): Promise<string[]> {
  const wrong: string[] = [];
  await eachObject(async (i) => {
    const get = new GetObjectCommand({ Bucket: cluster.dev.bucket, Key: `object ${i}` });
    const { Body } = await s3.send(get);
    if (!bodyOf(i).equals(await Body!.transformToByteArray())) wrong.push(`object ${i}`);
  });
  return wrong;
}

async function join(): Promise<void> {
  nodes.push(await cluster.join());
}

/** Until every slice is held by three nodes, and no view changes any more. Gives how long that took, in ms. */
async function threeEach(): Promise<number> {
  const startedMs = performance.now();
  let held: number[] = [];
  await until(
    "every slice to have three voters",
    async () => {
      const told = await statuses(everyone());
      held = told.map(({ slicesHeld }) => slicesHeld);
      const isQuiet = told.every(({ views }) => views.changing === 0);
      return isQuiet && held.every((count) => count > 0) && sum(held) === 3 * SLICES
        ? true
        : undefined;
    },
    240_000,
    1_000,
  ).catch(async (error: unknown) => {
    throw new Error(`Slices held: ${held.join(" ")}\n${await oddViews()}`, { cause: error });
  });
  return Math.round(performance.now() - startedMs);
}

/** What the nodes say of some slices that have not three holders. */
async function oddViews(): Promise<string> {
  const { few } = await differingSlices(everyone());
  const slices = few.slice(0, 3) as Slice[];
  const lines = await withPeers(await readSecret(cluster.folder), "ask for views", async (peers) =>
    Promise.all(
      (await statuses(everyone())).map(async ({ id, peerAddress }) => {
        const reply = await peers.call({ address: peerAddress }, "index.views", { slices }, 5_000);
        return `${id.slice(0, 4)} ${JSON.stringify(reply.views)}`;
      }),
    ),
  );
  return lines.join("\n");
}

/** How long slices stood still at changes of views, as each node measured it. */
async function pauses(): Promise<string> {
  const all = (await statuses(everyone())).map(({ views }) => views.pauses);
  return all
    .map(
      ({ count, medianMs, p99Ms, longestMs }) => `${count}: ${medianMs}, ${p99Ms}, ${longestMs} ms`,
    )
    .join("; ");
}

const sum = (counts: readonly number[]): number => counts.reduce((total, one) => total + one, 0);

async function allEqual(): Promise<void> {
  let last = 0;
  await until(
    "the registers to be equal",
    async () => {
      const { differing, slices } = await differingSlices(everyone());
      last = differing.length;
      return last === 0 && slices === SLICES ? true : undefined;
    },
    120_000,
  ).catch((error: unknown) => {
    throw new Error(`${last} slices differ`, { cause: error });
  });
}

test("one node becomes three and five under load, and every object has three copies of its chain", async () => {
  await eachObject((i) =>
    s3.send(
      new PutObjectCommand({
        Bucket: cluster.dev.bucket,
        Key: `object ${i}`,
        Body: bodyOf(i),
      }),
    ),
  );
  load.run();
  await Promise.all([join(), join()]);
  const toThreeMs = await threeEach();
  const three = load.report();
  await Promise.all([join(), join()]);
  const toFiveMs = await threeEach();
  const five = load.report();
  await load.quiet();
  console.log(
    `grow: ${OBJECTS} objects; three nodes after ${toThreeMs} ms ${JSON.stringify(three)}\n` +
      `      five nodes after ${toFiveMs} ms ${JSON.stringify(five)}\n` +
      `      pauses of slices by node, count: median, p99, longest: ${await pauses()}`,
  );
  expect(load.failures).toEqual([]);
  await allEqual();
  expect(await wrongObjects()).toEqual([]);
  expect((await load.verify(cluster.dev)).wrong).toEqual([]);
}, 600_000);

test("the node that it began with dies for good, and its places go to others", async () => {
  await cluster.kill(0);
  nodes.shift();
  console.log(`grow: three voters everywhere again after ${await threeEach()} ms`);
  await allEqual();
  expect(await wrongObjects()).toEqual([]);
});

test("a node that is told to leave hands over all that it holds, and ends without loss", async () => {
  const leaving = nodes.at(-1)!;
  const startedMs = performance.now();
  expect(await cluster.leave(leaving)).toContain("holds nothing any more");
  console.log(`grow: a node left after ${Math.round(performance.now() - startedMs)} ms`);
  nodes.pop();
  await threeEach();
  await allEqual();
  expect(await wrongObjects()).toEqual([]);
});
