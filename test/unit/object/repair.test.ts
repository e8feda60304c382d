// One step of a repair on the coordinator: a copy first, then one operation that holds for the pointers seen.
import { beforeEach, describe, expect, test } from "vitest";
import { createBlockOwners } from "../../../node/object/block-owners.ts";
import { objectAddress } from "../../../node/object/addresses.ts";
import { blocksIn } from "../../../node/index/types.ts";
import { RingstowError } from "../../../shared/errors.ts";
import { type NodeId, parseNodeId } from "../../../shared/ids.ts";
import { garbageDelayMs, inlineBytesMax } from "../../../shared/limits.ts";
import { type BlockRef, type Pointer } from "../../../shared/records.ts";
import { NODES } from "./fake-data.ts";
import {
  BUCKET,
  SLICE_BITS,
  bytesOf,
  makeService,
  plan,
  putRequest,
  requestId,
  stream,
} from "./fixture.ts";

const AT = objectAddress(BUCKET, "k", SLICE_BITS);
const BIG = bytesOf(inlineBytesMax + 1);
const [A, B, C] = NODES as [NodeId, NodeId, NodeId];
const D = parseNodeId("d".repeat(32));
let parts: ReturnType<typeof makeService>;

async function block(): Promise<BlockRef> {
  const { value } = await parts.index.read(AT, { body: false });
  return blocksIn(value!)[0]!;
}
const nodes = ({ replicas }: { replicas: readonly Pointer[] }) =>
  replicas.map(({ node, version }) => [node, version]);
const repairs = () => parts.index.executed.filter(({ operation }) => operation.type === "repair");

/** Pointers as a native write leaves them. */
async function publish(versions: readonly (readonly [NodeId, number])[]): Promise<void> {
  const { value } = await parts.index.read(AT, { body: false });
  const [entry] = value?.kind === "object" ? value.chain.entries : [];
  const { body } = entry!;
  const replicas = versions.map(([node, version]) => ({ node, version }));
  const blocks = body.kind === "blocks" ? [{ ...body.blocks[0]!, replicas }] : [];
  const acquire = { type: "acquire", holder: "w", leaseMs: 1_000 } as const;
  const granted = await parts.index.execute(AT, acquire, { requestId: requestId() });
  const fence = granted.type === "granted" ? granted.fence : 0;
  const id = requestId() as string as BlockRef["id"];
  parts.data.blocks.set(id, parts.data.blocks.get(blocks[0]!.id)!);
  const named = { kind: "blocks" as const, blocks: [{ ...blocks[0]!, id }] };
  const changed = { ...entry!, body: named };
  const release = { type: "release", fence, entry: changed } as const;
  await parts.index.execute(AT, release, { requestId: requestId() });
}

beforeEach(async () => {
  parts = makeService();
  await parts.service.put(putRequest("k", plan(BIG.length)), stream(BIG));
});

describe("repairBlock", () => {
  test("copies to the place chosen and names it in the lost one's place", async () => {
    const { service, data } = parts;
    data.nextPlace = D;
    const seen = await block();
    expect(nodes(seen)).toEqual([
      [A, 1],
      [B, 1],
    ]);
    expect(await service.repairBlock({ at: AT, block: seen, kind: "copy", instead: B })).toBe(true);
    expect(data.pulled).toEqual([{ node: D, block: seen.id }]);
    expect(data.placed[0]).toEqual({ having: [A], exclude: [A, B] });
    expect(await block()).toMatchObject({ former: [B], replicas: [{ node: A }, { node: D }] });
    // Next time a former holder is no place either.
    await service.repairBlock({ at: AT, block: await block(), kind: "copy" });
    expect(data.placed[1]!.exclude).toContain(B);
  });

  test("does nothing when the register says something else by now", async () => {
    const { service, data } = parts;
    data.nextPlace = D;
    const seen = await block();
    const step = { at: AT, block: seen, kind: "copy", instead: B } as const;
    await service.repairBlock(step);
    expect(await service.repairBlock(step)).toBe(false);
    expect(data.pulled).toHaveLength(1);
    await service.delete(putRequest("k", plan(0)));
    expect(await service.repairBlock({ ...step, block: seen })).toBe(false);
  });

  test("names no copy when the pointers changed while it was made", async () => {
    const { service, data, index } = parts;
    data.nextPlace = D;
    const seen = await block();
    data.onPull = async () => {
      const add = { type: "addPointer", block: seen.id, node: C } as const;
      await index.execute(AT, add, { requestId: requestId() });
    };
    expect(await service.repairBlock({ at: AT, block: seen, kind: "copy", instead: B })).toBe(
      false,
    );
    expect(nodes(await block())).toEqual([
      [A, 1],
      [B, 1],
      [C, 1],
    ]);
  });

  test("raises a copy that is behind; where it cannot be made, another node takes its place", async () => {
    const { service, data } = parts;
    await publish([
      [A, 2],
      [B, 2],
      [C, 0],
    ]);
    data.nextPlace = D;
    expect(await service.repairBlock({ at: AT, block: await block(), kind: "copy", onto: C })).toBe(
      true,
    );
    expect(nodes(await block())).toEqual([
      [A, 2],
      [B, 2],
      [C, 2],
    ]);
    await publish([
      [A, 3],
      [B, 3],
      [C, 0],
    ]);
    data.onPull = (node) => {
      if (node === C) throw new RingstowError("DiskFull");
    };
    expect(await service.repairBlock({ at: AT, block: await block(), kind: "copy", onto: C })).toBe(
      true,
    );
    expect(await block()).toMatchObject({ former: [C] });
    expect(nodes(await block())).toEqual([
      [A, 3],
      [B, 3],
      [D, 3],
    ]);
  });

  test("a copy that is made whole where it is leaves the pointers as they are", async () => {
    const { service, data } = parts;
    const seen = await block();
    expect(await service.repairBlock({ at: AT, block: seen, kind: "copy", onto: B })).toBe(true);
    expect(data.pulled).toEqual([{ node: B, block: seen.id }]);
    expect(await block()).toEqual(seen);
    expect(repairs()).toHaveLength(1);
  });

  test("has no answer but false without a place, and throws what keeps a copy from being made", async () => {
    const { service, data } = parts;
    const seen = await block();
    expect(await service.repairBlock({ at: AT, block: seen, kind: "copy" })).toBe(false);
    data.nextPlace = D;
    data.onPull = () => {
      throw new RingstowError("Unavailable");
    };
    await expect(service.repairBlock({ at: AT, block: seen, kind: "copy" })).rejects.toMatchObject({
      code: "Unavailable",
    });
    expect(repairs()).toEqual([]);
  });

  test("drops what is too many, releases a replaced copy once it is gone, deletes all with the object", async () => {
    const { service, data, clock } = parts;
    const seen = await block();
    await service.repairBlock({ at: AT, block: seen, kind: "drop", instead: B, keep: [A] });
    expect(await block()).toMatchObject({ former: [B], replicas: [{ node: A }] });
    const release = async () =>
      service.repairBlock({ at: AT, block: await block(), kind: "release", node: B });
    data.deletable = [];
    expect(await release()).toBe(false);
    expect(await block()).toMatchObject({ former: [B] });
    // Garbage names the former holder, too.
    await service.delete(putRequest("k", plan(0)));
    clock.nowMs += garbageDelayMs;
    data.deletable = [A];
    await service.freeGarbage(AT);
    expect((await parts.index.read(AT, { body: false })).value).toMatchObject({
      chain: { garbage: [{ block: { replicas: [{ node: B, version: 0 }] } }] },
    });
    data.deletable = NODES;
    await service.freeGarbage(AT);
    expect(parts.index.keys("o")).toEqual([]);
  });

  test("drops nothing before what stays is whole", async () => {
    const { service, data } = parts;
    const seen = await block();
    const drop = { at: AT, block: seen, kind: "drop", instead: B, keep: [A] } as const;
    data.onPull = () => {
      throw new RingstowError("Unavailable");
    };
    await expect(service.repairBlock(drop)).rejects.toMatchObject({ code: "Unavailable" });
    expect(repairs()).toEqual([]);
    expect(nodes(await block())).toEqual(nodes(seen));
    data.onPull = () => {};
    expect(await service.repairBlock(drop)).toBe(true);
    expect(data.pulled).toEqual([{ node: A, block: seen.id }]);
  });

  test("a released copy may be a replica again", async () => {
    const { service, data } = parts;
    await service.repairBlock({
      at: AT,
      block: await block(),
      kind: "drop",
      instead: B,
      keep: [A],
    });
    expect(
      await service.repairBlock({ at: AT, block: await block(), kind: "release", node: B }),
    ).toBe(true);
    expect(await block()).not.toHaveProperty("former");
    data.nextPlace = B;
    await service.repairBlock({ at: AT, block: await block(), kind: "copy" });
    expect(nodes(await block())).toEqual([
      [A, 1],
      [B, 1],
    ]);
  });
});

test("isFormer is true for a replaced copy alone", async () => {
  const { index, service } = parts;
  const { id } = await block();
  const owners = (self: NodeId) =>
    createBlockOwners({ self, index, newRequestId: () => requestId() });
  expect(await owners(B).isFormer(AT, id)).toBe(false);
  await service.repairBlock({ at: AT, block: await block(), kind: "drop", instead: B, keep: [A] });
  expect(await owners(B).isFormer(AT, id)).toBe(true);
  expect(await owners(A).isFormer(AT, id)).toBe(false);
  expect(await owners(C).isFormer(AT, id)).toBe(false);
  await service.delete(putRequest("k", plan(0)));
  expect(await owners(B).isFormer(AT, id)).toBe(false);
});
