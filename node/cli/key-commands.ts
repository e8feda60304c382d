// The commands `ringstow key ...` and `ringstow bucket ...`: flags, and what is printed.
import { resolve } from "node:path";
import { Command, Option } from "commander";
import { listKeysMax } from "../../shared/limits.ts";
import { type AccessKey, type Bucket } from "../../shared/records.ts";
import { type Cluster, withCluster } from "./cluster-service.ts";
import {
  type ChangeOptions,
  createKey,
  formatGrants,
  formatKeys,
  formatTable,
  grantsOf,
  keyChangeOf,
  listKeys,
  newKeyPair,
  parseEnd,
  requireBucketName,
  requireKeyId,
} from "./keys.ts";
import { newRequestId } from "./new-request-id.ts";

interface Common {
  readonly data: string;
  readonly json: boolean;
}
type Changes = Common & ChangeOptions;

const print = (text: string): void => void process.stdout.write(text);
const printJson = (value: unknown): void => print(`${JSON.stringify(value, undefined, 2)}\n`);

function withData(command: Command): Command {
  return command
    .requiredOption("--data <DIR>", "data folder of a node, or of `ringstow dev`")
    .option("--json", "print JSON", false);
}

const collect = (text: string, all: string[]): string[] => [...all, text];

function withGrants(command: Command): Command {
  return command
    .addOption(
      new Option("--all <PERMISSION>", "what it may do in every bucket").choices([
        "read",
        "write",
        "owner",
      ]),
    )
    .option("--read <BUCKET>", "a bucket that it may read; repeat for more", collect, [])
    .option("--write <BUCKET>", "a bucket that it may read and write", collect, [])
    .option("--owner <BUCKET>", "a bucket that it may also configure and delete", collect, [])
    .option("--create-buckets", "it may make buckets, and owns those")
    .option("--name <TEXT>", "for people: whose key it is, or what for")
    .option("--expires <WHEN>", "30d, 12h, 45m, a date, or never");
}

/** What a key shows of itself: its secret is not among it. */
function publicKey({
  sealedSecret: _sealed,
  ...shown
}: AccessKey): Omit<AccessKey, "sealedSecret"> {
  return shown;
}

function showKeys(keys: readonly AccessKey[], json: boolean): void {
  if (json) printJson(keys.map(publicKey));
  else print(formatKeys(keys));
}

async function create(options: Changes): Promise<void> {
  const pair = newKeyPair();
  const made = await withCluster(resolve(options.data), (cluster) =>
    createKey(cluster, pair, {
      name: options.name ?? "",
      grants: grantsOf(options),
      expiresMs: parseEnd(options.expires ?? "never", Date.now()) ?? undefined,
    }),
  );
  if (options.json) printJson({ ...pair, ...publicKey(made) });
  else {
    print(
      `access key   ${pair.accessKeyId}\nsecret key   ${pair.secretAccessKey}\n\n` +
        `Keep the secret: it is not shown again.\n${formatKeys([made])}`,
    );
    if (formatGrants(made.grants) === "nothing")
      print("\nIt may do nothing yet: see ringstow key limit --help\n");
  }
}

async function limit(id: string, options: Changes): Promise<void> {
  const request = { id: requireKeyId(id), change: keyChangeOf(options, Date.now()) };
  const changed = await withCluster(resolve(options.data), ({ service }) =>
    service.changeKey({ ...request, requestId: newRequestId() }),
  );
  showKeys([changed], options.json);
}

export function keyCommand(): Command {
  const key = new Command("key").description("make, list, limit and delete access keys");
  withGrants(
    withData(key.command("create").description("make a key; its secret is told once")),
  ).action(create);
  withData(
    key.command("list").description("all keys, with what they may and when they were used"),
  ).action(async (options: Common) => {
    showKeys(await withCluster(resolve(options.data), listKeys), options.json);
  });
  withData(key.command("show").argument("<ID>").description("one key")).action(
    async (id: string, options: Common) => {
      const found = await withCluster(resolve(options.data), ({ service }) =>
        service.getKey({ id: requireKeyId(id) }),
      );
      showKeys([found], options.json);
    },
  );
  withGrants(
    withData(
      key
        .command("limit")
        .argument("<ID>")
        .description(
          "change a key: rights that are named replace all that it has; gateways follow within seconds",
        ),
    ),
  )
    .option("--nothing", "take all rights away")
    .action(limit);
  withData(
    key
      .command("delete")
      .argument("<ID>")
      .description("delete a key; gateways follow within seconds, its buckets stay"),
  ).action(async (id: string, options: Common) => {
    await withCluster(resolve(options.data), ({ service }) =>
      service.deleteKey({ id: requireKeyId(id), requestId: newRequestId() }),
    );
    if (options.json) printJson({ deleted: id });
    else print(`Deleted ${id}\n`);
  });
  return key;
}

export function bucketCommand(): Command {
  const bucket = new Command("bucket").description("make, list and delete buckets");
  withData(bucket.command("create").argument("<NAME>").description("make a bucket"))
    .requiredOption("--owner <KEY>", "id of the access key that owns it")
    .action(async (name: string, options: Common & { owner: string }) => {
      requireBucketName(name);
      const made = await withCluster(resolve(options.data), async ({ service }) => {
        await service.getKey({ id: requireKeyId(options.owner) });
        return service.createBucket({ name, owner: options.owner, requestId: newRequestId() });
      });
      showBuckets([made], options.json);
    });
  withData(bucket.command("list").description("all buckets")).action(async (options: Common) => {
    showBuckets(await withCluster(resolve(options.data), listBuckets), options.json);
  });
  withData(
    bucket.command("show").argument("<NAME>").description("one bucket, and who may use it"),
  ).action(async (name: string, options: Common) => {
    const { found, keys } = await withCluster(resolve(options.data), async (cluster) => ({
      found: await cluster.service.getBucket({ name }),
      keys: await listKeys(cluster),
    }));
    const users = keys.filter(
      ({ id, grants }) => id === found.owner || grants.all || Object.hasOwn(grants.buckets, name),
    );
    if (options.json) printJson({ ...found, keys: users.map(publicKey) });
    else {
      showBuckets([found], false);
      print(`\n${formatKeys(users)}`);
    }
  });
  withData(
    bucket.command("delete").argument("<NAME>").description("delete an empty bucket"),
  ).action(async (name: string, options: Common) => {
    await withCluster(resolve(options.data), ({ service }) =>
      service.deleteBucket({ name, requestId: newRequestId() }),
    );
    if (options.json) printJson({ deleted: name });
    else print(`Deleted ${name}\n`);
  });
  return bucket;
}

async function listBuckets({ service }: Cluster): Promise<Bucket[]> {
  const buckets: Bucket[] = [];
  for (;;) {
    const page = await service.listBuckets({ after: buckets.at(-1)?.name, limit: listKeysMax });
    buckets.push(...page.buckets);
    if (!page.truncated) return buckets;
  }
}

function showBuckets(buckets: readonly Bucket[], json: boolean): void {
  if (json) printJson(buckets);
  else if (buckets.length === 0) print("No buckets.\n");
  else {
    const rows = buckets.map(({ name, owner, createdMs }) => [
      name,
      owner,
      new Date(createdMs).toISOString().slice(0, 16).replace("T", " "),
    ]);
    print(formatTable(["bucket", "owner", "created"], rows));
  }
}
