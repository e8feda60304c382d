// How fast the peer link is between two processes on this machine: calls of about 300 bytes, 64 in flight, and one
// stream. Run: node test/bench/peer-link.ts [seconds]. The callee runs in a child process.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { type Log, type PeerHandlers } from "../../node/ports.ts";
import { type PeerLinkTransport, openPeerLink } from "../../node/runtime/peer-link.ts";
import { parseNodeId } from "../../shared/ids.ts";
import { streamChunkBytes } from "../../shared/limits.ts";

const callsInFlight = 64;
const streamBytes = 1024 * 1024 * 1024;
const quiet: Log = { info: () => {}, warn: console.warn, error: console.error };

function link(digit: string): Promise<PeerLinkTransport> {
  return openPeerLink({
    listen: { host: "127.0.0.1", port: 0 },
    advertise: "127.0.0.1:0",
    id: parseNodeId(digit.repeat(32)),
    secret: new Uint8Array(32).fill(1),
    protocolVersion: 1,
    log: quiet,
  });
}

/** What an ACCEPT looks like, roughly. */
const request = {
  key: "b/0123456789abcdef0123456789abcdef/photos/2024/holiday/img_0001.jpg",
  ballot: "00000000000000000012aabbccdd00112233445566778899",
  epoch: 7,
  view: ["0123456789abcdef0123456789abcdef0123456789abcdef"],
  value: new Uint8Array(90).fill(5),
  final: true,
};

const callee: PeerHandlers = {
  call: async (name, body) => (name === "cpu" ? cpuUs() : body),
  stream: async (name, _header, stream) => {
    if (name === "drain") {
      while (await stream.receive());
      return;
    }
    const chunk = new Uint8Array(streamChunkBytes).fill(3);
    for (let left = streamBytes; left > 0; left -= chunk.length) await stream.send(chunk);
  },
};

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function runCallee(): Promise<void> {
  const own = await link("b");
  own.serve(callee);
  process.send!(own.address);
  process.once("disconnect", () => void own.close());
}

export interface PeerLinkRate {
  readonly perSecond: number;
  readonly callerUs: number;
  readonly calleeUs: number;
}

interface Meter {
  /** CPU of this process and of the callee, and time, for one item. */
  report(what: string, items: number, unit: string): Promise<PeerLinkRate>;
}

async function meter(own: PeerLinkTransport, address: string): Promise<Meter> {
  const calleeCpu = async (): Promise<number> =>
    (await own.call({ address }, "cpu", null, 5000)) as number;
  const theirs = await calleeCpu();
  const ours = cpuUs();
  const start = performance.now();
  return {
    report: async (what, items, unit) => {
      const seconds = (performance.now() - start) / 1000;
      const oursEach = (cpuUs() - ours) / items;
      const theirsEach = ((await calleeCpu()) - theirs) / items;
      console.error(
        `${what}: ${Math.round(items / seconds)} ${unit}/s; ` +
          `CPU us/${unit}: caller ${oursEach.toFixed(1)}, callee ${theirsEach.toFixed(1)}`,
      );
      return { perSecond: items / seconds, callerUs: oursEach, calleeUs: theirsEach };
    },
  };
}

async function benchCalls(
  own: PeerLinkTransport,
  address: string,
  inFlight: number,
  seconds: number,
): Promise<PeerLinkRate> {
  const until = async (end: number): Promise<number> => {
    let calls = 0;
    const worker = async (): Promise<void> => {
      for (; performance.now() < end; calls++) await own.call({ address }, "echo", request, 5000);
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
    return calls;
  };
  await until(performance.now() + 1000); // warm
  const measured = await meter(own, address);
  const calls = await until(performance.now() + seconds * 1000);
  return measured.report(`calls, ${inFlight} in flight`, calls, "call");
}

async function benchStream(own: PeerLinkTransport, address: string, name: string): Promise<void> {
  const measured = await meter(own, address);
  const stream = await own.open({ address }, name, null, 5000);
  if (name === "drain") {
    const chunk = new Uint8Array(streamChunkBytes).fill(3);
    for (let left = streamBytes; left > 0; left -= chunk.length) await stream.send(chunk);
  }
  stream.end();
  while (await stream.receive());
  const what = name === "drain" ? "stream, caller sends" : "stream, callee sends";
  await measured.report(what, streamBytes / 1_000_000, "MB");
}

/** Calls of about 300 bytes from this process to another, 64 in flight. */
export async function measureCalls(seconds: number): Promise<PeerLinkRate> {
  const child: ChildProcess = fork(import.meta.filename, ["callee"]);
  const [address] = (await once(child, "message")) as [string];
  const own = await link("a");
  const rate = await benchCalls(own, address, callsInFlight, seconds);
  await own.close();
  child.disconnect();
  return rate;
}

async function runCaller(seconds: number): Promise<void> {
  const child: ChildProcess = fork(import.meta.filename, ["callee"]);
  const [address] = (await once(child, "message")) as [string];
  const own = await link("a");
  await benchCalls(own, address, callsInFlight, seconds);
  await benchCalls(own, address, 1, Math.min(2, seconds));
  for (const name of ["drain", "fill", "drain", "fill"]) await benchStream(own, address, name);
  await own.close();
  child.disconnect();
}

const isMain = process.argv[1] === import.meta.filename;
if (isMain && process.argv[2] === "callee") await runCallee();
else if (isMain) await runCaller(Number(process.argv[2] ?? 5));
