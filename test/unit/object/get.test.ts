import { describe, expect, it } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { blockBytesMax, prefetchAheadBytes } from "../../../shared/limits.ts";
import { type ByteStream, type GetResult } from "../../../shared/object-service.ts";
import { type BucketId } from "../../../shared/ids.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { registerKey } from "../../../node/index/types.ts";
import { sendBody } from "../../../node/object/send-body.ts";
import { type Slice } from "../../../shared/slices.ts";
import { type Segment } from "../../../node/object/segments.ts";
import { FakeData, concat } from "./fake-data.ts";
import {
  bytesOf,
  getRequest,
  makeService,
  md5,
  plan,
  putRequest,
  read,
  readObject,
  stream,
} from "./fixture.ts";

const CHUNK = bytesOf(1024 * 1024);
const CHUNKS = blockBytesMax / CHUNK.length + 8;

async function* longBody(): ByteStream {
  for (let i = 0; i < CHUNKS; i++) yield CHUNK;
}

async function withLong() {
  const parts = makeService();
  await parts.service.put(putRequest("long", plan(CHUNKS * CHUNK.length)), longBody());
  return parts;
}

function bodyOf(result: GetResult): ByteStream {
  if (result.type !== "object") throw new Error("not modified");
  return result.body;
}

describe("get", () => {
  it("reads an inline object with one call to the index", async () => {
    const { service, index } = makeService();
    await service.put(putRequest("k", plan(10)), stream(bytesOf(10)));
    index.reads = 0;
    const result = await service.get(getRequest("k", { range: { from: 2, to: 4 } }));
    expect(await readObject(result)).toEqual(bytesOf(10).subarray(2, 5));
    expect(result).toMatchObject({ from: 2, to: 5, partial: true, partsCount: undefined });
    expect(index.reads).toBe(1);
  });

  it("answers HEAD without reading a body", async () => {
    const { service, data } = await withLong();
    const result = await service.get(getRequest("long", { headOnly: true }));
    expect(result).toMatchObject({ type: "object", from: 0, to: CHUNKS * CHUNK.length });
    expect(await readObject(result)).toHaveLength(0);
    expect(data.opened).toHaveLength(0);
  });

  it("answers notModified, and 412 as an error", async () => {
    const { service } = makeService();
    await service.put(putRequest("k", plan(1)), stream(bytesOf(1)));
    const etag = md5(bytesOf(1));
    expect(
      await service.get(getRequest("k", { conditions: { ifNoneMatch: [etag] } })),
    ).toMatchObject({ type: "notModified", entry: { etag } });
    await expect(
      service.get(getRequest("k", { conditions: { ifMatch: ["x"] } })),
    ).rejects.toMatchObject({ code: "PreconditionFailed" });
    await expect(service.get(getRequest("none"))).rejects.toMatchObject({ code: "NoSuchKey" });
  });

  it("reads a range across two blocks", async () => {
    const { service, data } = await withLong();
    const from = blockBytesMax - 3;
    const result = await service.get(getRequest("long", { range: { from, to: from + 9 } }));
    const expected = concat([CHUNK.subarray(-3), CHUNK.subarray(0, 7)]);
    expect(await readObject(result)).toEqual(expected);
    expect(data.opened.map(({ from: start, to }) => [start, to])).toEqual([
      [from, blockBytesMax],
      [0, 7],
    ]);
  });

  it("opens the next block near the end of the current one, and not before", async () => {
    const { service, data } = await withLong();
    const opens: number[] = [];
    let sent = 0;
    for await (const chunk of bodyOf(await service.get(getRequest("long")))) {
      opens.push(data.opened.length);
      sent += chunk.length;
    }
    expect(sent).toBe(CHUNKS * CHUNK.length);
    const chunksBefore = (blockBytesMax - prefetchAheadBytes) / data.chunkBytes;
    expect(opens[chunksBefore - 1]).toBe(1);
    expect(opens[chunksBefore]).toBe(2);
    expect(data.opened).toHaveLength(2);
  });

  it("throws when a block breaks in the middle", async () => {
    const { service, data } = await withLong();
    data.onChunk = (_block, at) => {
      if (at > 3 * data.chunkBytes) throw new RingstowError("Unavailable");
    };
    let sent = 0;
    const reading = async (): Promise<void> => {
      for await (const chunk of bodyOf(await service.get(getRequest("long")))) sent += chunk.length;
    };
    await expect(reading()).rejects.toMatchObject({ code: "Unavailable" });
    expect(sent).toBe(4 * data.chunkBytes);
  });

  it("closes its reads when the client goes away", async () => {
    const { service, data } = await withLong();
    for await (const _chunk of bodyOf(await service.get(getRequest("long")))) break;
    expect(data.closedReads).toBe(data.opened.length);
  });
});

describe("sendBody", () => {
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const OWNER = { slice: 1 as Slice, key: registerKey("object", "1".repeat(32) as BucketId, "k") };
  const block: BlockRef = { id: "0".repeat(32) as BlockRef["id"], size: 10, replicas: [] };
  async function* segments(...items: Segment[]): AsyncGenerator<Segment, void, void> {
    yield* items;
  }
  const lying = (bytes: number) =>
    Object.assign(new FakeData(), {
      async *read(): AsyncIterable<Uint8Array> {
        yield new Uint8Array(bytes);
      },
    });

  it.each([9, 11])("throws when a block of 10 bytes gives %i", async (bytes) => {
    const sending = sendBody(
      { data: lying(bytes), log },
      segments({ kind: "block", block, from: 0, to: 10, owner: OWNER }),
      10,
    );
    await expect(read(sending)).rejects.toMatchObject({ code: "Corrupt" });
  });

  it("sends none of a block that is too long", async () => {
    const sending = sendBody(
      { data: lying(11), log },
      segments({ kind: "block", block, from: 0, to: 10, owner: OWNER }),
      10,
    );
    await expect(sending.next()).rejects.toMatchObject({ code: "Corrupt" });
  });

  it("throws when segments are missing", async () => {
    const sending = sendBody(
      { data: new FakeData(), log },
      segments({ kind: "bytes", bytes: new Uint8Array(4) }),
      5,
    );
    await expect(read(sending)).rejects.toMatchObject({ code: "Corrupt" });
  });

  it("tells a failure of the prefetched block only when its turn comes", async () => {
    async function* failing(): AsyncGenerator<Segment, void, void> {
      yield { kind: "bytes", bytes: new Uint8Array(4) };
      throw new RingstowError("Unavailable");
    }
    const sending = sendBody({ data: new FakeData(), log }, failing(), 8);
    expect((await sending.next()).value).toHaveLength(4);
    await expect(sending.next()).rejects.toMatchObject({ code: "Unavailable" });
  });
});
