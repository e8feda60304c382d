// LevelDB against the Store suite, and what only files can do: be killed, damaged or not writable.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Store } from "../../node/ports.ts";
import { openLevelStore } from "../../node/runtime/level-store.ts";
import { bytes, describeStore, text } from "./store-suite.ts";
import { type TemporaryFolder, temporaryFolder } from "./temporary-folder.ts";

describe("LevelStore", () =>
  describeStore(async () => {
    const folder = await temporaryFolder();
    let store: Store | undefined;
    return {
      open: async () => (store = await openLevelStore(join(folder.path, "made", "registers"))),
      run: (body) => body(),
      end: async () => {
        await store?.close();
        await folder.remove();
      },
    };
  }));

describe("LevelStore files", () => {
  let folder: TemporaryFolder;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  /** Kills a process that writes (store-writer.ts) once it has printed `acks` keys; answers what it printed. */
  async function killAfter(acks: number, round: number): Promise<string[]> {
    const script = join(import.meta.dirname, "store-writer.ts");
    const child = spawn(process.execPath, [script, folder.path, String(round)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(child, "exit");
    const keys: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      // "." ends a whole line: the kill may cut the last one.
      if (line.endsWith(".")) keys.push(line.slice(0, -1));
      if (keys.length === acks) child.kill("SIGKILL");
    }
    expect((await exited)[1]).toBe("SIGKILL");
    return keys;
  }

  test("write: every key that was acknowledged before SIGKILL is there, with its whole batch", async () => {
    const acknowledged: string[] = [];
    for (const [round, acks] of [1, 250, 3_000].entries()) {
      acknowledged.push(...(await killAfter(acks, round)));
      const store = await openLevelStore(folder.path);
      const lost = acknowledged.filter(
        (key) => text(store.get(key)) !== `value of ${key}` || !store.get(`${key}/twin`),
      );
      expect(lost).toEqual([]);
      await store.close();
    }
    expect(acknowledged.length).toBeGreaterThan(3_250);
  });

  // What a power loss can leave of a log: its beginning. A batch that is not whole is as if never written.
  test("openLevelStore: a log that is torn anywhere loses whole batches from its end, never a part", async () => {
    const live = join(folder.path, "live");
    const store = await openLevelStore(live);
    const batches = 12;
    for (let n = 0; n < batches; n++)
      await store.write(
        ["a", "b", "c"].map((part) => ({ key: `${n}/${part}`, value: bytes(`${n}`.repeat(40)) })),
      );
    const log = (await readdir(live)).find((name) => name.endsWith(".log"))!;
    const whole = (await stat(join(live, log))).size;
    const found: number[] = [];
    for (let size = whole; size >= 0; size -= 97) {
      const copy = join(folder.path, `torn-${size}`);
      await cp(live, copy, { recursive: true });
      await truncate(join(copy, log), size);
      const torn = await openLevelStore(copy);
      const keys = (await torn.range({ from: "0", to: "a", limit: 999 })).map(({ key }) => key);
      await torn.close();
      const left = Array.from({ length: keys.length / 3 }, (_, n) => [
        `${n}/a`,
        `${n}/b`,
        `${n}/c`,
      ]);
      expect(keys, `${size} of ${whole} bytes`).toEqual(left.flat().toSorted());
      found.push(left.length);
    }
    await store.close();
    expect(found[0]).toBe(batches);
    expect(found).toEqual(found.toSorted((a, b) => b - a));
    expect(found.at(-1)).toBe(0);
    expect(new Set(found).size).toBe(batches + 1);
  });

  test("openLevelStore: says that another process uses the folder", async () => {
    const store = await openLevelStore(folder.path);
    const message = `Cannot open data folder "${folder.path}": another process uses it`;
    await expect(openLevelStore(folder.path)).rejects.toThrow(message);
    await store.close();
  });

  test("openLevelStore: says that a path cannot be written", async () => {
    const path = join(folder.path, "file");
    await writeFile(path, "");
    for (const bad of [path, join(path, "below")]) {
      const message = `Cannot open data folder "${bad}": it cannot be written`;
      await expect(openLevelStore(bad)).rejects.toThrow(message);
    }
  });

  test("openLevelStore: refuses a store whose CURRENT is gone, and does not start an empty one", async () => {
    await fillAndClose();
    await rm(join(folder.path, "CURRENT"));
    await expect(openLevelStore(folder.path)).rejects.toMatchObject({
      code: "Corrupt",
      message: expect.stringContaining("the store is damaged"),
    });
    expect(await readdir(folder.path)).not.toContain("CURRENT");
  });

  test("openLevelStore: refuses a store whose manifest is cut off or gone", async () => {
    await fillAndClose();
    const names = await readdir(folder.path);
    const manifest = names.find((name) => name.startsWith("MANIFEST-"))!;
    await truncate(join(folder.path, manifest), 10);
    await expect(openLevelStore(folder.path)).rejects.toMatchObject({ code: "Corrupt" });
    await rm(join(folder.path, manifest));
    await expect(openLevelStore(folder.path)).rejects.toMatchObject({ code: "Corrupt" });
  });

  test("openLevelStore: refuses a store that lacks a table", async () => {
    await fillAndClose();
    const table = (await readdir(folder.path)).find((name) => name.endsWith(".ldb"))!;
    await rm(join(folder.path, table));
    await expect(openLevelStore(folder.path)).rejects.toMatchObject({ code: "Corrupt" });
  });

  /** Leaves a store with a log and, by opening it twice, a table. */
  async function fillAndClose(): Promise<void> {
    for (const key of ["a", "b"]) {
      const store = await openLevelStore(folder.path);
      await store.write([{ key, value: bytes(key) }]);
      await store.close();
    }
  }
});
