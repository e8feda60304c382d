// The process that store-level.test.ts kills: writes without end, prints a key when its write was acknowledged.
// usage: store-writer.ts FOLDER ROUND
import { openLevelStore } from "../../node/runtime/level-store.ts";

const [folder, round] = process.argv.slice(2);
const store = await openLevelStore(folder!);
let count = 0;

async function writer(): Promise<never> {
  for (;;) {
    const key = `round ${round} key ${count++}`;
    const value = new TextEncoder().encode(`value of ${key}`);
    await store.write([
      { key, value },
      { key: `${key}/twin`, value },
    ]);
    process.stdout.write(`${key}.\n`);
  }
}

await Promise.all(Array.from({ length: 16 }, writer));
