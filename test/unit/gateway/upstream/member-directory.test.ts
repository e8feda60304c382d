// The table of live nodes as a gateway keeps it: never waited for while it is fresh enough, never old for long.
import { expect, test, vi } from "vitest";
import { type HttpCaller } from "../../../../gateway/upstream/http-caller.ts";
import { MemberDirectory } from "../../../../gateway/upstream/member-directory.ts";
import { recordWaitMs } from "../../../../shared/limits.ts";
import { RequestSigner } from "../../../../shared/peer-auth.ts";

function makeDirectory() {
  const state = {
    nowMs: 1_800_000_000_000,
    nodes: 1,
    asked: 0,
    answers: true,
    fails: false,
    silent: "",
  };
  const wallMs = () => state.nowMs;
  const caller: HttpCaller = {
    async call({ origin }) {
      state.asked++;
      if (origin === state.silent) await new Promise(() => undefined);
      // As on an edge runtime that ends what no request waits for: neither an answer nor an error comes.
      if (!state.answers) await new Promise(() => undefined);
      if (state.fails) throw new Error("no route");
      const members = Array.from({ length: state.nodes }, (_, i) => ({
        id: String(i + 1).repeat(32),
        url: `http://node-${i + 1}`,
        zone: "",
        freeBytes: 0,
        load: 0,
      }));
      const body = new TextEncoder().encode(JSON.stringify({ sliceBits: 4, members }));
      return {
        status: 200,
        header: () => undefined,
        body: (async function* () {
          yield body;
        })(),
      };
    },
    close: () => Promise.resolve(),
  };
  const signer = new RequestSigner(new Uint8Array(32), "0".repeat(32), wallMs);
  const seeds = ["http://seed"];
  const directory = new MemberDirectory({ caller, signer, seeds, wallMs });
  const size = async () => (await directory.table()).members.length;
  return { state, size };
}

test("table answers at once while refreshes are cut off, and waits for one when it is old", async () => {
  const { state, size } = makeDirectory();
  expect(await size()).toBe(1);
  state.nodes = 2;
  state.answers = false;
  for (let i = 0; i < 3; i++) {
    state.nowMs += 4_000;
    expect(await size()).toBe(1);
  }
  expect(state.asked).toBe(4);
  state.answers = true;
  state.nowMs += 4_000;
  expect(await size()).toBe(2);
});

test("an old table stays in use while nobody answers, and is asked for now and then", async () => {
  const { state, size } = makeDirectory();
  expect(await size()).toBe(1);
  state.fails = true;
  state.nowMs += 60_000;
  expect(await size()).toBe(1);
  const asked = state.asked;
  state.nowMs += 1_000;
  expect(await size()).toBe(1);
  expect(state.asked).toBe(asked);
  state.fails = false;
  state.nodes = 3;
  state.nowMs += 4_000;
  expect(await size()).toBe(3);
});

test("an old table is not waited for longer than nodes need, and a silent node not at all", async () => {
  const { state, size } = makeDirectory();
  expect(await size()).toBe(1);
  vi.useFakeTimers();
  try {
    state.nodes = 2;
    state.silent = "http://node-1";
    state.nowMs += 60_000;
    const refreshed = size();
    await vi.advanceTimersByTimeAsync(recordWaitMs); // then the seed is asked too
    expect(await refreshed).toBe(2);
    state.answers = false;
    state.nowMs += 60_000;
    const waiting = size();
    await vi.advanceTimersByTimeAsync(recordWaitMs);
    expect(await waiting).toBe(2);
  } finally {
    vi.useRealTimers();
  }
});
