import { beforeEach, expect, test } from "vitest";
import { NodeOrder } from "../../../../gateway/upstream/node-order.ts";
import { type LogicalId, type NodeId } from "../../../../shared/ids.ts";
import { avoidMaxMs, avoidMinMs } from "../../../../shared/limits.ts";
import { type MemberTable, type MemberView } from "../../../../shared/object-protocol.ts";

const member = (digit: string, rest: Partial<MemberView> = {}): MemberView => ({
  id: digit.repeat(32) as NodeId,
  url: `http://127.0.0.1:${digit}000`,
  zone: "a",
  position: undefined,
  freeBytes: 0,
  load: 0,
  ...rest,
});
const table: MemberTable = { sliceBits: 8, members: [member("1"), member("5"), member("9")] };
const somewhere = { ip: undefined, position: undefined };
const at = (digits: string) => ({ ...somewhere, point: digits.padEnd(32, "0") as LogicalId });

let nowMs: number;
let order: NodeOrder;
beforeEach(() => {
  nowMs = 1000;
  order = new NodeOrder(() => nowMs);
});

const digits = (client: Parameters<NodeOrder["candidates"]>[1], of = table): string =>
  order
    .candidates(of, client)
    .map(({ id }) => id[0])
    .join("");
const id = (digit: string) => digit.repeat(32) as NodeId;

test("candidates puts the owner of the point's slice first, then the least busy", () => {
  const end = order.begin(id("1"));
  expect(digits(at("55"))).toBe("591"); // slice 0x55 begins at 5500…, before node 5555…
  expect(digits(at("6"))).toBe("951");
  expect(digits(at("99ff"))).toBe("951"); // the anchor 9900… decides, not the point
  expect(digits(at("f"))).toBe("159");
  end();
  expect(digits(somewhere)).toBe("159");
});

test("candidates puts a nearer node before the owner", () => {
  const berlin = { latitude: 52.5, longitude: 13.4 };
  const near = {
    sliceBits: 8,
    members: [
      member("1", { position: { latitude: 0, longitude: 0 } }),
      member("5", { position: berlin }),
    ],
  };
  expect(digits({ ...at("1"), position: berlin }, near)).toBe("51");
  const prefix = {
    sliceBits: 8,
    members: [
      member("1", { url: "http://10.0.0.1:1" }),
      member("5", { url: "http://192.168.0.1:1" }),
    ],
  };
  expect(digits({ ...at("1"), ip: "192.168.0.9" }, prefix)).toBe("51");
});

test("a failed node is asked last until it gave a sign of life, then tried by one request, and longer avoided each time", () => {
  order.failed(id("1"));
  expect(digits(at("1"))).toBe("591");
  expect(order.mayBeBack(id("1"))).toBe(false);
  nowMs += avoidMinMs;
  expect(digits(at("1"))).toBe("591");
  expect(order.mayBeBack(id("1"))).toBe(true);
  order.doubted(id("1"));
  expect(order.mayBeBack(id("1"))).toBe(false); // one question at a time
  order.livesOn(id("1"));
  expect(digits(at("1"))).toBe("159");
  order.begin(id("1"));
  expect(digits(at("1"))).toBe("591"); // others wait for the trial
  order.failed(id("1"));
  nowMs += avoidMinMs;
  expect(order.mayBeBack(id("1"))).toBe(false);
  nowMs += avoidMinMs;
  expect(order.mayBeBack(id("1"))).toBe(true);
  for (let i = 0; i < 50; i++) order.failed(id("1"));
  nowMs += avoidMaxMs;
  expect(order.mayBeBack(id("1"))).toBe(true);
  order.succeeded(id("1"));
  expect(digits(at("1"))).toBe("159");
  expect(order.mayBeBack(id("1"))).toBe(false);
});

test("a node in doubt is asked last until it gives a sign of life, or for a while", () => {
  order.doubted(id("1"));
  expect(digits(at("1"))).toBe("591");
  nowMs += 5;
  order.livesOn(id("1"));
  expect(digits(at("1"))).toBe("159");
  expect(order.wasHeardSince(id("1"), nowMs)).toBe(true);
  expect(order.wasHeardSince(id("1"), nowMs + 1)).toBe(false);
  order.doubted(id("1"));
  nowMs += avoidMinMs;
  expect(digits(at("1"))).toBe("159");
});
