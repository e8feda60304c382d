// Block files on disk against the BlockFiles suite, and what only files can do: be damaged, left over, leak.
import {
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BlockFiles } from "../../node/ports.ts";
import { openDiskBlocks } from "../../node/runtime/disk-blocks.ts";
import { nodeDigest } from "../../node/runtime/node-digest.ts";
import { type BlockId } from "../../shared/ids.ts";
import { A, blockId, describeBlocks, load, randomBytes, store } from "./blocks-suite.ts";
import { type TemporaryFolder, temporaryFolder } from "./temporary-folder.ts";

const pathOf = (folder: string, id: BlockId): string => join(folder, id.slice(0, 2), id);

async function flipBit(path: string, offset: number): Promise<void> {
  const file = await open(path, "r+");
  const byte = new Uint8Array(1);
  await file.read(byte, 0, 1, offset);
  byte[0]! ^= 1;
  await file.write(byte, 0, 1, offset);
  await file.close();
}

describe("DiskBlocks", () =>
  describeBlocks(async () => {
    const temporary = await temporaryFolder();
    const folder = join(temporary.path, "made", "blocks");
    return {
      open: ({ reserveBytes = 0 } = {}) =>
        openDiskBlocks({ folder, reserveBytes, digest: nodeDigest }),
      run: (body) => body(),
      corrupt: (id, offset) => flipBit(pathOf(folder, id), offset),
      end: () => temporary.remove(),
    };
  }));

describe("DiskBlocks files", () => {
  let temporary: TemporaryFolder;
  let folder: string;
  let blocks: BlockFiles;
  const reopen = async (): Promise<void> => {
    await blocks?.close();
    blocks = await openDiskBlocks({ folder, reserveBytes: 0, digest: nodeDigest });
  };
  beforeEach(async () => {
    temporary = await temporaryFolder();
    folder = temporary.path;
    blocks = await openDiskBlocks({ folder, reserveBytes: 0, digest: nodeDigest });
  });
  afterEach(async () => {
    await blocks.close();
    await temporary.remove();
  });

  /** Descriptors that this process has open below the folder. */
  async function descriptors(): Promise<string[]> {
    const links = await Promise.all(
      (await readdir("/proc/self/fd")).map((fd) =>
        readlink(join("/proc/self/fd", fd)).catch(() => ""),
      ),
    );
    return links.filter((link) => link.startsWith(folder));
  }

  test("read: Corrupt for a file that is cut off anywhere", async () => {
    const size = 300_000;
    const whole = size + 3 * 4 + 44;
    for (const [i, length] of [0, 1, 43, 44, 200_000, size, size + 12, whole - 1].entries()) {
      const id = blockId(100 + i);
      await store(blocks, id, randomBytes(size));
      const path = pathOf(folder, id);
      expect(await readFile(path)).toHaveLength(whole);
      await truncate(path, length);
      await expect(blocks.stat(id)).rejects.toMatchObject({ code: "Corrupt" });
      // The table is still in memory: what is left of the data may be served, what is cut off may not.
      const last = load(blocks, id, size - 1, size);
      if (length < size) await expect(last).rejects.toMatchObject({ code: "Corrupt" });
      else expect(await last).toEqual(randomBytes(size).subarray(-1));
      await reopen();
      await expect(blocks.stat(id)).rejects.toMatchObject({ code: "Corrupt" });
      await expect(load(blocks, id, 0, 1)).rejects.toMatchObject({ code: "Corrupt" });
    }
  });

  test("read: Corrupt for any flipped bit of table or footer", async () => {
    const size = 140_000;
    await store(blocks, A, randomBytes(size));
    const path = pathOf(folder, A);
    const whole = size + 2 * 4 + 44;
    for (let offset = size; offset < whole; offset++) {
      await flipBit(path, offset);
      await reopen();
      await expect(load(blocks, A, 0, 1)).rejects.toMatchObject({ code: "Corrupt" });
      await flipBit(path, offset);
    }
    await reopen();
    expect(await load(blocks, A, 0, size)).toEqual(randomBytes(size));
  });

  test("read: Corrupt for a file that holds another block", async () => {
    await store(blocks, A, randomBytes(10));
    const B = blockId(2);
    await rename(pathOf(folder, A), pathOf(folder, B));
    await expect(load(blocks, B, 0, 10)).rejects.toMatchObject({ code: "Corrupt" });
    await expect(load(blocks, A, 0, 10)).rejects.toMatchObject({ code: "NoSuchKey" });
  });

  test("link: one inode with two names; a file moved to another's name is still found out", async () => {
    await store(blocks, A, randomBytes(300_000));
    const [B, C] = [blockId(2), blockId(3)];
    await blocks.link(A, B);
    const linked = `${pathOf(folder, B)}.link`;
    expect((await stat(linked)).ino).toBe((await stat(pathOf(folder, A))).ino);
    await rename(linked, pathOf(folder, C));
    await expect(load(blocks, C, 0, 10)).rejects.toMatchObject({ code: "Corrupt" });
  });

  test("link: copies the bytes where the file system refuses hard links", async () => {
    const data = randomBytes(300_000);
    const options = { folder, reserveBytes: 0, digest: nodeDigest };
    await blocks.close();
    blocks = await openDiskBlocks({ ...options, hardLink: async () => "refused" });
    await store(blocks, A, data);
    const B = blockId(2);
    expect(await blocks.link(A, B)).toEqual({ id: B, size: data.length });
    expect(await blocks.link(A, B)).toEqual({ id: B, size: data.length });
    expect((await stat(pathOf(folder, B))).nlink).toBe(1);
    expect(await load(blocks, B, 0, data.length)).toEqual(data);
    await flipBit(pathOf(folder, A), 200_000);
    await expect(blocks.link(A, blockId(3))).rejects.toMatchObject({ code: "Corrupt" });
    expect(await readdir(join(folder, "tmp"))).toEqual([]);
    expect(await blocks.usage()).toMatchObject({ blocks: 2 });
  });

  test("stat: finds a file that was lost after its seal was read", async () => {
    await store(blocks, A, randomBytes(10));
    await load(blocks, A, 0, 10);
    await rm(pathOf(folder, A));
    expect(await blocks.stat(A)).toBeUndefined();
  });

  test("openDiskBlocks: removes temporary files that a killed process left", async () => {
    await store(blocks, A, randomBytes(10));
    await writeFile(join(folder, "tmp", `${blockId(2)}.0`), "half a block");
    await reopen();
    expect(await readdir(join(folder, "tmp"))).toEqual([]);
    expect(await blocks.usage()).toMatchObject({ blocks: 1 });
  });

  test("openDiskBlocks: says why a folder cannot be used", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    const opened = openDiskBlocks({ folder: file, reserveBytes: 0, digest: nodeDigest });
    await expect(opened).rejects.toThrow(`Cannot open block folder "${file}"`);
  });

  test("no call leaves a descriptor or a temporary file behind", async () => {
    const data = randomBytes(1_500_000);
    await store(blocks, A, data);
    await flipBit(pathOf(folder, A), 1_000_000);
    for (let i = 0; i < 20; i++) {
      const iterator = blocks.read(A, 0, data.length)[Symbol.asyncIterator]();
      for (let chunks = 0; chunks < i % 4; chunks++) await iterator.next();
      await iterator.return!();
      await expect(load(blocks, A, 0, data.length)).rejects.toMatchObject({ code: "Corrupt" });
      await expect(load(blocks, A, 5, data.length + 1)).rejects.toThrow("Cannot read bytes");
      const aborted = await blocks.create(blockId(2));
      await aborted.write(data.subarray(0, i * 40_000));
      await aborted.abort();
      await expect(store(blocks, A, data.subarray(0, 9))).rejects.toThrow("exists already");
      await blocks.stat(A);
      await blocks.delete(blockId(3));
    }
    expect(await descriptors()).toEqual([]);
    expect(await readdir(join(folder, "tmp"))).toEqual([]);
  });

  test("read: a slow consumer has at most one chunk read ahead", async () => {
    const data = randomBytes(2_000_000);
    await store(blocks, A, data);
    const iterator = blocks.read(A, 0, data.length)[Symbol.asyncIterator]();
    await iterator.next();
    // The second chunk was read meanwhile; the third must not be before it is asked for.
    await blocks.usage();
    await flipBit(pathOf(folder, A), 2 * 262_144);
    expect((await iterator.next()).done).toBe(false);
    await expect(iterator.next()).rejects.toMatchObject({ code: "Corrupt" });
  });
});
