// The peer link against the Transport suite over 127.0.0.1, and what only a real network shows: strangers, garbage.
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, expect, test, vi } from "vitest";
import { type Log } from "../../node/ports.ts";
import { FRAME, writeFrameHeader } from "../../node/runtime/frame.ts";
import { dialTls, parseHostPort } from "../../node/runtime/peer-link-tls.ts";
import { type PeerLinkTransport, openPeerLink } from "../../node/runtime/peer-link.ts";
import { type NodeId } from "../../shared/ids.ts";
import { linkSilentMs } from "../../shared/limits.ts";
import { ALICE, BOB, type World, describeTransport, handlers } from "./transport-suite.ts";

const secret = new Uint8Array(32).fill(9);
const listen = { host: "127.0.0.1", port: 0 };

/** Keeps every warning and error as one line of text, and tells who waits for one. */
class LogLines implements Log {
  readonly lines: string[] = [];
  #waiting: (() => void)[] = [];

  info(): void {}
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void {
    this.lines.push(`${event} ${JSON.stringify(fields)}`);
    for (const wake of this.#waiting.splice(0)) wake();
  }
  error(event: string, fields?: Readonly<Record<string, unknown>>): void {
    this.warn(event, fields);
  }
  async until(pattern: RegExp): Promise<void> {
    while (!this.lines.some((line) => pattern.test(line)))
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

interface Options {
  secret?: Uint8Array;
  protocolVersion?: number;
  log?: Log;
}

function openLink(id: NodeId, options: Options = {}): Promise<PeerLinkTransport> {
  const { log = new LogLines(), protocolVersion = 1 } = options;
  return openPeerLink({
    listen,
    advertise: "127.0.0.1:0",
    id,
    secret: options.secret ?? secret,
    protocolVersion,
    log,
  });
}

async function realWorld(): Promise<World> {
  const links: PeerLinkTransport[] = [];
  // A port that was just free.
  const server = createServer().listen(listen);
  await once(server, "listening");
  const vacantAddress = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.close();
  await once(server, "close");
  return {
    vacantAddress,
    attach: async (id) => {
      const link = await openLink(id);
      links.push(link);
      return { transport: link, address: link.address };
    },
    run: (body) => body(),
    end: async () => {
      await Promise.all(links.map((link) => link.close()));
    },
  };
}

describe("openPeerLink", () => describeTransport(realWorld));

describe("openPeerLink, strangers", () => {
  test("a node with another secret is refused, both sides say so", async () => {
    const [aliceLog, bobLog] = [new LogLines(), new LogLines()];
    const alice = await openLink(ALICE, { secret: new Uint8Array(32).fill(1), log: aliceLog });
    const bob = await openLink(BOB, { log: bobLog });
    let calls = 0;
    bob.serve(handlers({ call: async () => calls++ }));
    await expect(alice.call(bob, "x", null, 5000)).rejects.toMatchObject({
      failure: "unreachable",
    });
    await bobLog.until(/Refused a peer.*secret/u);
    await aliceLog.until(/No peer link came about/u);
    expect(calls).toBe(0);
    await Promise.all([alice.close(), bob.close()]);
  });

  test("a node of another protocol version is refused, both versions are logged", async () => {
    const bobLog = new LogLines();
    const alice = await openLink(ALICE, { protocolVersion: 7 });
    const bob = await openLink(BOB, { log: bobLog });
    await expect(alice.call(bob, "x", null, 5000)).rejects.toMatchObject({
      failure: "unreachable",
    });
    await bobLog.until(/speaks \\"ringstow\/7\\", this node \\"ringstow\/1\\"/u);
    await Promise.all([alice.close(), bob.close()]);
  });

  test("garbage at the port does no harm", async () => {
    const log = new LogLines();
    const [alice, bob] = [await openLink(ALICE), await openLink(BOB, { log })];
    bob.serve(handlers({ call: async () => "ok" }));
    const socket = connect(parseHostPort(bob.address));
    socket.on("error", () => {}); // a reset is as good as an end
    socket.end(Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    await once(socket, "close");
    await log.until(/Refused a peer/u);
    expect(await alice.call(bob, "x", null, 5000)).toBe("ok");
    await Promise.all([alice.close(), bob.close()]);
  });

  test("frames that make no sense end their connection, and only that", async () => {
    const log = new LogLines();
    const [alice, bob] = [await openLink(ALICE), await openLink(BOB, { log })];
    bob.serve(handlers({ call: async () => "ok" }));
    expect(await alice.call(bob, "x", null, 5000)).toBe("ok");
    const frame = (type: number, payload: Uint8Array): Uint8Array => {
      const bytes = new Uint8Array(9 + payload.length);
      writeFrameHeader(bytes, 0, type as 1, 0, payload.length);
      bytes.set(payload, 9);
      return bytes;
    };
    const bad = [
      frame(99, new Uint8Array(0)),
      frame(FRAME.request, new Uint8Array([0x93, 1])),
      frame(FRAME.hello, new Uint8Array([0xc1])),
      frame(FRAME.hello, new Uint8Array([0xc0])),
      new Uint8Array(9).fill(255),
    ];
    for (const [i, bytes] of bad.entries()) {
      const stranger = dialTls(parseHostPort(bob.address), { secret, protocolVersion: 1 });
      stranger.on("error", () => {});
      stranger.resume();
      await once(stranger, "secureConnect");
      stranger.write(bytes);
      await once(stranger, "close");
      expect(log.lines).toHaveLength(i + 1);
      expect(log.lines[i]).toContain("cannot be read");
    }
    expect(await alice.call(bob, "x", null, 5000)).toBe("ok");
    await Promise.all([alice.close(), bob.close()]);
  });
});

describe("openPeerLink, connections", () => {
  test("a connection is used in both directions", async () => {
    const [alice, bob] = [await openLink(ALICE), await openLink(BOB)];
    alice.serve(handlers({ call: async () => "alice" }));
    bob.serve(handlers({ call: async () => "bob" }));
    expect(await alice.call(bob, "x", null, 5000)).toBe("bob");
    // Were a second connection needed, nobody would be found at this address any more.
    const address = alice.address;
    expect(await bob.call({ address, id: ALICE }, "x", null, 5000)).toBe("alice");
    await Promise.all([alice.close(), bob.close()]);
  });

  test("both dial at once: both calls are answered", async () => {
    const [alice, bob] = [await openLink(ALICE), await openLink(BOB)];
    alice.serve(handlers({ call: async () => "alice" }));
    bob.serve(handlers({ call: async () => "bob" }));
    const replies = await Promise.all([
      alice.call(bob, "x", null, 5000),
      bob.call(alice, "x", null, 5000),
    ]);
    expect(replies).toEqual(["bob", "alice"]);
    await Promise.all([alice.close(), bob.close()]);
  });

  test("a host that accepts and says nothing is a time-out of each call", async () => {
    const alice = await openLink(ALICE);
    const mute = createServer().listen(listen);
    await once(mute, "listening");
    const peer = { address: `127.0.0.1:${(mute.address() as AddressInfo).port}` };
    const calls = [20, 40].map((timeoutMs) => alice.call(peer, "x", null, timeoutMs));
    for (const call of calls) await expect(call).rejects.toMatchObject({ failure: "timeout" });
    await alice.close();
    mute.close();
  });

  test("a peer that falls silent is dialled anew after a time-out", async () => {
    const [alice, bob] = [await openLink(ALICE), await openLink(BOB)];
    bob.serve(
      handlers({ call: (name) => (name === "x" ? Promise.resolve("ok") : new Promise(() => {})) }),
    );
    expect(await alice.call(bob, "x", null, 5000)).toBe("ok");
    const early = alice.call(bob, "hold", null, 20_000);
    await expect(alice.call(bob, "hold", null, 10)).rejects.toMatchObject({ failure: "timeout" });
    // The connection was heard of a moment ago and lives; now let time pass for it.
    const now = performance.now.bind(performance);
    const later = vi.spyOn(performance, "now").mockImplementation(() => now() + linkSilentMs + 1);
    await expect(alice.call(bob, "hold", null, 10)).rejects.toMatchObject({ failure: "timeout" });
    await expect(early).rejects.toMatchObject({ failure: "closed" });
    later.mockRestore();
    expect(await alice.call(bob, "x", null, 5000)).toBe("ok");
    await Promise.all([alice.close(), bob.close()]);
  });

  // A relay between the two changes one byte of what passes: the record fails its check.
  test("a byte changed on the way breaks the connection at both ends; the next call finds a new one", async () => {
    const [alice, bob] = [await openLink(ALICE), await openLink(BOB)];
    const { port } = parseHostPort(bob.address);
    let corrupt = false;
    const relay = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      near.on("data", (bytes) => {
        if (corrupt) bytes[bytes.length - 1] = bytes[bytes.length - 1]! ^ 1;
        corrupt = false;
        far.write(bytes);
      });
      far.on("data", (bytes) => near.write(bytes));
      for (const [a, b] of [
        [near, far],
        [far, near],
      ] as const)
        a.on("error", () => {}).on("close", () => b.destroy());
    }).listen(listen);
    await once(relay, "listening");
    const peer = { address: `127.0.0.1:${(relay.address() as AddressInfo).port}`, id: BOB };
    let changed = 0;
    let broken: Promise<unknown> | undefined;
    bob.serve(
      handlers({
        call: (name) => {
          if (name === "changed") changed++;
          return name === "hold" ? new Promise(() => {}) : Promise.resolve("ok");
        },
        stream: async (_name, _header, stream) => {
          broken = stream.receive().catch((error: unknown) => error);
          await broken;
        },
      }),
    );
    const near = await alice.open(peer, "s", null, 5000);
    const held = alice.call(peer, "hold", null, 20_000);
    expect(await alice.call(peer, "x", null, 5000)).toBe("ok");
    corrupt = true;
    const closed = { failure: "closed" };
    await Promise.all([
      expect(alice.call(peer, "changed", null, 20_000)).rejects.toMatchObject(closed),
      expect(held).rejects.toMatchObject(closed),
      expect(near.receive()).rejects.toMatchObject(closed),
    ]);
    expect(await broken).toMatchObject(closed);
    expect(changed).toBe(0);
    expect(await alice.call(peer, "x", null, 5000)).toBe("ok");
    await Promise.all([alice.close(), bob.close()]);
    relay.close();
  });

  test("an address that cannot be read is unreachable", async () => {
    const alice = await openLink(ALICE);
    for (const address of ["nowhere", "host:99999", "", "a:b:1"])
      await expect(alice.call({ address }, "x", null, 100)).rejects.toMatchObject({
        failure: "unreachable",
      });
    await alice.close();
  });

  test("a taken port is an error at once", async () => {
    const alice = await openLink(ALICE);
    const { port } = parseHostPort(alice.address);
    const second = openPeerLink({
      listen: { host: "127.0.0.1", port },
      advertise: alice.address,
      id: BOB,
      secret,
      protocolVersion: 1,
      log: new LogLines(),
    });
    await expect(second).rejects.toThrow(`Cannot listen on 127.0.0.1:${port}: the port is taken`);
    await alice.close();
  });
});
