// Durable puts on the real store: what one write costs when many wait together, and alone.
// usage: node test/bench/store.ts [FOLDER] [SECONDS]
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLevelStore } from "../../node/runtime/level-store.ts";

const valueBytes = 200;
const warmUpMs = 1_000;

const parent = process.argv[2] ?? tmpdir();
const measureMs = Number(process.argv[3] ?? 5) * 1_000;
const folder = await mkdtemp(join(parent, "ringstow-bench-"));
const store = await openLevelStore(folder);
const value = new Uint8Array(valueBytes).map((_, i) => i * 37);
let next = 0;

/** A key as registers have them: hashed order, a few tens of bytes. */
const keyOf = (n: number): string =>
  `r/${Math.imul(n, 0x9e3779b1) >>> 0}/${n.toString(16).padStart(24, "0")}`;

async function puts(
  writers: number,
  durationMs: number,
): Promise<{ count: number; waits: number[] }> {
  const end = performance.now() + durationMs;
  const waits: number[] = [];
  const writer = async (): Promise<void> => {
    for (let before = performance.now(); before < end;) {
      await store.write([{ key: keyOf(next++), value }]);
      const after = performance.now();
      waits.push(after - before);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: writers }, writer));
  return { count: waits.length, waits: waits.toSorted((a, b) => a - b) };
}

async function measure(name: string, body: () => Promise<{ count: number; waits?: number[] }>) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const { count, waits = [] } = await body();
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const at = (share: number): string => (waits[Math.floor(waits.length * share)] ?? 0).toFixed(2);
  console.log(
    `${name}: ${Math.round(count / seconds)} per s, ${((user + system) / count).toFixed(1)} us CPU each` +
      (waits.length > 0 ? `, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms` : ""),
  );
}

try {
  await puts(64, warmUpMs);
  for (const writers of [1, 16, 64, 256]) {
    await measure(`durable puts, ${writers} writers, ${valueBytes} bytes`, () =>
      puts(writers, measureMs),
    );
  }
  await measure("gets, random", async () => {
    const count = 200_000;
    for (let i = 0; i < count; i++) store.get(keyOf(Math.floor(Math.random() * next)));
    return { count };
  });
  await measure("range rows, 1,000 a call", async () => {
    let count = 0;
    for (let i = 0; i < 100; i++) {
      count += (await store.range({ from: `r/${i % 10}`, to: "s", limit: 1_000 })).length;
    }
    return { count };
  });
  console.log(`peak RSS ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB, ${next} rows`);
} finally {
  await store.close();
  await rm(folder, { recursive: true });
}
