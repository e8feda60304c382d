// startHttpServer on raw sockets: 100-continue, broken and aborted transfers, closing.
import { readdirSync } from "node:fs";
import { type Socket, connect } from "node:net";
import { once } from "node:events";
import { Agent, get as httpGet } from "node:http";
import { afterEach, expect, test } from "vitest";
import { Hono } from "hono";
import { toReadable } from "../../../../shared/body-stream.ts";
import { type ByteStream } from "../../../../shared/object-service.ts";
import { type ServerBindings } from "../../../../shared/server-bindings.ts";
import { type RunningHttpServer, startHttpServer } from "../../../../node/runtime/http-server.ts";

const MiB = 1024 * 1024;
let server: RunningHttpServer | undefined;
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
});

type App = Hono<{ Bindings: ServerBindings }>;

async function serve(build: (app: App) => void): Promise<string> {
  const app: App = new Hono();
  build(app);
  server = await startHttpServer({ app, host: "127.0.0.1", port: 0 });
  return server.url;
}

/** A socket and what came over it so far. */
async function dial(
  url: string,
): Promise<{ socket: Socket; text: () => string; closed: Promise<void> }> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  sockets.push(socket);
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.on("error", () => undefined); // a reset shows as the close
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  await once(socket, "connect");
  return { socket, text: () => received, closed };
}

const head = (length: number, extra = "") =>
  `PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n${extra}\r\n`;
const EXPECT = "Expect: 100-continue\r\n";

async function sizeOf(body: ByteStream): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.length;
  return bytes;
}

test("100 Continue comes at the first read of the body, and the connection stays open", async () => {
  const gate = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const url = await serve((app) =>
    app.put("/x", async (c) => {
      arrived.resolve();
      await gate.promise;
      return c.text(`got ${await sizeOf(c.env.requestBody!())}`);
    }),
  );
  const { socket, text } = await dial(url);
  socket.write(head(5, EXPECT));
  await arrived.promise;
  expect(text()).toBe("");
  gate.resolve();
  await expect.poll(text).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  socket.write("12345");
  await expect.poll(text).toContain("got 5");
  expect(text().toLowerCase()).toContain("connection: keep-alive");
  socket.write(head(2) + "ab");
  await expect.poll(text).toContain("got 2");
});

test("an answer before the body is read comes without 100 Continue and closes", async () => {
  const url = await serve((app) => app.put("/x", (c) => c.text("no", 412)));
  const { socket, text, closed } = await dial(url);
  socket.write(head(5, EXPECT));
  await closed;
  expect(text()).toMatch(/^HTTP\/1\.1 412 /u);
  expect(text()).not.toContain("100 Continue");
  expect(text().toLowerCase()).toContain("connection: close");
});

test("an early answer reaches a client that goes on sending", async () => {
  const url = await serve((app) => app.put("/x", (c) => c.text("no", 403)));
  const response = await fetch(`${url}/x`, { method: "PUT", body: Buffer.alloc(20 * MiB) });
  expect(response.status).toBe(403);
});

test.each([
  ["a small body", head(100) + "12345"],
  ["a large body", head(MiB) + "12345"],
  [
    "a chunked body",
    "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
  ],
])("requestBody throws IncompleteBody when the client leaves: %s", async (_, request) => {
  const outcome = Promise.withResolvers<unknown>();
  const reading = Promise.withResolvers<void>();
  const url = await serve((app) =>
    app.put("/x", async (c) => {
      const chunks = c.env.requestBody!()[Symbol.asyncIterator]();
      try {
        for (;;) {
          const step = chunks.next();
          reading.resolve();
          if ((await step).done) break;
        }
        outcome.resolve("ended");
      } catch (error) {
        outcome.resolve(error);
      }
      return c.text("");
    }),
  );
  const { socket } = await dial(url);
  socket.write(request);
  await reading.promise;
  socket.destroy();
  expect(await outcome.promise).toMatchObject({ code: "IncompleteBody" });
});

test("a small body in several packets comes as one chunk", async () => {
  const url = await serve((app) =>
    app.put("/x", async (c) => {
      const sizes: number[] = [];
      for await (const chunk of c.env.requestBody!()) sizes.push(chunk.length);
      return c.text(`sizes ${sizes.join(" ")}`);
    }),
  );
  const { socket, text } = await dial(url);
  socket.write(head(7) + "abc");
  await new Promise((resolve) => setImmediate(resolve));
  socket.write("defg");
  await expect.poll(text).toContain("sizes 7");
  socket.write(head(0));
  await expect.poll(text).toMatch(/sizes $/u);
});

test("leaving a body early keeps the connection for the answer", async () => {
  const url = await serve((app) =>
    app.put("/x", async (c) => {
      for await (const chunk of c.env.requestBody!()) if (chunk.length > 0) break;
      return c.text("enough", 400);
    }),
  );
  const response = await fetch(`${url}/x`, { method: "PUT", body: Buffer.alloc(MiB) });
  expect(await response.text()).toBe("enough");
});

async function* zeros(length: number, end?: () => Promise<void>): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += 65_536) yield Buffer.alloc(Math.min(65_536, length - at));
  await end?.();
}

function answer(body: ByteStream, length: number): Response {
  return new Response(toReadable(body), { headers: { "content-length": String(length) } });
}

test.each([
  ["throws", () => Promise.reject(new Error("disk broke"))],
  ["ends short", () => Promise.resolve()],
])("a body that %s breaks the transfer", async (_name, end) => {
  const url = await serve((app) => app.get("/x", () => answer(zeros(MiB, end), 2 * MiB)));
  await expect(fetch(`${url}/x`).then((r) => r.arrayBuffer())).rejects.toThrow();
});

test("a body longer than declared is cut at the declared length, and the connection ends", async () => {
  const url = await serve((app) => app.get("/x", () => answer(zeros(2 * MiB), MiB)));
  const { socket, text, closed } = await dial(url);
  socket.write("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  await closed;
  expect(text().length - text().indexOf("\r\n\r\n") - 4).toBeLessThanOrEqual(MiB);
});

const descriptors = () => readdirSync("/proc/self/fd").length;

test("200 aborted downloads call return() and give back their descriptors", async () => {
  let opened = 0;
  let stopped = 0;
  const endless = (): ByteStream => ({
    [Symbol.asyncIterator]: () => {
      opened++;
      return {
        next: async () => ({ done: false, value: new Uint8Array(65_536) }),
        return: async () => {
          stopped++;
          return { done: true, value: undefined };
        },
      };
    },
  });
  const url = await serve((app) => app.get("/x", () => answer(endless(), 2 ** 40)));
  const before = descriptors();
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const request = httpGet(`${url}/x`, { agent: new Agent() });
        const [response] = await once(request, "response");
        await once(response, "data");
        response.destroy();
        await once(response, "close");
      }),
    );
  }
  await expect.poll(() => stopped).toBe(200);
  expect(opened).toBe(200);
  await expect.poll(descriptors).toBeLessThanOrEqual(before + 2);
});

test("startHttpServer says when the port is taken", async () => {
  const url = await serve(() => undefined);
  const port = Number(new URL(url).port);
  const second = startHttpServer({ app: new Hono(), host: "127.0.0.1", port });
  await expect(second).rejects.toThrow(`Cannot listen on 127.0.0.1:${port}: the port is taken`);
});

test("close() lets a request under way finish and ends idle connections", async () => {
  const gate = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const url = await serve((app) =>
    app.put("/x", async (c) => {
      arrived.resolve();
      await gate.promise;
      return c.text("done");
    }),
  );
  const idle = await dial(url);
  const busy = await dial(url);
  busy.socket.write(head(0));
  await arrived.promise;
  const closing = server!.close();
  await idle.closed;
  gate.resolve();
  await closing;
  await busy.closed;
  expect(busy.text()).toContain("done");
});

test("a request that stands still is answered by refuse and closed; one that is no HTTP, too", async () => {
  const app: App = new Hono();
  app.put("/x", async (c) => c.text(String(await sizeOf(c.env.requestBody!()))));
  app.onError((_, c) => c.text("cut off"));
  const refuse = (what: string) => ({ status: 400, headers: { "x-what": what }, body: "<no/>" });
  server = await startHttpServer({ app, host: "127.0.0.1", port: 0, idleMs: 200, refuse });
  for (const [sent, what] of [
    [`${head(100)}half`, "tooSlow"],
    ["no request\r\n\r\n", "malformed"],
  ] as const) {
    const { socket, text, closed } = await dial(server.url);
    socket.write(sent);
    await closed;
    expect(text()).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/u);
    expect(text()).toContain(`x-what: ${what}\r\n`);
    expect(text()).toMatch(/content-length: 5\r\n.*\r\n\r\n<no\/>$/su);
  }
});

test("what names no URL is answered by refuse, and the connection stays", async () => {
  const app: App = new Hono();
  app.get("/x", (c) => c.text("hello"));
  const refuse = (what: string) => ({ status: 400, headers: { "x-what": what }, body: "<no/>" });
  server = await startHttpServer({ app, host: "127.0.0.1", port: 0, refuse });
  for (const sent of ["/x HTTP/1.1\r\nHost: a b", "/\\..\\x HTTP/1.1\r\nHost: h", "/x HTTP/1.1"]) {
    const { socket, text, closed } = await dial(server.url);
    socket.write(`GET ${sent}\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    await closed;
    const [first, second] = text().split(/(?=HTTP)/u);
    expect(first, sent).toMatch(/^HTTP\/1.1 400 .*x-what: malformed\r\n.*<no\/>$/su);
    expect(second, sent).toMatch(/^HTTP\/1.1 200 .*hello$/su);
  }
});

test("a connection that waits for its next request too long is closed without a word", async () => {
  const app: App = new Hono();
  app.get("/x", (c) => c.text("hello"));
  const refuse = () => ({ status: 400, headers: {}, body: "<no/>" });
  server = await startHttpServer({ app, host: "127.0.0.1", port: 0, keepAliveMs: 50, refuse });
  const { socket, text, closed } = await dial(server.url);
  socket.write("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  await closed;
  expect(text()).toMatch(/hello$/u);
});
