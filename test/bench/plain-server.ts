// The yardstick beside Ringstow's numbers: node:http alone in a process of its own. GET /N answers N bytes; PUT writes
// the body to a file in the folder of the first argument, with MD5, and with fsync when the path is /synced.
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const folder = process.argv[2]!;
const big = join(folder, "big");
await writeFile(big, Buffer.alloc(64 * 1024 * 1024, 7));
const small = await readFile(big).then((bytes) => bytes.subarray(0, 4096));

async function put(request: IncomingMessage): Promise<void> {
  const file = join(folder, randomUUID());
  const md5 = createHash("md5");
  async function* hashed(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      md5.update(chunk);
      yield chunk;
    }
  }
  if (request.url === "/synced") {
    const handle = await open(file, "w");
    for await (const chunk of hashed(request)) await handle.write(chunk);
    await handle.datasync();
    await handle.close();
  } else await pipeline(hashed(request), createWriteStream(file));
  md5.digest("hex");
  await rm(file);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "PUT") {
    await put(request);
    response.end();
  } else if (request.url === "/big")
    await pipeline(createReadStream(big, { highWaterMark: 1024 * 1024 }), response);
  else response.end(small);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => response.destroy(error as Error));
});
server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port));
