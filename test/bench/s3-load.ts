// Signed S3 calls from many clients at one endpoint, and what they cost the processes that serve them. CPU is user and
// system time from the operating system, which depends little on what else the machine does.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { Pool } from "undici";
import { type DevFile } from "../e2e/dev-cluster.ts";

const ticksPerSecond = 100;
const hmac = (key: string | Buffer, text: string): Buffer =>
  createHmac("sha256", key).update(text).digest();

/** User and system time of a process so far, in microseconds. */
export function cpuMicros(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticksPerSecond;
}

export interface Rate {
  readonly perSecond: number;
  /** CPU microseconds of all measured processes for one operation. */
  readonly cpuUs: number;
}

/** Runs `work` in `clients` loops for a while. */
export async function measureLoad(
  pids: readonly number[],
  clients: number,
  seconds: number,
  work: (n: number) => Promise<void>,
): Promise<Rate> {
  const cpu = (): number => pids.reduce((sum, pid) => sum + cpuMicros(pid), 0);
  const before = cpu();
  const began = performance.now();
  let next = 0;
  const client = async (): Promise<void> => {
    while (performance.now() - began < seconds * 1000) await work(next++);
  };
  await Promise.all(Array.from({ length: clients }, client));
  return {
    perSecond: (next * 1000) / (performance.now() - began),
    cpuUs: (cpu() - before) / next,
  };
}

/** Requests over kept connections; signed when there are keys. Throws unless the answer is 200. */
export class S3Load {
  readonly #pool: Pool;
  readonly #host: string;
  readonly #keys: Pick<DevFile, "region" | "accessKeyId" | "secretAccessKey"> | undefined;

  constructor(endpoint: string, connections: number, keys?: DevFile) {
    this.#pool = new Pool(endpoint, { connections });
    this.#host = new URL(endpoint).host;
    this.#keys = keys;
  }

  /** Gives the number of bytes that came. */
  async call(method: "GET" | "PUT" | "HEAD", path: string, body?: Buffer): Promise<number> {
    const headers = this.#signed(method, path);
    const answer = await this.#pool.request({ method, path, headers, body: body ?? null });
    let bytes = 0;
    for await (const chunk of answer.body) bytes += (chunk as Buffer).length;
    if (answer.statusCode !== 200) throw new Error(`${method} ${path}: ${answer.statusCode}`);
    return bytes;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  #signed(method: string, path: string): Record<string, string> {
    if (!this.#keys) return {};
    const { region, accessKeyId, secretAccessKey } = this.#keys;
    const date = new Date().toISOString().replaceAll(/[-:]|\.\d+/gu, "");
    const day = date.slice(0, 8);
    const names = "host;x-amz-content-sha256;x-amz-date";
    const fields = `host:${this.#host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:${date}\n`;
    const canonical = `${method}\n${path}\n\n${fields}\n${names}\nUNSIGNED-PAYLOAD`;
    const scope = `${day}/${region}/s3/aws4_request`;
    const digest = createHash("sha256").update(canonical).digest("hex");
    const key = [region, "s3", "aws4_request"].reduce(hmac, hmac(`AWS4${secretAccessKey}`, day));
    const signature = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${digest}`).toString("hex");
    return {
      host: this.#host,
      "x-amz-date": date,
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
    };
  }
}
