// Faults of the disk that a test cannot have from a real one: full, short writes, failing syncs.
import { type FileHandle } from "node:fs/promises";
import { expect, test } from "vitest";
import { BlockFileWriter } from "../../../../node/runtime/block-file-writer.ts";
import { nodeDigest } from "../../../../node/runtime/node-digest.ts";
import { parseBlockId } from "../../../../shared/ids.ts";

const ID = parseBlockId("0".repeat(32));
const systemError = (code: string): Error => Object.assign(new Error(code), { code });

interface FakeOptions {
  readonly room?: number;
  readonly step?: number;
  readonly syncError?: Error;
  readonly firstSyncOnly?: boolean;
}

/** A file that takes `room` bytes, at most `step` a call; syncs fail when told so, each or only the first. */
class FakeFile {
  readonly bytes: number[] = [];
  closed = 0;
  dropped = 0;
  published = 0;
  syncs = 0;
  readonly #options: FakeOptions;

  constructor(options: FakeOptions) {
    this.#options = options;
  }

  async write(from: Uint8Array, offset: number, length: number, position: number) {
    const { room = Infinity, step = Infinity } = this.#options;
    if (this.closed > 0) throw systemError("EBADF");
    if (position >= room) throw systemError("ENOSPC");
    const part = from.subarray(offset, offset + Math.min(length, step, room - position));
    // Of long files only the length counts.
    if (position < 1_000_000)
      for (const [i, byte] of part.entries()) this.bytes[position + i] = byte;
    return { bytesWritten: part.length };
  }

  async datasync(): Promise<void> {
    if (this.closed > 0) throw systemError("EBADF");
    this.syncs++;
    const { syncError, firstSyncOnly } = this.#options;
    if (syncError && (this.syncs === 1 || !firstSyncOnly)) throw syncError;
  }

  async close(): Promise<void> {
    this.closed++;
  }

  writer(): BlockFileWriter {
    return new BlockFileWriter(ID, this as unknown as FileHandle, {
      digest: nodeDigest,
      publish: async () => {
        this.published++;
      },
      drop: async () => {
        this.dropped++;
      },
    });
  }
}

test("write: goes on after short writes, every byte at its place", async () => {
  const file = new FakeFile({ step: 1_000 });
  const writer = file.writer();
  const data = new Uint8Array(700_000).map((_, i) => i * 7 + (i >> 8));
  for (let at = 0; at < data.length; at += 90_000) await writer.write(data.slice(at, at + 90_000));
  const { pieceCrcs } = await writer.seal();
  expect(Buffer.compare(Uint8Array.from(file.bytes).subarray(0, data.length), data)).toBe(0);
  expect(file.bytes.length).toBe(data.length + 4 * pieceCrcs.length + 44);
  expect([file.published, file.closed, file.dropped]).toEqual([1, 1, 1]);
});

for (const chunkBytes of [262_144, 65_536, 1_000]) {
  test(`write or seal: DiskFull when the disk is full, chunks of ${chunkBytes}; the file is dropped`, async () => {
    const file = new FakeFile({ room: 600_000 });
    const writer = file.writer();
    const run = async (): Promise<void> => {
      for (let at = 0; at < 700_000; at += chunkBytes)
        await writer.write(new Uint8Array(chunkBytes));
      await writer.seal();
    };
    await expect(run()).rejects.toMatchObject({ code: "DiskFull" });
    expect([file.published, file.dropped]).toEqual([0, 1]);
    expect(file.closed).toBe(1);
    await expect(writer.seal()).rejects.toThrow("given up");
    await writer.abort();
    expect(file.dropped).toBe(1);
  });
}

test("seal: a sync that fails refuses the block", async () => {
  const file = new FakeFile({ syncError: systemError("EIO") });
  const writer = file.writer();
  await writer.write(new Uint8Array(10));
  await expect(writer.seal()).rejects.toMatchObject({ code: "Unavailable" });
  expect([file.published, file.dropped]).toEqual([0, 1]);
});

test("a long file is synced while it grows, and once more at its seal", async () => {
  const file = new FakeFile({});
  const writer = file.writer();
  for (let i = 0; i < 64; i++) await writer.write(new Uint8Array(1024 * 1024));
  expect(file.syncs).toBeGreaterThanOrEqual(3);
  const before = file.syncs;
  await writer.seal();
  expect([file.syncs, file.published, file.closed]).toEqual([before + 1, 1, 1]);
});

test("a sync that failed while the file grew refuses the block, though the last one would not", async () => {
  const file = new FakeFile({ syncError: systemError("EIO"), firstSyncOnly: true });
  const writer = file.writer();
  const run = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await writer.write(new Uint8Array(1024 * 1024));
    await writer.seal();
  };
  await expect(run()).rejects.toMatchObject({ code: "Unavailable" });
  expect([file.published, file.dropped, file.closed]).toEqual([0, 1, 1]);
});
