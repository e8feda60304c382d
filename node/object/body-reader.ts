// Reads a request body once: decodes it, counts and hashes it on the way, and holds it to what the client declared.
// `chunks` ends normally only after the last check, so whoever consumed it to its end may commit.
import { RingstowError, assert } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import { objectBytesMax } from "../../shared/limits.ts";
import { type BodyPlan, type ByteStream } from "../../shared/object-service.ts";
import { type Digest } from "../ports.ts";
import { type ChunkListener, decodeAwsChunked } from "./aws-chunked.ts";

export class BodyReader {
  readonly #source: ByteStream;
  readonly #plan: BodyPlan;
  readonly #digest: Digest;
  #length = 0;
  #etag: string | undefined;

  /** Throws EntityTooLarge when the declared length is above 5 GiB. `listener` hears of an aws-chunked framing. */
  constructor(source: ByteStream, plan: BodyPlan, digest: Digest, listener?: ChunkListener) {
    if (plan.length !== undefined && plan.length > objectBytesMax) throw tooLarge();
    this.#source = plan.encoding === "aws-chunked" ? decodeAwsChunked(source, listener) : source;
    this.#plan = plan;
    this.#digest = digest;
  }

  /** Bytes of the decoded body so far. */
  get length(): number {
    return this.#length;
  }

  /** Hex MD5 of the body; known once `chunks` has ended. */
  get etag(): string {
    assert(this.#etag !== undefined, "the body is read before its ETag is asked for");
    return this.#etag;
  }

  /**
   * The decoded body, to be consumed once. Throws EntityTooLarge, IncompleteBody, MalformedBody,
   * ContentDigestMismatch or ContentSha256Mismatch.
   */
  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    const md5 = this.#digest.start("md5");
    const sha256 = this.#plan.sha256 === undefined ? undefined : this.#digest.start("sha256");
    const declared = this.#plan.length;
    for await (const chunk of this.#source) {
      if (chunk.length === 0) continue;
      this.#length += chunk.length;
      if (declared !== undefined && this.#length > declared) {
        throw new RingstowError(
          "IncompleteBody",
          `Cannot store the body: it is longer than the ${declared} bytes declared`,
        );
      }
      if (this.#length > objectBytesMax) throw tooLarge();
      md5.update(chunk);
      sha256?.update(chunk);
      yield chunk;
    }
    if (declared !== undefined && this.#length < declared) {
      throw new RingstowError(
        "IncompleteBody",
        `Cannot store the body: it ended after ${this.#length} of ${declared} bytes`,
      );
    }
    const etag = toHex(md5.digest());
    if (this.#plan.md5 !== undefined && this.#plan.md5 !== etag) {
      throw new RingstowError("ContentDigestMismatch");
    }
    if (sha256 && toHex(sha256.digest()) !== this.#plan.sha256) {
      throw new RingstowError("ContentSha256Mismatch");
    }
    this.#etag = etag;
  }
}

function tooLarge(): RingstowError {
  return new RingstowError(
    "EntityTooLarge",
    `Cannot store the body: it is larger than ${objectBytesMax} bytes`,
    { maximum: String(objectBytesMax) },
  );
}
