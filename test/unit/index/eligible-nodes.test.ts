// Who may get a place in a view, and when time alone changes that.
import { beforeEach, expect, test } from "vitest";
import { EligibleNodes } from "../../../node/index/eligible-nodes.ts";
import { type Member, type MemberState } from "../../../node/route/types.ts";
import { parseFolderId, parseNodeId } from "../../../shared/ids.ts";
import { VirtualClock } from "../../sim/virtual-clock.ts";

const JOIN_MS = 60_000;
const REPAIR_MS = 30_000;

let clock: VirtualClock;
let nodes: EligibleNodes;

beforeEach(() => {
  clock = new VirtualClock();
  nodes = new EligibleNodes({ clock, joinAfterMs: JOIN_MS, repairAfterMs: REPAIR_MS });
});

function member(digit: string, state: MemberState): Member {
  return {
    id: parseNodeId(digit.repeat(32)),
    folder: parseFolderId(digit.repeat(16)),
    url: "",
    peerAddress: "",
    zone: "",
    position: undefined,
    capacityBytes: 0,
    freeBytes: 0,
    incarnation: 1,
    state,
    sinceMs: 0,
  };
}

/** Digits of who is eligible where the table shows these, such as "1 2?3!": alive, suspect, dead, left as "-". */
function eligible(table: string): string {
  const states = { "": "alive", "?": "suspect", "!": "dead", "-": "left" } as const;
  const members = [...table.matchAll(/(\d)([?!-]?)/gu)].map(([, digit, mark]) =>
    member(digit!, states[mark as keyof typeof states]),
  );
  return nodes
    .of(members)
    .map(({ id }) => id[0])
    .join("");
}

const pass = (ms: number): Promise<void> => clock.runFor(ms);

test("whom the table shows at first have a place, alive or not, but for who left", () => {
  expect(eligible("1 2? 3! 4-")).toBe("123");
});

test("a node that comes later gets one after it was alive for a while", async () => {
  eligible("1");
  expect(eligible("1 2")).toBe("1");
  expect(nodes.nextMs).toBe(clock.monotonicMs() + JOIN_MS);
  await pass(JOIN_MS - 1);
  expect(eligible("1 2")).toBe("1");
  await pass(1);
  expect(eligible("1 2")).toBe("12");
  expect(nodes.nextMs).toBe(Infinity);
});

test("a suspicion takes nothing away; a death does after a while", async () => {
  eligible("1 2");
  await pass(10);
  expect(eligible("1 2!")).toBe("12");
  await pass(REPAIR_MS - 1);
  expect(eligible("1 2!")).toBe("12");
  await pass(1);
  expect(eligible("1 2!")).toBe("1");
  expect(eligible("1? 2!")).toBe("1");
});

test("a node that comes and goes keeps what it has, and one that never stays gets nothing", async () => {
  eligible("1 2");
  eligible("1 2 3");
  for (let n = 0; n < 20; n++) {
    expect(eligible("1 2! 3")).toBe("12");
    await pass(REPAIR_MS / 2);
    expect(eligible("1 2 3!")).toBe("12");
    await pass(REPAIR_MS / 2);
  }
});

test("who was dead for long and comes back waits as a new one does", async () => {
  eligible("1 2");
  eligible("1 2!");
  await pass(REPAIR_MS);
  expect(eligible("1 2!")).toBe("1");
  expect(eligible("1 2")).toBe("1");
  await pass(JOIN_MS);
  expect(eligible("1 2")).toBe("12");
});

test("who leaves goes at once, and is forgotten", async () => {
  eligible("1 2");
  expect(eligible("1 2-")).toBe("1");
  expect(eligible("1")).toBe("1");
  expect(eligible("1 2")).toBe("1");
  await pass(JOIN_MS);
  expect(eligible("1 2")).toBe("12");
});

test("nextMs is the earliest of several", async () => {
  eligible("1 2");
  eligible("1 2 3");
  await pass(JOIN_MS - REPAIR_MS - 10);
  eligible("1 2! 3");
  expect(nodes.nextMs).toBe(clock.monotonicMs() + REPAIR_MS);
});
