// Two clients that create one name at once: one wins, always. Clients that append to one object by If-Match: nothing
// that was acknowledged is lost, nothing happens twice.
import { GetObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { until } from "../dev-cluster.ts";
import { type ChaosCluster } from "./chaos-cluster.ts";
import { busiest } from "./kills.ts";
import { recover } from "./recovery.ts";
import { clientOf, failureOf } from "./s3-client.ts";

const LIMITS = { attempts: 3, attemptMs: 10_000 };
const readMs = 60_000;

type Ended = "ok" | "refused" | "unknown";

async function put(client: S3Client, input: ConstructorParameters<typeof PutObjectCommand>[0]) {
  return client.send(new PutObjectCommand(input)).then(
    ({ ETag }) => ({ ended: "ok" as Ended, etag: ETag }),
    (error: unknown) => {
      const failure = failureOf(error);
      if (failure.kind === "defect") throw error;
      return { ended: failure.kind as Ended, etag: undefined };
    },
  );
}

async function read(
  client: S3Client,
  Bucket: string,
  Key: string,
): Promise<{ text: string; etag: string } | undefined> {
  return client.send(new GetObjectCommand({ Bucket, Key })).then(
    async ({ Body, ETag }) => ({ text: await Body!.transformToString(), etag: ETag! }),
    (error: unknown) => {
      if (failureOf(error).kind === "unknown") return undefined;
      throw error;
    },
  );
}

export interface Races {
  /** Races by how both ended, such as "ok, refused". */
  readonly ends: ReadonlyMap<string, number>;
  readonly wrong: readonly string[];
}

/** `races` fresh names, each created by two clients at once, one a gateway. */
export async function raceCreations(
  cluster: ChaosCluster,
  races: number,
  folder = "race",
): Promise<Races> {
  const { dev, endpoints } = cluster;
  const [one, other] = endpoints.map((endpoint) => clientOf(dev, endpoint, LIMITS)) as [
    S3Client,
    S3Client,
  ];
  const ends = new Map<string, number>();
  const wrong: string[] = [];
  let next = 0;
  const race = async (n: number): Promise<void> => {
    const Key = `${folder}/${n}`;
    const runner = (client: S3Client, Body: string) =>
      put(client, { Bucket: dev.bucket, Key, Body, IfNoneMatch: "*" });
    const [a, b] = await Promise.all([runner(one, "one"), runner(other, "other")]);
    const end = [a.ended, b.ended].toSorted().join(", ");
    ends.set(end, (ends.get(end) ?? 0) + 1);
    const { text } = await until(
      `"${Key}"`,
      () => read(n % 2 ? one : other, dev.bucket, Key),
      readMs,
    );
    const winner = text === "one" ? a : b;
    const loser = text === "one" ? b : a;
    if (winner.ended === "refused" || loser.ended === "ok")
      wrong.push(`${Key} holds "${text}", and one ended ${a.ended}, other ${b.ended}`);
  };
  const lane = async (): Promise<void> => {
    while (next < races) await race(next++);
  };
  await Promise.all(Array.from({ length: 4 }, lane));
  one.destroy();
  other.destroy();
  return { ends, wrong };
}

export interface Counted {
  readonly acknowledged: number;
  readonly refused: number;
  /** Increments of unknown outcome, and how many of them took effect. */
  readonly unknown: number;
  readonly unknownDone: number;
  readonly wrong: readonly string[];
}

/** Clients append a mark of their own to one object until each has `increments` acknowledged ones. */
export async function countTogether(
  cluster: ChaosCluster,
  Key: string,
  { clients, increments }: { clients: number; increments: number },
): Promise<Counted> {
  const { dev, endpoints } = cluster;
  const Bucket = dev.bucket;
  const gateways = endpoints.map((endpoint) => clientOf(dev, endpoint, LIMITS));
  const acknowledged = new Set<string>();
  const unknown = new Set<string>();
  let refused = 0;
  await until("the counter", async () => {
    const { ended } = await put(gateways[0]!, { Bucket, Key, Body: " " });
    return ended === "ok" || undefined;
  });
  const count = async (number: number): Promise<void> => {
    const gateway = gateways[number % gateways.length]!;
    for (let done = 0, tries = 0; done < increments; tries++) {
      const now = await until("the counter", () => read(gateway, Bucket, Key), readMs);
      const mark = `${number}.${tries}`;
      const input = { Bucket, Key, Body: `${now.text}${mark} `, IfMatch: now.etag };
      const { ended } = await put(gateway, input);
      if (ended === "ok") {
        done++;
        acknowledged.add(mark);
      } else if (ended === "refused") refused++;
      else unknown.add(mark);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, i) => count(i)));
  const { text } = await until("the counter", () => read(gateways[0]!, Bucket, Key), readMs);
  for (const gateway of gateways) gateway.destroy();
  const marks = text.split(" ").filter((mark) => mark !== "");
  const there = new Set(marks);
  const wrong = [
    ...marks.filter((mark, i) => marks.indexOf(mark) !== i).map((mark) => `${mark} is there twice`),
    ...[...acknowledged].filter((mark) => !there.has(mark)).map((mark) => `${mark} is lost`),
    ...marks
      .filter((mark) => !acknowledged.has(mark) && !unknown.has(mark))
      .map((mark) => `${mark} was refused, and is there`),
  ];
  const unknownDone = marks.filter((mark) => unknown.has(mark)).length;
  return { acknowledged: acknowledged.size, refused, unknown: unknown.size, unknownDone, wrong };
}

/** Kills the busiest leader and starts it again, over and over, until `work` has ended. Gives the number of kills. */
export async function whileLeadersDie<T>(
  cluster: ChaosCluster,
  work: Promise<T>,
): Promise<{ done: T; kills: number }> {
  let over = false;
  const ended = work.finally(() => (over = true));
  ended.catch(() => undefined); // awaited below
  let kills = 0;
  while (!over) {
    const { name } = await busiest(cluster);
    await cluster.kill(name);
    kills++;
    await cluster.run(name);
    await recover(cluster);
  }
  return { done: await ended, kills };
}
