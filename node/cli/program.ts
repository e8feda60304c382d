// The commands of `ringstow`, their flags and what they run.
import { isIP } from "node:net";
import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { deriveSecrets } from "../../shared/peer-auth.ts";
import { useSha256 } from "../../shared/sha256.ts";
import { nodeSha256 } from "../runtime/node-sha256.ts";
import { stopOnSignals, tellReady } from "./child.ts";
import { commandLine } from "./command.ts";
import { CliError, explain } from "./cli-error.ts";
import { readNodeUrls, readSecret } from "./cluster-files.ts";
import { formatProgress, parseCopies, setCopies } from "./copies.ts";
import { runDev } from "./dev.ts";
import { bucketCommand, keyCommand } from "./key-commands.ts";
import { initCluster, nodeFolder } from "./init.ts";
import { leaveCluster } from "./leave.ts";
import { formatRecovery, recoverCluster } from "./recover.ts";
import { REGION_DEFAULT, runGateway } from "./run-gateway.ts";
import { runNode } from "./run-node.ts";
import { clusterStatus, formatStatus } from "./status.ts";

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/u.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

const port = whole(1, 65_535);
const seconds = whole(1, 7 * 24 * 3600);
const repairAfter = (): Option =>
  new Option(
    "--repair-after <SECONDS>",
    "make new copies of what a node held that is dead for so long (default 60)",
  ).argParser(seconds);
const joinAfter = (): Option =>
  new Option(
    "--join-after <SECONDS>",
    "give a new node its share once it is alive for so long (default 60)",
  ).argParser(seconds);
const movePause = (): Option =>
  new Option(
    "--move-pause <MS>",
    "between two slices whose places move though nobody is in need; 0 is as fast as it goes (default 100)",
  ).argParser(whole(0, 60_000));
const inMs = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : value * 1_000;

function ip(text: string): string {
  if (isIP(text) === 0) throw new InvalidArgumentError("It must be an IP address of this machine.");
  return text;
}

const program = new Command("ringstow")
  .description("Self-hosted, peer-to-peer object store that speaks S3")
  .showHelpAfterError();

program
  .command("dev")
  .description("start a whole cluster on this machine: nodes, a gateway, keys and a bucket")
  .option(
    "--nodes <N>",
    "nodes of a new cluster (default 5; an existing cluster keeps its own)",
    whole(1, 50),
  )
  .option(
    "--port <P>",
    "port of the gateway (default: as last time, at first 9000); nodes of a new cluster take the ports above",
    whole(1, 65_400),
  )
  .option("--data <DIR>", "folder of all data", ".ringstow")
  .addOption(joinAfter())
  .addOption(repairAfter())
  .addOption(movePause())
  .action(
    async (options: {
      nodes?: number;
      port?: number;
      data: string;
      joinAfter?: number;
      repairAfter?: number;
      movePause?: number;
    }) => {
      await runDev({ ...options, nodes: options.nodes, port: options.port });
    },
  );

program
  .command("init")
  .description(
    "make the files of a new cluster: one data folder a node, to be moved to its machine",
  )
  .requiredOption("--data <DIR>", "folder that gets node-1, node-2, ...")
  .requiredOption(
    "--node <URL,PEER[,ZONE]>",
    "a node: its base URL, host:port of its peer link, and its zone; repeat for each node",
    (text: string, all: string[]) => [...all, text],
    [] as string[],
  )
  .option("--copies <N>", "copies of everything: 1, 3 or 5", whole(1, 5), 3)
  .option("--slice-bits <B>", "2^B slices: 12 up to 100 nodes, 16 up to 10,000", whole(4, 16), 12)
  .action(async (options: { data: string; node: string[]; copies: number; sliceBits: number }) => {
    if (options.node.length === 0)
      throw new CliError("Cannot make a cluster without nodes: give --node at least once");
    if (options.copies % 2 === 0)
      throw new CliError("Cannot make a cluster: --copies must be 1, 3 or 5");
    const data = resolve(options.data);
    const nodes = options.node.map(parseNode);
    const { copies, sliceBits } = options;
    await initCluster({ data, nodes, copies, sliceBits });
    const lines = nodes.map(
      ({ url }, i) => `  ${nodeFolder(data, i + 1)}  ->  the machine of ${url}`,
    );
    process.stdout.write(
      `Made a cluster of ${nodes.length} nodes. Move each folder to its machine, then start it there:\n${lines.join("\n")}\n` +
        `  ${commandLine("node --data FOLDER")}\n` +
        `A gateway needs genesis.json and cluster.secret: ${commandLine("gateway --data FOLDER")}\n` +
        `Once they run, make an access key: ${commandLine("key create --data FOLDER --all owner --create-buckets")}\n`,
    );
  });

const nodeCommand = program
  .command("node")
  .description("run one node on its data folder")
  .requiredOption(
    "--data <DIR>",
    "data folder that init made, or with --join one that holds cluster.secret",
  )
  .option(
    "--join <HOST:PORT>",
    "become a new node of the cluster of this peer address; needs --url and --peer",
  )
  .addOption(joinAfter())
  .option("--host <IP>", "address to listen on (default: the host of the advertised addresses)")
  .option("--from <IP>", "own address to call peers from (default: the system chooses)", ip)
  .option("--url <URL>", "base URL to advertise instead of the one given to init")
  .option("--peer <HOST:PORT>", "peer address to advertise instead of the one given to init")
  .option("--zone <NAME>", "zone instead of the one given to init")
  .option("--gateway <PORT>", "also run an S3 gateway in this process", port)
  .option("--region <NAME>", "S3 region of that gateway's clients", REGION_DEFAULT)
  .option(
    "--trust-proxy",
    "believe X-Forwarded-For and X-Forwarded-Host (only behind a proxy)",
    false,
  )
  .addOption(
    new Option("--routing <HOW>", "how lookups go").choices(["table", "fingers"]).default("table"),
  )
  .option(
    "--reserve <BYTES>",
    "refuse new blocks below this much free disk",
    whole(0, Number.MAX_SAFE_INTEGER),
  )
  .addOption(repairAfter())
  .addOption(movePause())
  .addOption(
    new Option("--log <LEVEL>", "what to log")
      .choices(["info", "warn", "error", "silent"])
      .default("warn"),
  )
  .action(async (options) => {
    const running = await runNode({
      data: resolve(options.data),
      host: options.host,
      from: options.from,
      url: options.url,
      peerAddress: options.peer,
      zone: options.zone,
      routing: options.routing,
      join: options.join,
      joinAfterMs: inMs(options.joinAfter),
      repairAfterMs: inMs(options.repairAfter),
      movePauseMs: options.movePause,
      reserveBytes: options.reserve,
      logLevel: options.log,
      gatewayPort: options.gateway,
      region: options.region,
      trustProxy: options.trustProxy,
    });
    stopOnSignals(() => running.stop());
    if (!process.send) {
      process.stdout.write(`Node ${running.node.route.self.id} answers at ${running.url}\n`);
      if (running.gatewayUrl) process.stdout.write(`S3 gateway at ${running.gatewayUrl}\n`);
    }
    tellReady();
  });

nodeCommand
  .command("leave")
  .description("let a running node hand over all that it holds, before it is taken away for good")
  .addHelpText(
    "after",
    "\nThe node is that of `ringstow node --data <DIR>`: give the same --data here.",
  )
  .action(async () => {
    const data = resolve(nodeCommand.opts<{ data: string }>().data);
    await leaveCluster(data, (line) => process.stdout.write(`${line}\n`));
    process.stdout.write("The node holds nothing any more. Stop it; its folder is of no use.\n");
  });

interface RecoverFlags {
  readonly data: string;
  readonly lost: string[];
  readonly acceptDataLoss: boolean;
  readonly startAnyway: boolean;
}

program
  .command("recover")
  .description(
    "after the loss of nodes for good: let slices that lost their majority go on without them",
  )
  .option("--data <DIR>", "folder with genesis.json and cluster.secret", ".ringstow")
  .requiredOption(
    "--lost <ID>",
    "a node that never comes back, by its id or the first digits; repeat for more",
    (text: string, all: string[]) => [...all, text],
    [] as string[],
  )
  .option("--accept-data-loss", "yes: writes that only the lost nodes had are gone", false)
  .option(
    "--start-anyway",
    "slices that nobody who is left holds begin with what happens to be there, old or nothing",
    false,
  )
  .action(async (options: RecoverFlags) => {
    if (!options.acceptDataLoss) {
      throw new CliError(
        "Cannot recover: acknowledged writes may be lost, and if those nodes still run somewhere, names may split. " +
          "Say --accept-data-loss when that is understood",
      );
    }
    const { data, lost, startAnyway } = options;
    const report = await recoverCluster(resolve(data), lost, startAnyway);
    process.stdout.write(`${formatRecovery(report, lost)}\n`);
    if (report.blocked + report.unheld > 0) process.exitCode = 1;
  });

program
  .command("copies")
  .description("keep another number of copies of everything, or tell how far that has come")
  .argument("[N]", "1, 3 or 5; a running cluster follows by itself")
  .option("--data <DIR>", "folder with genesis.json and cluster.secret", ".ringstow")
  .action(async (wanted: string | undefined, options: { data: string }) => {
    const data = resolve(options.data);
    const text =
      wanted === undefined
        ? formatProgress(await clusterStatus(data))
        : await setCopies(data, parseCopies(wanted));
    process.stdout.write(`${text}\n`);
  });

program
  .command("gateway")
  .description("run an S3 gateway that forwards to the nodes")
  .requiredOption("--data <DIR>", "folder with genesis.json and cluster.secret")
  .option("--host <IP>", "address to listen on", "0.0.0.0")
  .option("--from <IP>", "own address to call nodes from (default: the system chooses)", ip)
  .option("--port <PORT>", "port to listen on", port, 9000)
  .option("--region <NAME>", "S3 region that clients use", REGION_DEFAULT)
  .option("--public-url <URL>", "how clients reach this gateway, if not by its address")
  .option(
    "--node <URL>",
    "base URL of a node to ask first, beside those of the genesis file; repeat for more",
    (text: string, all: string[]) => [...all, text],
    [] as string[],
  )
  .option(
    "--trust-proxy",
    "believe X-Forwarded-For and X-Forwarded-Host (only behind a proxy)",
    false,
  )
  .action(async (options) => {
    const data = resolve(options.data);
    const gateway = await runGateway({
      host: options.host,
      port: options.port,
      region: options.region,
      secrets: deriveSecrets(await readSecret(data)),
      nodes: [...options.node, ...(await readNodeUrls(data))],
      from: options.from,
      publicUrl: options.publicUrl,
      trustProxy: options.trustProxy,
    });
    stopOnSignals(() => gateway.stop());
    if (!process.send) process.stdout.write(`S3 gateway at ${gateway.url}\n`);
    tellReady();
  });

program
  .command("status")
  .description("show the nodes of a cluster")
  .option("--data <DIR>", "folder with genesis.json and cluster.secret", ".ringstow")
  .option("--json", "print JSON", false)
  .action(async (options: { data: string; json: boolean }) => {
    const status = await clusterStatus(resolve(options.data));
    const text = options.json
      ? JSON.stringify(status, undefined, 2)
      : formatStatus(status, Date.now());
    process.stdout.write(`${text}\n`);
  });

function parseNode(text: string): { url: string; peerAddress: string; zone: string } {
  const [url, peerAddress, zone = "default"] = text.split(",");
  if (!url || !URL.canParse(url) || !peerAddress || !/^.+:\d{1,5}$/u.test(peerAddress)) {
    throw new CliError(
      `Cannot use --node "${text}": it must be URL,HOST:PORT or URL,HOST:PORT,ZONE`,
    );
  }
  return { url: url.replace(/\/$/u, ""), peerAddress, zone };
}

program.addCommand(keyCommand());
program.addCommand(bucketCommand());

useSha256(nodeSha256);
program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`ringstow: ${explain(error)}\n`);
  // A child's channel, a socket or a timer may be open: nothing of it is wanted any more.
  process.exit(1);
});
