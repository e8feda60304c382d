// Every chain operation as a pure function.
import { describe, expect, test } from "vitest";
import { applyToChain, isSpent } from "../../../node/index/chain.ts";
import { EMPTY_CHAIN } from "../../../node/index/types.ts";
import { type Chain, type ChainOperation, type ChainResult } from "../../../node/index/types.ts";
import { type BlockId, type NodeId, type UploadId, parseRequestId } from "../../../shared/ids.ts";
import { disownedMax, garbageMax, lockQueueMax, uploadsMax } from "../../../shared/limits.ts";
import { type BodyRef, type NewEntry, type Precondition } from "../../../shared/records.ts";

const requestId = (n: number) => parseRequestId(n.toString(16).padStart(32, "0"));
const blockId = (n: number) => `b${n.toString(16).padStart(31, "0")}` as BlockId;
const nodeId = (n: number) => n.toString(16).padStart(32, "0") as NodeId;
const uploadId = (n: number) => `f${n.toString(16).padStart(31, "0")}` as UploadId;

const blocks = (...ids: number[]): BodyRef => ({
  kind: "blocks",
  blocks: ids.map((id) => ({
    id: blockId(id),
    size: 1,
    replicas: [1, 2].map((node) => ({ node: nodeId(node), version: 1 })),
  })),
});
const parts = (upload: number): BodyRef => ({
  kind: "parts",
  uploadId: uploadId(upload),
  parts: [],
});
const entry = (etag: string, body: BodyRef = { kind: "inline" }): NewEntry => ({
  headers: {},
  metadata: {},
  size: 1,
  etag,
  body,
});

/** A chain under operations; time stands still unless told. */
class Subject {
  chain: Chain = EMPTY_CHAIN;
  wallMs = 1_000;
  #requests = 0;

  do(operation: ChainOperation, request = requestId(++this.#requests)): ChainResult {
    const before = JSON.stringify(this.chain);
    const old = this.chain;
    const step = applyToChain(old, operation, { wallMs: this.wallMs, requestId: request });
    expect(JSON.stringify(old), "the old chain is left alone").toBe(before);
    this.chain = step.chain;
    return step.result;
  }

  put(etag: string, body?: BodyRef, precondition: Precondition = {}): ChainResult {
    return this.do({ type: "commit", entry: entry(etag, body), precondition });
  }

  upload(n: number): ChainResult {
    const upload = { id: uploadId(n), headers: {}, metadata: {} };
    return this.do({ type: "createUpload", upload });
  }

  complete(n: number, precondition: Precondition = {}): ChainResult {
    const made = entry(`upload${n}`, parts(n));
    return this.do({ type: "commit", entry: made, precondition, uploadId: uploadId(n) });
  }

  lock(request: number): ChainResult {
    return this.do({ type: "acquire", holder: `h${request}`, leaseMs: 5_000 }, requestId(request));
  }

  /** Whether an operation leaves the very same chain. */
  keeps(operation: ChainOperation, request?: ReturnType<typeof requestId>): boolean {
    const before = this.chain;
    this.do(operation, request);
    return this.chain === before;
  }
}

const code = (expected: string) => expect.objectContaining({ code: expected });

describe("commit", () => {
  test.each<[string, "none" | "e", Precondition, string | undefined]>([
    ["nothing asked, none there", "none", {}, undefined],
    ["nothing asked, one there", "e", {}, undefined],
    ["If-None-Match * and none there", "none", { ifNoneMatch: ["*"] }, undefined],
    ["If-None-Match * and one there", "e", { ifNoneMatch: ["*"] }, "PreconditionFailed"],
    ["If-None-Match its ETag", "e", { ifNoneMatch: ["x", "e"] }, "PreconditionFailed"],
    ["If-None-Match another ETag", "e", { ifNoneMatch: ["x"] }, undefined],
    ["If-Match * and none there", "none", { ifMatch: ["*"] }, "NoSuchKey"],
    ["If-Match * and one there", "e", { ifMatch: ["*"] }, undefined],
    ["If-Match its ETag", "e", { ifMatch: ["x", "e"] }, undefined],
    ["If-Match another ETag", "e", { ifMatch: ["x"] }, "PreconditionFailed"],
    ["If-Match an ETag and none there", "none", { ifMatch: ["x"] }, "NoSuchKey"],
    ["both, and both hold", "e", { ifMatch: ["e"], ifNoneMatch: ["x"] }, undefined],
  ])("%s", (_, present, precondition, refusal) => {
    for (const type of ["commit", "delete"] as const) {
      const subject = new Subject();
      if (present === "e") subject.put("e");
      const operation: ChainOperation =
        type === "commit" ? { type, entry: entry("new"), precondition } : { type, precondition };
      const before = subject.chain;
      if (refusal === undefined) subject.do(operation);
      else {
        expect(() => subject.do(operation)).toThrow(code(refusal));
        expect(subject.chain).toBe(before);
      }
    }
  });

  test("versions grow by one, over deletes too, and times never stand or go back", () => {
    const subject = new Subject();
    expect(subject.put("a")).toMatchObject({ version: 1, lastModifiedMs: 1_000 });
    expect(subject.put("b")).toMatchObject({ version: 2, lastModifiedMs: 1_001 });
    subject.wallMs = 10;
    expect(subject.put("c")).toMatchObject({ version: 3, lastModifiedMs: 1_002 });
    subject.wallMs = 5_000;
    expect(subject.put("d")).toMatchObject({ version: 4, lastModifiedMs: 5_000 });
    expect(subject.do({ type: "delete", precondition: {} })).toEqual({
      type: "deleted",
      existed: true,
      version: 5,
    });
    expect(subject.keeps({ type: "delete", precondition: {} })).toBe(true);
    expect(subject.put("e")).toMatchObject({ version: 6 });
    expect(subject.chain.entries.map(({ etag }) => etag)).toEqual(["e"]);
  });

  test("what is replaced or deleted becomes garbage, dated by then", () => {
    const subject = new Subject();
    subject.put("a", blocks(1, 2));
    subject.wallMs = 2_000;
    subject.put("b", blocks(3));
    subject.wallMs = 3_000;
    subject.do({ type: "delete", precondition: {} });
    expect(
      subject.chain.garbage.map((item) => [item.sinceMs, item.kind === "block" && item.block.id]),
    ).toEqual([
      [2_000, blockId(1)],
      [2_000, blockId(2)],
      [3_000, blockId(3)],
    ]);
    expect(isSpent(subject.chain)).toBe(false);
  });

  test("a chain whose garbage is not freed in time slows its writers down", () => {
    const subject = new Subject();
    const block = { id: blockId(1), size: 1, replicas: [] };
    const garbage = Array.from({ length: garbageMax }, () => {
      return { kind: "block", sinceMs: 1, block } as const;
    });
    subject.chain = { ...EMPTY_CHAIN, garbage };
    expect(() => subject.put("a")).toThrow(code("SlowDown"));
  });
});

describe("replicas and garbage", () => {
  test("addPointer adds a replica once, to what is garbage by now too", () => {
    const subject = new Subject();
    const add = { type: "addPointer", block: blockId(1), node: nodeId(3) } as const;
    subject.put("a", blocks(1));
    expect(subject.do(add)).toEqual({ type: "pointer", changed: true });
    expect(subject.keeps(add)).toBe(true);
    subject.put("b");
    expect(subject.do({ ...add, node: nodeId(4) })).toEqual({ type: "pointer", changed: true });
    expect(subject.do({ ...add, block: blockId(9) })).toEqual({ type: "pointer", changed: false });
    const [garbage] = subject.chain.garbage;
    expect(garbage?.kind === "block" && garbage.block.replicas.map(({ node }) => node)).toEqual(
      [1, 2, 3, 4].map(nodeId),
    );
  });

  test("freed takes copies off, and an item with its last one; the chain is then spent", () => {
    const subject = new Subject();
    subject.put("a", blocks(1));
    subject.do({ type: "delete", precondition: {} });
    const copy = (node: number) => ({ block: blockId(1), node: nodeId(node) });
    subject.do({ type: "freed", copies: [copy(1)], uploads: [] });
    expect(subject.chain.garbage).toHaveLength(1);
    subject.do({ type: "freed", copies: [copy(1), copy(2)], uploads: [] });
    expect(subject.chain.garbage).toEqual([]);
    expect(isSpent(subject.chain)).toBe(true);
    expect(subject.put("b")).toMatchObject({ version: 3 });
  });

  test("freed leaves an upload alone that became garbage again meanwhile", () => {
    const subject = new Subject();
    subject.upload(1);
    subject.complete(1);
    const freed = {
      type: "freed",
      copies: [],
      uploads: [{ uploadId: uploadId(1), sinceMs: 1_000 }],
    };
    subject.wallMs = 9_000;
    subject.put("b");
    subject.do(freed as ChainOperation);
    expect(subject.chain.garbage).toEqual([
      { kind: "upload", sinceMs: 9_000, uploadId: uploadId(1) },
    ]);
  });

  test("a block is either committed or disowned, whoever comes first", () => {
    const subject = new Subject();
    const disown = (id: number) => ({ type: "disown", block: blockId(id) }) as const;
    subject.put("a", blocks(1));
    expect(subject.do(disown(1))).toEqual({ type: "referenced" });
    subject.put("b", blocks(2));
    expect(subject.do(disown(1)), "garbage is still named").toEqual({ type: "referenced" });
    expect(subject.do(disown(3))).toEqual({ type: "disowned" });
    expect(subject.keeps(disown(3))).toBe(true);
    expect(() => subject.put("c", blocks(4, 3))).toThrow(code("BlockDisowned"));
    subject.lock(100);
    const release = { type: "release", fence: 1, entry: entry("c", blocks(3)) } as const;
    expect(() => subject.do(release)).toThrow(code("BlockDisowned"));
  });

  test("remembers a bounded number of disowned blocks, the latest", () => {
    const subject = new Subject();
    for (let id = 0; id <= disownedMax; id++) subject.do({ type: "disown", block: blockId(id) });
    expect(subject.chain.disowned).toHaveLength(disownedMax);
    expect(() => subject.put("a", blocks(disownedMax))).toThrow(code("BlockDisowned"));
  });
});

describe("uploads", () => {
  test("complete twice is answered twice the same, done once; after an overwrite it is unknown", () => {
    const subject = new Subject();
    subject.upload(1);
    const done = subject.complete(1);
    const before = subject.chain;
    expect(subject.complete(1)).toEqual(done);
    expect(subject.chain).toBe(before);
    subject.put("b");
    expect(() => subject.complete(1)).toThrow(code("NoSuchUpload"));
  });

  test("complete and abort cannot both win", () => {
    const subject = new Subject();
    const abort = { type: "abortUpload", uploadId: uploadId(1) } as const;
    subject.upload(1);
    subject.complete(1);
    expect(() => subject.do(abort)).toThrow(code("NoSuchUpload"));
    const other = new Subject();
    other.upload(1);
    other.do(abort);
    expect(() => other.complete(1)).toThrow(code("NoSuchUpload"));
    expect(other.chain.garbage).toEqual([
      { kind: "upload", sinceMs: 1_000, uploadId: uploadId(1) },
    ]);
  });

  test("a refused complete leaves the upload under way", () => {
    const subject = new Subject();
    subject.put("a");
    subject.upload(1);
    expect(() => subject.complete(1, { ifNoneMatch: ["*"] })).toThrow(code("PreconditionFailed"));
    expect(subject.chain.uploads).toHaveLength(1);
    subject.complete(1);
    expect(subject.chain.uploads).toEqual([]);
  });

  test("an upload's parts are garbage once it ended, one item however often", () => {
    const subject = new Subject();
    subject.upload(1);
    subject.complete(1);
    expect(subject.chain.garbage).toHaveLength(1);
    subject.wallMs = 7_000;
    subject.do({ type: "delete", precondition: {} });
    expect(subject.chain.garbage).toEqual([
      { kind: "upload", sinceMs: 7_000, uploadId: uploadId(1) },
    ]);
  });

  test("createUpload with an id that is there changes nothing; their number is bounded", () => {
    const subject = new Subject();
    const first = subject.upload(1);
    subject.wallMs = 5_000;
    expect(subject.upload(1)).toEqual(first);
    for (let n = 2; n <= uploadsMax; n++) subject.upload(n);
    expect(() => subject.upload(uploadsMax + 1)).toThrow(code("SlowDown"));
    subject.do({ type: "abortUpload", uploadId: uploadId(7) });
    subject.upload(uploadsMax + 1);
  });
});

describe("lock", () => {
  test("grants in the order of arrival, each with a higher fence; asking again changes nothing", () => {
    const subject = new Subject();
    expect(subject.lock(101)).toEqual({ type: "granted", fence: 1, leaseMs: 5_000 });
    expect(subject.lock(102)).toEqual({ type: "queued", place: 0 });
    expect(subject.lock(103)).toEqual({ type: "queued", place: 1 });
    const before = subject.chain;
    expect(subject.lock(101)).toMatchObject({ type: "granted", fence: 1 });
    expect(subject.lock(103)).toEqual({ type: "queued", place: 1 });
    expect(subject.chain).toBe(before);
    subject.do({ type: "release", fence: 1 });
    expect(subject.lock(102)).toMatchObject({ type: "granted", fence: 2 });
    subject.do({ type: "release", fence: 2 });
    expect(subject.lock(103)).toMatchObject({ type: "granted", fence: 3 });
    subject.do({ type: "release", fence: 3 });
    expect(subject.chain).toMatchObject({ lock: undefined, queue: [], fence: 3 });
  });

  test("an S3 write or delete waits for the holder; the holder's release writes", () => {
    const subject = new Subject();
    subject.lock(101);
    expect(() => subject.put("a")).toThrow(code("Locked"));
    expect(() => subject.do({ type: "delete", precondition: {} })).toThrow(code("Locked"));
    subject.do({ type: "release", fence: 1, entry: entry("native", blocks(1)) });
    expect(subject.chain.entries[0]).toMatchObject({ etag: "native", version: 1 });
    subject.put("a");
  });

  test("publish writes and keeps the lock; an old fence publishes nothing", () => {
    const subject = new Subject();
    subject.put("a", blocks(1));
    subject.lock(101);
    subject.lock(102);
    const publish = { type: "publish", fence: 1, entry: entry("b", blocks(2)) } as const;
    expect(subject.do(publish)).toMatchObject({ type: "committed", version: 2, etag: "b" });
    expect(subject.chain).toMatchObject({ lock: { fence: 1 }, queue: [{ holder: "h102" }] });
    expect(subject.chain.garbage).toMatchObject([{ block: { id: blockId(1) } }]);
    subject.do({ type: "expire", fence: 1 });
    expect(subject.do(publish), "the same again").toMatchObject({ version: 2 });
    const late = { ...publish, entry: entry("c", blocks(3)) };
    expect(() => subject.do(late)).toThrow(code("FenceTooOld"));
    expect(subject.chain.version).toBe(2);
  });

  test("a commit or delete with the lock's fence writes and grants the next in one step", () => {
    const subject = new Subject();
    for (const request of [101, 102, 103]) subject.lock(request);
    subject.do({ type: "commit", entry: entry("a"), precondition: {}, fence: 1 });
    expect(subject.chain).toMatchObject({ version: 1, lock: { fence: 2, holder: "h102" } });
    const late = { type: "commit", entry: entry("b"), precondition: {}, fence: 1 } as const;
    expect(() => subject.do(late)).toThrow(code("FenceTooOld"));
    subject.do({ type: "delete", precondition: {}, fence: 2 });
    expect(subject.chain).toMatchObject({ entries: [], lock: { fence: 3, holder: "h103" } });
    subject.do({ type: "delete", precondition: {}, fence: 3 });
    expect(subject.chain).toMatchObject({ lock: undefined, queue: [] });
  });

  test("addPointer raises a pointer that is behind to the newest version", () => {
    const subject = new Subject();
    subject.put("a", blocks(1));
    subject.lock(101);
    const at = { block: blockId(1), node: nodeId(1) };
    subject.do({ type: "update", fence: 1, ...at, version: 5 });
    const add = { type: "addPointer", block: blockId(1), node: nodeId(2) } as const;
    expect(subject.do(add)).toEqual({ type: "pointer", changed: true });
    const { body } = subject.chain.entries[0]!;
    expect(body.kind === "blocks" && body.blocks[0]!.replicas.map((one) => one.version)).toEqual([
      5, 5,
    ]);
    expect(subject.keeps(add)).toBe(true);
  });

  test("an old fence does nothing", () => {
    const subject = new Subject();
    subject.lock(101);
    subject.lock(102);
    subject.do({ type: "expire", fence: 1 });
    expect(subject.chain.lock).toMatchObject({ fence: 2 });
    const target = { block: blockId(1), node: nodeId(1), version: 2 };
    for (const operation of [
      { type: "release", fence: 1 },
      { type: "renew", fence: 1 },
      { type: "update", fence: 1, ...target },
    ] as const) {
      expect(() => subject.do(operation)).toThrow(code("FenceTooOld"));
    }
    expect(subject.keeps({ type: "expire", fence: 1 })).toBe(true);
    expect(subject.keeps({ type: "renew", fence: 2 })).toBe(true);
  });

  test("cancel takes a waiter off the queue, or passes the lock on when it was granted just before", () => {
    const subject = new Subject();
    for (const request of [101, 102, 103]) subject.lock(request);
    subject.do({ type: "cancel", requestId: requestId(102) });
    expect(subject.chain.queue.map((waiting) => waiting.requestId)).toEqual([requestId(103)]);
    subject.do({ type: "release", fence: 1 });
    subject.do({ type: "cancel", requestId: requestId(103) });
    expect(subject.chain).toMatchObject({ lock: undefined, fence: 2 });
    expect(subject.keeps({ type: "cancel", requestId: requestId(103) })).toBe(true);
  });

  test("update raises one pointer and never lowers it", () => {
    const subject = new Subject();
    subject.put("a", blocks(1));
    subject.lock(101);
    const update = (version: number) =>
      subject.do({ type: "update", fence: 1, block: blockId(1), node: nodeId(2), version });
    const versions = () => {
      const body = subject.chain.entries[0]!.body;
      return body.kind === "blocks" && body.blocks[0]!.replicas.map(({ version }) => version);
    };
    update(3);
    expect(versions()).toEqual([1, 3]);
    update(2);
    expect(versions()).toEqual([1, 3]);
  });

  test("the queue is bounded", () => {
    const subject = new Subject();
    for (let n = 0; n <= lockQueueMax; n++) subject.lock(1_000 + n);
    expect(() => subject.lock(5_000)).toThrow(code("SlowDown"));
  });
});
