import { beforeEach, expect, test } from "vitest";
import { createBlockOwners } from "../../../node/object/block-owners.ts";
import { type RegisterAddress, registerKey } from "../../../node/index/types.ts";
import {
  type BlockId,
  type BucketId,
  type NodeId,
  parseNodeId,
  parseRequestId,
} from "../../../shared/ids.ts";
import { type BlockRef } from "../../../shared/records.ts";
import { type Slice } from "../../../shared/slices.ts";
import { FakeIndex } from "./fake-index.ts";
import { HandClock } from "./fixture.ts";

const BUCKET = "00000000000000000000000000000abc" as BucketId;
const AT: RegisterAddress = { slice: 3 as Slice, key: registerKey("object", BUCKET, "a") };
const BLOCK = "b".repeat(32) as BlockId;
const [A, B, SELF] = [1, 2, 3].map((n) => parseNodeId(String(n).repeat(32))) as [
  NodeId,
  NodeId,
  NodeId,
];

let index: FakeIndex;
let requests = 0;
const newRequestId = () => parseRequestId((++requests).toString(16).padStart(32, "0"));
const owners = () => createBlockOwners({ self: SELF, index, newRequestId });

beforeEach(() => {
  index = new FakeIndex(new HandClock());
});

async function commit(nodes: readonly NodeId[], blockId: BlockId = BLOCK): Promise<void> {
  const replicas = nodes.map((node) => ({ node, version: 1 }));
  const block: BlockRef = { id: blockId, size: 9, replicas };
  const body = { kind: "blocks" as const, blocks: [block] };
  const entry = { headers: {}, metadata: {}, size: 9, etag: "e", body };
  await index.execute(
    AT,
    { type: "commit", entry, precondition: {} },
    { requestId: newRequestId() },
  );
}

async function chain() {
  const { value } = await index.read(AT, { body: false });
  if (value?.kind !== "object") throw new Error("The chain is missing");
  return value.chain;
}

test("disown gives up a block that no commit named, and a later commit fails", async () => {
  expect(await owners().disown(AT, BLOCK)).toBe("disowned");
  await expect(commit([A, SELF])).rejects.toMatchObject({ code: "BlockDisowned" });
});

test("disown names a copy whose late pointer was lost", async () => {
  await commit([A, B]);
  expect(await owners().disown(AT, BLOCK)).toBe("referenced");
  const body = (await chain()).entries[0]!.body;
  expect(body.kind === "blocks" && body.blocks[0]!.replicas.map(({ node }) => node)).toEqual([
    A,
    B,
    SELF,
  ]);
});

test("disown names a copy of a block that is garbage by now, so that it is deleted with the others", async () => {
  await commit([A, B]);
  await commit([A, B], "c".repeat(32) as BlockId);
  expect(await owners().disown(AT, BLOCK)).toBe("referenced");
  const [item] = (await chain()).garbage;
  expect(item?.kind === "block" && item.block.replicas.map(({ node }) => node)).toContain(SELF);
});

test("disown changes nothing for a copy that is named already", async () => {
  await commit([A, SELF]);
  const before = await chain();
  expect(await owners().disown(AT, BLOCK)).toBe("referenced");
  expect(await chain()).toEqual(before);
});

test("disown lets a copy go whose block was freed everywhere else in the meantime", async () => {
  await commit([A]);
  await commit([B], "c".repeat(32) as BlockId);
  index.before = async ({ type }) => {
    if (type !== "addPointer") return;
    index.before = () => {};
    const copies = [{ block: BLOCK, node: A }];
    const options = { requestId: newRequestId() };
    await index.execute(AT, { type: "freed", copies, uploads: [] }, options);
  };
  expect(await owners().disown(AT, BLOCK)).toBe("disowned");
});
