// The memory network against the Transport suite, and what only it does: policies and crashes.
import { describe, expect, test } from "vitest";
import { MemoryNetwork, type Policy } from "../../node/runtime/memory-network.ts";
import { VirtualClock } from "../sim/virtual-clock.ts";
import { ALICE, BOB, describeTransport, handlers, type World } from "./transport-suite.ts";

function memoryWorld(policy?: Policy): World & { clock: VirtualClock; network: MemoryNetwork } {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock, policy);
  let count = 0;
  return {
    clock,
    network,
    vacantAddress: "vacant:1",
    attach: async (id) => {
      const address = `host${count++}:1`;
      return { address, transport: network.attach(address, id) };
    },
    run: (body) => clock.settle(body()),
    end: async () => {},
  };
}

describe("MemoryNetwork at once", () => describeTransport(async () => memoryWorld()));

describe("MemoryNetwork with delays", () =>
  describeTransport(async () => {
    // Delays that jump about, so that order within a stream is the transport's own merit.
    let n = 0;
    return memoryWorld(() => [(n++ * 7) % 5]);
  }));

describe("MemoryNetwork policy", () => {
  test("call: takes the delays of request and reply", async () => {
    const world = memoryWorld((_from, _to, kind) => [kind === "request" ? 30 : 12]);
    const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
    bob.transport.serve(handlers({ call: async () => "ok" }));
    const call = alice.transport.call(bob, "x", null, 1000);
    expect(await world.clock.settle(call)).toBe("ok");
    expect(world.clock.now).toBe(42);
  });

  test("call: a lost request or reply is a time-out at timeoutMs", async () => {
    for (const lost of ["request", "reply"]) {
      const world = memoryWorld((_from, _to, kind) => (kind === lost ? [] : [1]));
      const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
      let calls = 0;
      bob.transport.serve(handlers({ call: async () => calls++ }));
      const call = world.clock.settle(alice.transport.call(bob, "x", null, 1000));
      await expect(call).rejects.toMatchObject({ failure: "timeout" });
      expect(world.clock.now).toBe(1000);
      expect(calls).toBe(lost === "request" ? 0 : 1);
    }
  });

  test("call: a doubled request runs the handler twice, the first reply counts", async () => {
    const world = memoryWorld((_from, _to, kind) => (kind === "request" ? [5, 9] : [1, 1]));
    const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
    let calls = 0;
    bob.transport.serve(handlers({ call: async () => ++calls }));
    expect(await world.clock.settle(alice.transport.call(bob, "x", null, 1000))).toBe(1);
    await world.clock.runFor(100);
    expect(calls).toBe(2);
  });

  test("stream: a lost chunk breaks both ends", async () => {
    let lose = false;
    const world = memoryWorld((_from, _to, kind) => (lose && kind === "stream" ? [] : [1]));
    const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
    let far: unknown;
    bob.transport.serve(
      handlers({
        stream: async (_name, _header, stream) => {
          far = await stream.receive().catch((error: unknown) => error);
        },
      }),
    );
    const near = await world.clock.settle(alice.transport.open(bob, "s", null, 1000));
    lose = true;
    await near.send(new Uint8Array(1));
    await expect(world.clock.settle(near.receive())).rejects.toMatchObject({ failure: "closed" });
    await world.clock.runFor(10);
    expect(far).toMatchObject({ failure: "closed" });
  });
});

describe("MemoryNetwork.breakLink", () => {
  test("calls in both directions and streams fail at once, what is on its way is lost, the next call works", async () => {
    const world = memoryWorld(() => [10]);
    const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
    const settled: string[] = [];
    const watch = (name: string, promise: Promise<unknown>): void => {
      promise.then(
        () => settled.push(`${name} ok at ${world.clock.now}`),
        (error: { failure?: string }) =>
          settled.push(`${name} ${error.failure} at ${world.clock.now}`),
      );
    };
    let handled = 0;
    const slow = handlers({
      call: async () => {
        handled++;
        await world.clock.sleep(20);
        return "late";
      },
      stream: async (_name, _header, stream) => {
        const received = stream.receive();
        watch("far", received);
        await received;
      },
    });
    alice.transport.serve(slow);
    bob.transport.serve(slow);
    const near = await world.clock.settle(alice.transport.open(bob, "s", null, 5000));
    watch("near", near.receive());
    const begunMs = world.clock.now;
    watch("alice's", alice.transport.call(bob, "x", null, 5000));
    await world.clock.run(begunMs + 15); // handled at bob, not answered
    watch("bob's", bob.transport.call(alice, "x", null, 5000)); // on its way
    world.network.breakLink(alice.address, bob.address);
    await world.clock.run(begunMs + 16);
    const brokenMs = begunMs + 15;
    expect(settled).toContain(`alice's closed at ${brokenMs}`);
    expect(settled).toContain(`bob's closed at ${brokenMs}`);
    await world.clock.runFor(1_000);
    expect(handled).toBe(1);
    expect(settled.map((line) => line.replace(/ at .*/u, "")).toSorted()).toEqual([
      "alice's closed",
      "bob's closed",
      "far closed",
      "near closed",
    ]);
    expect(await world.clock.settle(alice.transport.call(bob, "x", null, 1000))).toBe("late");
  });
});

describe("MemoryNetwork.crash", () => {
  test("the dead node's calls never settle, its peers' calls and streams break", async () => {
    const world = memoryWorld(() => [1]);
    const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
    const settled: string[] = [];
    const watch = (name: string, promise: Promise<unknown>): void => {
      promise.then(
        () => settled.push(`${name} ok`),
        (error: { failure?: string }) => settled.push(`${name} ${error.failure}`),
      );
    };
    const hold = handlers({
      call: () => new Promise(() => {}),
      stream: async (_name, _header, stream) => {
        watch("far receive", stream.receive());
        await new Promise(() => {});
      },
    });
    alice.transport.serve(hold);
    bob.transport.serve(hold);
    watch("bob's call", bob.transport.call(alice, "x", null, 5000));
    watch("alice's call", alice.transport.call(bob, "x", null, 5000));
    const near = await world.clock.settle(alice.transport.open(bob, "s", null, 5000));
    watch("alice's receive", near.receive());
    await world.clock.runFor(10);
    world.network.crash(bob.address);
    watch("bob's later call", bob.transport.call(alice, "x", null, 5000));
    watch("alice's later call", alice.transport.call(bob, "x", null, 5000));
    await world.clock.runFor(10_000);
    expect(settled.toSorted()).toEqual([
      "alice's call closed",
      "alice's later call unreachable",
      "alice's receive closed",
    ]);
    const again = world.network.attach(bob.address, BOB);
    again.serve(handlers({ call: async () => "back" }));
    expect(await world.clock.settle(alice.transport.call(bob, "x", null, 1000))).toBe("back");
  });

  test("what was sent to a process reaches no later one, what found nobody may", async () => {
    const world = memoryWorld((_from, _to, kind) => (kind === "request" ? [5, 50] : [1]));
    const [alice, bob] = [await world.attach(ALICE), await world.attach(BOB)];
    let first = 0;
    bob.transport.serve(handlers({ call: async () => ++first }));
    await world.clock.settle(alice.transport.call(bob, "x", null, 1000));
    const late = alice.transport.call(bob, "x", null, 1000);
    world.network.crash(bob.address);
    const early = alice.transport.call(bob, "x", null, 1000); // while nobody is there
    let later = 0;
    const again = world.network.attach(bob.address, BOB);
    again.serve(handlers({ call: async () => ++later }));
    await expect(world.clock.settle(late)).rejects.toMatchObject({ failure: "closed" });
    expect(await world.clock.settle(early)).toBe(1);
    await world.clock.runFor(1_000);
    expect([first, later]).toEqual([1, 2]); // both copies of the second one
  });
});
