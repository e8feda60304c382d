// What every Transport must do (node/ports.ts). Each test runs inside `world.run`, which drives virtual time where
// there is any.
import { expect, test } from "vitest";
import {
  type Caller,
  type PeerHandlers,
  type PeerStream,
  type Transport,
  TransportError,
} from "../../node/ports.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId, parseNodeId } from "../../shared/ids.ts";
import { callsInFlightMax, streamChunkBytes, streamWindowBytes } from "../../shared/limits.ts";

export interface Attached {
  readonly transport: Transport;
  readonly address: string;
}

export interface World {
  attach(id: NodeId): Promise<Attached>;
  /** An address where nobody answers. */
  readonly vacantAddress: string;
  /** Runs a test's body to its end. */
  run(body: () => Promise<void>): Promise<void>;
  /** Releases everything. */
  end(): Promise<void>;
}

export const ALICE = parseNodeId("a".repeat(32));
export const BOB = parseNodeId("b".repeat(32));
const timeoutMs = 5_000;

interface Pair {
  readonly alice: Attached;
  readonly bob: Attached;
}

/** Handlers that nobody is meant to use, but for those given. */
export function handlers(some: Partial<PeerHandlers>): PeerHandlers {
  return {
    call: some.call ?? (() => Promise.reject(new Error("no call is expected"))),
    stream: some.stream ?? (() => Promise.reject(new Error("no stream is expected"))),
  };
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("Cannot take the failure: the promise succeeded");
}

async function transportFailureOf(promise: Promise<unknown>): Promise<string> {
  const error = await failureOf(promise);
  expect(error).toBeInstanceOf(TransportError);
  return (error as TransportError).failure;
}

/** Chunks of many sizes, each byte known from its offset in the stream. */
export function* patternChunks(total: number, sizes: readonly number[]): Generator<Uint8Array> {
  let offset = 0;
  for (let i = 0; offset < total; i++) {
    const size = Math.min(sizes[i % sizes.length]!, total - offset);
    const chunk = new Uint8Array(size);
    for (let at = 0; at < size; at++)
      chunk[at] = ((offset + at) * 31 + ((offset + at) >> 11)) & 255;
    yield chunk;
    offset += size;
  }
}

async function sendAll(stream: PeerStream, chunks: Iterable<Uint8Array>): Promise<void> {
  for (const chunk of chunks) await stream.send(chunk);
  stream.end();
}

async function expectAll(stream: PeerStream, chunks: Iterable<Uint8Array>): Promise<void> {
  for (const chunk of chunks) {
    const received = await stream.receive();
    if (!received || Buffer.compare(received, chunk) !== 0)
      throw new Error(`Cannot match a chunk of ${chunk.length}: got ${received?.length}`);
  }
  expect(await stream.receive()).toBeUndefined();
}

/** A promise with its handles outside. */
function gate<T = void>(): PromiseWithResolvers<T> {
  return Promise.withResolvers<T>();
}

export function describeTransport(makeWorld: () => Promise<World>): void {
  const withPair = (name: string, body: (pair: Pair, world: World) => Promise<void>): void => {
    test(name, async () => {
      const world = await makeWorld();
      try {
        const pair = { alice: await world.attach(ALICE), bob: await world.attach(BOB) };
        await world.run(() => body(pair, world));
      } finally {
        await world.end();
      }
    });
  };

  describeCalls(withPair);
  describeFailures(withPair);
  describeStreams(withPair);
  describeFlow(withPair);
}

type WithPair = (name: string, body: (pair: Pair, world: World) => Promise<void>) => void;

function describeCalls(withPair: WithPair): void {
  withPair("call: request and reply carry every kind of plain data", async ({ alice, bob }) => {
    bob.transport.serve(handlers({ call: async (_name, request) => request }));
    const values: unknown[] = [
      null,
      true,
      false,
      0,
      -1,
      1.5,
      2 ** 31,
      -(2 ** 31),
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
      "",
      "käse \u{1f9c0} \u0000",
      "x".repeat(100_000),
      [],
      {},
      [[1, [2, { a: [] }]]],
      { a: { b: { c: new Uint8Array([1, 2, 3]) } }, list: [new Uint8Array(0), null] },
      new Uint8Array(300_000).fill(7),
      { constructor: "c", hasOwnProperty: 1, toString: "t" },
    ];
    for (const value of values)
      expect(await alice.transport.call(bob, "echo", value, timeoutMs)).toStrictEqual(value);
    const dropped = await alice.transport.call(bob, "echo", { a: 1, b: undefined }, timeoutMs);
    expect(Object.keys(dropped as object)).toEqual(["a"]);
  });

  withPair("call: the handler sees name, caller's id and address", async ({ alice, bob }) => {
    const seen: unknown[] = [];
    const call = async (name: string, _request: unknown, caller: Caller): Promise<null> => {
      seen.push([name, caller.id, caller.address]);
      return null;
    };
    bob.transport.serve(handlers({ call }));
    alice.transport.serve(handlers({ call }));
    await alice.transport.call({ address: bob.address, id: BOB }, "one", null, timeoutMs);
    await bob.transport.call({ address: alice.address, id: ALICE }, "two", null, timeoutMs);
    expect(seen).toEqual([
      ["one", ALICE, alice.address],
      ["two", BOB, bob.address],
    ]);
  });

  withPair("call: a node can call itself", async ({ alice }) => {
    alice.transport.serve(handlers({ call: async () => "me" }));
    const self = { address: alice.address, id: ALICE };
    expect(await alice.transport.call(self, "who", null, timeoutMs)).toBe("me");
  });

  withPair("call: 1,000 at once get each its own answer", async ({ alice, bob }) => {
    bob.transport.serve(handlers({ call: async (_name, n) => (n as number) * 2 }));
    const numbers = Array.from({ length: 1000 }, (_, i) => i);
    const replies = await Promise.all(
      numbers.map((n) => alice.transport.call(bob, "double", n, timeoutMs)),
    );
    expect(replies).toEqual(numbers.map((n) => n * 2));
  });

  withPair("call: a later call overtakes one that waits", async ({ alice, bob }) => {
    const slow = gate<string>();
    bob.transport.serve(
      handlers({ call: (name) => (name === "slow" ? slow.promise : Promise.resolve("fast")) }),
    );
    const first = alice.transport.call(bob, "slow", null, timeoutMs);
    expect(await alice.transport.call(bob, "fast", null, timeoutMs)).toBe("fast");
    slow.resolve("slow");
    expect(await first).toBe("slow");
  });

  withPair("call: too many in flight fail with SlowDown", async ({ alice, bob }) => {
    const held = gate();
    bob.transport.serve(handlers({ call: () => held.promise }));
    const calls = Array.from({ length: callsInFlightMax }, () =>
      alice.transport.call(bob, "hold", null, 60_000),
    );
    const error = await failureOf(alice.transport.call(bob, "hold", null, timeoutMs));
    expect(error).toMatchObject({ code: "SlowDown" });
    held.resolve();
    await Promise.all(calls);
    await alice.transport.call(bob, "hold", null, timeoutMs);
  });

  withPair("call: a request larger than a frame is refused", async ({ alice, bob }) => {
    bob.transport.serve(handlers({ call: async () => new Uint8Array(17 * 1024 * 1024) }));
    const large = new Uint8Array(17 * 1024 * 1024);
    const request = failureOf((async () => alice.transport.call(bob, "large", large, timeoutMs))());
    expect(await request).toMatchObject({ code: "EntityTooLarge" });
    const reply = failureOf(alice.transport.call(bob, "large", null, timeoutMs));
    expect(await reply).toMatchObject({ code: "EntityTooLarge" });
  });
}

function describeFailures(withPair: WithPair): void {
  withPair("call: a RingstowError travels, any other throw is Internal", async ({ alice, bob }) => {
    const call = async (name: string): Promise<null> => {
      if (name === "known") throw new RingstowError("FenceTooOld", "Cannot lock: old", { f: "7" });
      throw new TypeError("a fault");
    };
    bob.transport.serve(handlers({ call }));
    const known = await failureOf(alice.transport.call(bob, "known", null, timeoutMs));
    expect(known).toBeInstanceOf(RingstowError);
    expect(known).toMatchObject({
      code: "FenceTooOld",
      message: "Cannot lock: old",
      details: { f: "7" },
    });
    const other = await failureOf(alice.transport.call(bob, "other", null, timeoutMs));
    expect(other).toBeInstanceOf(RingstowError);
    expect(other).toMatchObject({ code: "Internal" });
  });

  withPair("call: a node that does not serve yet answers Unavailable", async ({ alice, bob }) => {
    const error = await failureOf(alice.transport.call(bob, "early", null, timeoutMs));
    expect(error).toMatchObject({ code: "Unavailable" });
  });

  withPair("call, open: nobody at the address is unreachable", async ({ alice }, world) => {
    const peer = { address: world.vacantAddress };
    const { transport } = alice;
    expect(await transportFailureOf(transport.call(peer, "x", null, timeoutMs))).toBe(
      "unreachable",
    );
    expect(await transportFailureOf(transport.open(peer, "x", null, timeoutMs))).toBe(
      "unreachable",
    );
  });

  withPair("call, open: another id than expected is unreachable", async ({ alice, bob }) => {
    bob.transport.serve(handlers({ call: async () => null }));
    const wrong = { address: bob.address, id: ALICE };
    for (let i = 0; i < 2; i++) {
      expect(await transportFailureOf(alice.transport.call(wrong, "x", null, timeoutMs))).toBe(
        "unreachable",
      );
      expect(await transportFailureOf(alice.transport.open(wrong, "x", null, timeoutMs))).toBe(
        "unreachable",
      );
      const right = { address: bob.address, id: BOB };
      expect(await alice.transport.call(right, "x", null, timeoutMs)).toBe(null);
    }
  });

  withPair("call: no answer in time is a time-out, others go on", async ({ alice, bob }) => {
    const held = gate<string>();
    bob.transport.serve(
      handlers({ call: (name) => (name === "hold" ? held.promise : Promise.resolve("ok")) }),
    );
    expect(await transportFailureOf(alice.transport.call(bob, "hold", null, 50))).toBe("timeout");
    held.resolve("late");
    expect(await alice.transport.call(bob, "go", null, timeoutMs)).toBe("ok");
  });

  withPair("close: the peer's waiting calls and streams fail as closed", async ({ alice, bob }) => {
    const arrived = gate();
    const farStream = gate<PeerStream>();
    bob.transport.serve(
      handlers({
        call: () => {
          arrived.resolve();
          return new Promise(() => {});
        },
        stream: (_name, _header, stream) => {
          farStream.resolve(stream);
          return new Promise(() => {});
        },
      }),
    );
    const call = failureOf(alice.transport.call(bob, "hold", null, timeoutMs));
    const stream = await alice.transport.open(bob, "hold", null, timeoutMs);
    const receive = failureOf(stream.receive());
    await arrived.promise;
    const far = failureOf((await farStream.promise).receive());
    await bob.transport.close();
    for (const error of [await call, await receive, await far])
      expect(error).toMatchObject({ name: "TransportError", failure: "closed" });
    const later = await transportFailureOf(alice.transport.call(bob, "x", null, timeoutMs));
    expect(later).toBe("unreachable");
  });

  withPair("close: own waiting calls fail, later ones too", async ({ alice, bob }) => {
    const arrived = gate();
    bob.transport.serve(
      handlers({
        call: () => {
          arrived.resolve();
          return new Promise(() => {});
        },
      }),
    );
    const call = transportFailureOf(alice.transport.call(bob, "hold", null, timeoutMs));
    await arrived.promise;
    await alice.transport.close();
    expect(await call).toBe("closed");
    expect(await transportFailureOf(alice.transport.call(bob, "x", null, timeoutMs))).toBe(
      "closed",
    );
    expect(await transportFailureOf(alice.transport.open(bob, "x", null, timeoutMs))).toBe(
      "closed",
    );
    await alice.transport.close();
  });

  withPair("call: a peer that comes back at its address is called again", async (pair, world) => {
    const { alice, bob } = pair;
    bob.transport.serve(handlers({ call: async () => "first" }));
    expect(await alice.transport.call(bob, "x", null, timeoutMs)).toBe("first");
    await bob.transport.close();
    expect(await transportFailureOf(alice.transport.call(bob, "x", null, timeoutMs))).toBe(
      "unreachable",
    );
    const carol = await world.attach(parseNodeId("c".repeat(32)));
    carol.transport.serve(handlers({ call: async () => "second" }));
    expect(await alice.transport.call(carol, "x", null, timeoutMs)).toBe("second");
  });
}

function describeStreams(withPair: WithPair): void {
  const total = 20 * 1024 * 1024;
  const outSizes = [streamChunkBytes, 1, 65_536, 0, 100_001];
  const backSizes = [streamChunkBytes, 7, 13_337];

  withPair("stream: 20 MiB each way arrive whole, chunk by chunk", async ({ alice, bob }) => {
    const served = gate();
    const stream = async (name: string, header: unknown, far: PeerStream): Promise<void> => {
      expect([name, header]).toEqual(["both", { from: 5, bytes: new Uint8Array([1]) }]);
      await Promise.all([
        expectAll(far, patternChunks(total, outSizes)),
        sendAll(far, patternChunks(total, backSizes)),
      ]);
      served.resolve();
    };
    bob.transport.serve(
      handlers({ stream: (name, head, far) => stream(name, head, far).catch(served.reject) }),
    );
    const header = { from: 5, bytes: new Uint8Array([1]) };
    const near = await alice.transport.open(bob, "both", header, timeoutMs);
    await Promise.all([
      sendAll(near, patternChunks(total, outSizes)),
      expectAll(near, patternChunks(total, backSizes)),
      served.promise,
    ]);
    near.reset("harmless after both ends");
  });

  withPair("stream: after end() the other direction goes on", async ({ alice, bob }) => {
    bob.transport.serve(
      handlers({
        stream: async (_name, _header, far) => {
          let bytes = 0;
          for (let chunk = await far.receive(); chunk; chunk = await far.receive())
            bytes += chunk.length;
          for (let i = 0; i < 3; i++) await far.send(new Uint8Array(bytes + i));
        },
      }),
    );
    const near = await alice.transport.open(bob, "sum", null, timeoutMs);
    await near.send(new Uint8Array(10));
    await near.send(new Uint8Array(20));
    near.end();
    for (const size of [30, 31, 32]) expect((await near.receive())?.length).toBe(size);
    expect(await near.receive()).toBeUndefined();
    expect(await near.receive()).toBeUndefined();
  });

  withPair("stream: reset by the opener fails both ends", async ({ alice, bob }) => {
    const far = gate<unknown>();
    bob.transport.serve(
      handlers({
        stream: async (_name, _header, stream) => {
          far.resolve(await failureOf(stream.receive()));
        },
      }),
    );
    const near = await alice.transport.open(bob, "s", null, timeoutMs);
    near.reset("changed my mind");
    near.reset("again");
    expect(await transportFailureOf(near.receive())).toBe("closed");
    expect(await transportFailureOf(near.send(new Uint8Array(1)))).toBe("closed");
    const error = await far.promise;
    expect(error).toMatchObject({ name: "TransportError", failure: "closed" });
    expect((error as Error).message).toContain("changed my mind");
  });

  withPair("stream: a handler that rejects resets it", async ({ alice, bob }) => {
    bob.transport.serve(
      handlers({ stream: () => Promise.reject(new RingstowError("NoSuchKey", "Cannot: gone")) }),
    );
    const near = await alice.transport.open(bob, "s", null, timeoutMs);
    const error = await failureOf(near.receive());
    expect(error).toMatchObject({ name: "TransportError", failure: "closed" });
    expect((error as Error).message).toContain("gone");
  });

  withPair("stream: a handler that returns early has its bytes read", async ({ alice, bob }) => {
    bob.transport.serve(
      handlers({
        stream: async (_name, _header, far) => {
          await far.send(new Uint8Array([1, 2]));
        },
      }),
    );
    const near = await alice.transport.open(bob, "s", null, timeoutMs);
    // The opener's side breaks, as nobody reads it, yet what was sent stays readable.
    const window = new Uint8Array(streamChunkBytes);
    const broke = failureOf(
      (async () => {
        for (;;) await near.send(window);
      })(),
    );
    expect(await broke).toMatchObject({ failure: "closed" });
    expect(await near.receive()).toEqual(new Uint8Array([1, 2]));
    expect(await near.receive()).toBeUndefined();
  });

  withPair("open: a node that does not serve yet resets the stream", async ({ alice, bob }) => {
    const near = await alice.transport.open(bob, "early", null, timeoutMs);
    expect(await transportFailureOf(near.receive())).toBe("closed");
  });
}

function describeFlow(withPair: WithPair): void {
  withPair("stream: a sender without a receiver stops after a window", async ({ alice, bob }) => {
    const started = gate<PeerStream>();
    const ended = gate();
    const call = async (): Promise<null> => null;
    const stream = (_name: string, _header: unknown, far: PeerStream): Promise<void> => {
      started.resolve(far);
      return ended.promise;
    };
    bob.transport.serve(handlers({ call, stream }));
    const near = await alice.transport.open(bob, "slow", null, timeoutMs);
    const far = await started.promise;
    const chunk = new Uint8Array(streamChunkBytes / 4).fill(3);
    let sent = 0;
    const chunks = 100;
    const sending = (async () => {
      for (; sent < chunks; sent++) await near.send(chunk);
      near.end();
    })();
    // Calls on the same link: their answers show that all before them went through.
    for (let i = 0; i < 20; i++) await alice.transport.call(bob, "ping", null, timeoutMs);
    const stopped = sent;
    expect((stopped + 1) * chunk.length).toBeLessThanOrEqual(streamWindowBytes);
    expect((stopped + 2) * chunk.length).toBeGreaterThanOrEqual(streamWindowBytes);
    for (let i = 0; i < 20; i++) await alice.transport.call(bob, "ping", null, timeoutMs);
    expect(sent).toBe(stopped);
    let received = 0;
    while (await far.receive()) received++;
    expect(received).toBe(chunks);
    await sending;
    ended.resolve();
  });

  withPair("stream: tiny chunks fill the window too", async ({ alice, bob }) => {
    const ended = gate();
    bob.transport.serve(handlers({ call: async () => null, stream: () => ended.promise }));
    const near = await alice.transport.open(bob, "slow", null, timeoutMs);
    let sent = 0;
    const sending = failureOf(
      (async () => {
        for (;;) {
          await near.send(new Uint8Array(0));
          sent++;
        }
      })(),
    );
    for (let before = -1; before !== sent;) {
      before = sent;
      await alice.transport.call(bob, "ping", null, timeoutMs);
    }
    expect(sent).toBeLessThan(streamWindowBytes / 32);
    near.reset("enough");
    await sending;
    ended.resolve();
  });

  withPair("stream: many at once, one stuck, small calls between", async ({ alice, bob }) => {
    const stuck = gate();
    bob.transport.serve(
      handlers({
        call: async (_name, request) => request,
        stream: async (name, _header, far) => {
          if (name === "stuck") return stuck.promise;
          for (let chunk = await far.receive(); chunk; chunk = await far.receive())
            await far.send(chunk);
        },
      }),
    );
    const dead = await alice.transport.open(bob, "stuck", null, timeoutMs);
    const deadSending = failureOf(
      (async () => {
        for (;;) await dead.send(new Uint8Array(streamChunkBytes));
      })(),
    );
    const total = 3 * 1024 * 1024;
    const echo = async (): Promise<void> => {
      const near = await alice.transport.open(bob, "echo", null, timeoutMs);
      const sizes = [streamChunkBytes, 9, 50_000];
      await Promise.all([
        sendAll(near, patternChunks(total, sizes)),
        expectAll(near, patternChunks(total, sizes)),
      ]);
    };
    let streaming = true;
    const streams = Promise.all(Array.from({ length: 8 }, echo)).finally(() => {
      streaming = false;
    });
    let calls = 0;
    while (streaming || calls < 10) {
      const value = { calls, text: "x".repeat(200) };
      expect(await alice.transport.call(bob, "echo", value, timeoutMs)).toEqual(value);
      calls++;
    }
    await streams;
    dead.reset("done");
    expect(await deadSending).toMatchObject({ failure: "closed" });
    stuck.resolve();
  });
}
