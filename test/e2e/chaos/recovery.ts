// How long after a heal everything serves again, and the ring is one.
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { statuses } from "../node-answers.ts";
import { until } from "../dev-cluster.ts";
import { type ChaosCluster } from "./chaos-cluster.ts";
import { clientOf } from "./s3-client.ts";

const PROBES = 12; // names, so that many slices are asked
const recoveredWithinMs = 60_000;

export interface Recovery {
  /** Until every gateway had a write acknowledged for every probe. */
  readonly servesMs: number;
  /** Until every node holds every other one for alive. */
  readonly ringMs: number;
}

/** Begins at once; rejects when it takes longer than a minute. */
export async function recover(cluster: ChaosCluster): Promise<Recovery> {
  const startedMs = performance.now();
  const took = (): number => Math.round(performance.now() - startedMs);
  const [servesMs, ringMs] = await Promise.all([
    served(cluster).then(took),
    joined(cluster).then(took),
  ]);
  return { servesMs, ringMs };
}

async function served(cluster: ChaosCluster): Promise<void> {
  const probe = async (endpoint: string, Key: string): Promise<void> => {
    const client = clientOf(cluster.dev, endpoint, { attempts: 1, attemptMs: 5_000 });
    let last: unknown;
    await until(
      `${endpoint} to take a write of "${Key}"`,
      async () => {
        const put = new PutObjectCommand({ Bucket: cluster.dev.bucket, Key, Body: Key });
        return client.send(put).then(
          () => true as const,
          (error: unknown) => {
            last = error;
            return undefined;
          },
        );
      },
      recoveredWithinMs,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; last: ${String(last)}`, { cause: last });
    });
    client.destroy();
  };
  await Promise.all(
    cluster.endpoints.flatMap((endpoint, g) =>
      Array.from({ length: PROBES }, (_, i) => probe(endpoint, `probe/${g}-${i}`)),
    ),
  );
}

async function joined(cluster: ChaosCluster): Promise<void> {
  const { kept } = cluster;
  const ids = new Set(kept.dev.nodes.map(({ id }) => id));
  let last = "";
  await until(
    "every node to hold every other for alive",
    async () => {
      const told = await statuses(kept).catch((error: unknown) => {
        last = String(error);
        return undefined;
      });
      const missing = told?.flatMap(({ id, members }) =>
        members
          .filter((member) => ids.has(member.id) && member.state !== "alive")
          .map((member) => `${id.slice(0, 4)} holds ${member.id.slice(0, 4)} for ${member.state}`),
      );
      if (missing) last = missing.join("; ");
      return missing?.length === 0 ? true : undefined;
    },
    recoveredWithinMs,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}; last: ${last}`);
  });
}
