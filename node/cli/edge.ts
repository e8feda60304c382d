// `npm run edge`: the gateway as it is deployed to Cloudflare Workers, on the same runtime (workerd) on this machine,
// against the nodes of a cluster. Development only: it runs wrangler, which the published package does not bring.
// Usage: node node/cli/edge.ts [--data DIR] [--port PORT]
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CliError, explain } from "./cli-error.ts";
import { readGenesis, readSecret } from "./cluster-files.ts";
import { writeDurably } from "./durable-file.ts";
import { REGION_DEFAULT } from "./run-gateway.ts";

const root = join(import.meta.dirname, "../..");
const wrangler = join(root, "node_modules/.bin/wrangler");

let running: ChildProcess | undefined;
let stopping = false;

// wrangler is ended and main() goes on to its end: the file with the secret must not stay.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stopping = true;
    running?.kill("SIGTERM");
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: "string", default: ".ringstow" },
      port: { type: "string", default: "8787" },
    },
  });
  const data = resolve(values.data);
  const genesis = await readGenesis(data);
  const secret = Buffer.from(await readSecret(data)).toString("hex");
  const folder = await mkdtemp(join(tmpdir(), "ringstow-edge-"));
  try {
    await run(["deploy", "--dry-run", "--outdir", folder], "Total Upload");
    // A file that only its owner may read: arguments are seen by everybody on this machine.
    const bindings = join(folder, "bindings");
    await writeDurably(
      bindings,
      `RINGSTOW_NODES=${genesis.nodes.map(({ url }) => url).join(",")}\n` +
        `RINGSTOW_SECRET=${secret}\nRINGSTOW_REGION=${REGION_DEFAULT}\n`,
      0o600,
    );
    const args = ["dev", "--local", "--ip", "127.0.0.1", "--port", values.port];
    const state = [
      "--persist-to",
      folder,
      "--env-file",
      bindings,
      "--show-interactive-dev-session=false",
    ];
    await run([...args, ...state]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs wrangler to its end; of its output only lines with `wanted` are shown, if that is given. */
async function run(args: readonly string[], wanted?: string): Promise<void> {
  const child = spawn(wrangler, args, {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    // It must not look outside: neither for updates and metrics, nor for a stand-in of the platform's facts.
    env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false" },
  });
  running = child;
  let held = "";
  child.stdout.on("data", (chunk: Buffer) => {
    if (wanted === undefined) process.stdout.write(chunk);
    else held += chunk.toString();
  });
  const [code] = (await once(child, "close")) as [number | null];
  for (const line of held.split("\n")) {
    if (wanted !== undefined && line.includes(wanted)) process.stdout.write(`Bundle: ${line}\n`);
  }
  if (code !== 0 && !stopping) throw new CliError(`wrangler ended with exit ${code}\n${held}`);
}

main().catch((error: unknown) => {
  process.stderr.write(`Cannot run the gateway at the edge: ${explain(error)}\n`);
  process.exit(1);
});
