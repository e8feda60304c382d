// Six nodes fall into two halves that cannot reach each other, with a gateway and clients on either side. A name is
// served on the side that has most of its members; the other side must say no soon, and never tell an old value. A list
// needs most members of every shard, which are on either side.
import {
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { withCluster } from "../../../node/cli/cluster-service.ts";
import { readGenesis } from "../../../node/cli/cluster-files.ts";
import { genesisViews } from "../../../node/index/views.ts";
import { nodeOfVoter } from "../../../shared/ids.ts";
import { logicalIdOf, sliceOfId } from "../../../shared/slices.ts";
import { etagOf } from "../../sim/bodies.ts";
import { History } from "../../sim/history.ts";
import { until } from "../dev-cluster.ts";
import { type ChaosCluster } from "./chaos-cluster.ts";
import { recover } from "./recovery.ts";
import { type Condition } from "./relay.ts";
import { type Failed, clientOf, failureOf } from "./s3-client.ts";

export interface Partitioned {
  /** How long refusals took: of calls begun in the first ten seconds after the cut, and later. */
  readonly refusedEarlyMs: readonly number[];
  readonly refusedLateMs: readonly number[];
  readonly served: number;
  /** Names that both sides took writes for, or neither; and answers that no register explains. */
  readonly wrong: readonly string[];
  readonly servesMs: number;
  readonly ringMs: number;
}

export interface PartitionOptions {
  readonly passage: Condition["passage"];
  readonly names: number;
  readonly lastMs: number;
}

const earlyMs = 10_000;
const encoder = new TextEncoder();

export async function partition(
  cluster: ChaosCluster,
  { passage, names, lastMs }: PartitionOptions,
): Promise<Partitioned> {
  const { nodes, gateways, endpoints, dev, relays } = cluster;
  // One attempt: the SDK would hide a refusal behind its own retries.
  const clients = endpoints.map((endpoint) =>
    clientOf(dev, endpoint, { attempts: 1, attemptMs: 60_000 }),
  );
  const keys = Array.from({ length: names }, (_, i) => `split/${i}`);
  const history = new History();
  const refused: { atMs: number; tookMs: number }[] = [];
  const takenBy = new Map<string, Set<number>>();
  const wrong: string[] = [];
  /** Why a write was refused last, by name and side. */
  const reasons = new Map<string, string>();
  let served = 0;
  let writes = 0;

  /** Notes that a call was refused, which must be with 503. */
  const refuse = (what: string, beganAt: number, cutAt: number, error: unknown): Failed => {
    const failure = failureOf(error);
    if (failure.kind !== "unknown") wrong.push(`${what}: ${JSON.stringify(failure)}`);
    else if (!failure.reason.startsWith("503")) wrong.push(`${what}: ${failure.reason}`);
    refused.push({ atMs: beganAt - cutAt, tookMs: performance.now() - beganAt });
    return failure;
  };

  /** One list on one side. A name that it shows must have been so in the meantime. */
  const list = async (side: number, cutAt: number): Promise<void> => {
    const beganAt = performance.now();
    const calledAt = history.tick();
    try {
      const Prefix = "split/";
      const page = await clients[side]!.send(
        new ListObjectsV2Command({ Bucket: dev.bucket, Prefix }),
      );
      served++;
      const listed = new Map(page.Contents?.map(({ Key, ETag }) => [Key, plain(ETag)]));
      for (const key of keys) {
        const outcome = { kind: "ok", value: listed.get(key) } as const;
        const answeredAt = history.tick();
        const note = `list on side ${side}`;
        history.add(key, { action: { kind: "get" }, outcome, calledAt, answeredAt, note });
      }
    } catch (error) {
      refuse(`list on side ${side}`, beganAt, cutAt, error);
    }
  };

  /** One write and one read of a name on one side. */
  const use = async (side: number, Key: string, cutAt: number): Promise<void> => {
    for (const kind of ["put", "get"] as const) {
      const beganAt = performance.now();
      const Body = `${Key} ${++writes}`;
      const value = etagOf(encoder.encode(Body));
      const action = kind === "put" ? ({ kind, value } as const) : ({ kind } as const);
      const open = history.call(
        Key,
        action,
        `side ${side}, ${((beganAt - cutAt) / 1000).toFixed(1)} s`,
      );
      try {
        const etag = await send(clients[side]!, kind, { Bucket: dev.bucket, Key }, Body);
        served++;
        open.answer({ kind: "ok", ...(kind === "get" ? { value: etag } : {}) });
        if (kind === "put") takenBy.get(Key)!.add(side);
      } catch (error) {
        const failure = refuse(`${kind} "${Key}"`, beganAt, cutAt, error);
        if (kind === "put") reasons.set(`${Key} ${side}`, JSON.stringify(failure));
      }
    }
  };

  for (const key of keys) {
    takenBy.set(key, new Set());
    await until(
      `"${key}" to be written`,
      async () => {
        // By both gateways: one that never saw the bucket or the key could not serve them later on.
        const before = served;
        await use(0, key, performance.now());
        await use(1, key, performance.now());
        return served === before + 4 || undefined;
      },
      30_000,
    );
    takenBy.set(key, new Set());
  }
  refused.length = 0;

  const sideOf = await servingSides(cluster, keys);
  const cutAt = performance.now();
  const near = new Set([...nodes.slice(0, nodes.length >> 1), gateways[0]!]);
  for (const a of near)
    for (const b of [...nodes, ...gateways]) if (!near.has(b)) relays.setBoth(a, b, { passage });
  const paced = async (work: () => Promise<void>): Promise<void> => {
    while (performance.now() - cutAt < lastMs) {
      await work();
      // A pace: a name is asked for once a second, not as fast as it is refused.
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  };
  await Promise.all(
    [0, 1].flatMap((side) => [
      paced(() => list(side, cutAt)),
      ...keys.map((key) => paced(() => use(side, key, cutAt))),
    ]),
  );
  for (const [key, sides] of takenBy) {
    const side = sideOf.get(key)!;
    if (sides.size === 1 && sides.has(side)) continue;
    const why = [0, 1].map((other) => reasons.get(`${key} ${other}`));
    wrong.push(`"${key}" of side ${side} was written on [${[...sides].join()}]: ${why.join("; ")}`);
  }
  relays.heal();
  const recovery = await recover(cluster);
  for (const client of clients) client.destroy();
  return {
    refusedEarlyMs: refused.filter(({ atMs }) => atMs <= earlyMs).map(({ tookMs }) => tookMs),
    refusedLateMs: refused.filter(({ atMs }) => atMs > earlyMs).map(({ tookMs }) => tookMs),
    served,
    wrong: [...wrong, ...history.violations()],
    ...recovery,
  };
}

/** On which side most members of each name's slice are. */
async function servingSides(
  { folder, dev, nodes }: ChaosCluster,
  keys: readonly string[],
): Promise<Map<string, number>> {
  const genesis = await readGenesis(folder);
  const views = genesisViews(genesis);
  const bucket = await withCluster(folder, ({ service }) =>
    service.getBucket({ name: dev.bucket }),
  );
  const near = new Set(dev.nodes.slice(0, nodes.length >> 1).map(({ id }) => id));
  return new Map(
    keys.map((key) => {
      const slice = sliceOfId(logicalIdOf(bucket.id, key, bucket.shards), genesis.sliceBits);
      const { members } = views(slice);
      const here = members.filter((member) => near.has(nodeOfVoter(member))).length;
      return [key, 2 * here > members.length ? 0 : 1];
    }),
  );
}

async function send(
  client: S3Client,
  kind: "put" | "get",
  at: { Bucket: string; Key: string },
  Body: string,
): Promise<string | undefined> {
  if (kind === "put") {
    await client.send(new PutObjectCommand({ ...at, Body }));
    return undefined;
  }
  const { Body: body, ETag } = await client.send(new GetObjectCommand(at));
  await body!.transformToByteArray();
  return plain(ETag);
}

const plain = (etag: string | undefined): string | undefined => etag?.replaceAll('"', "");
