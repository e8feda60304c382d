// Reads a request body once: decodes it, counts and hashes it on the way (one pass an algorithm, none that nobody
// declared), and holds it to what the client declared. `chunks` ends normally only after the last check, so whoever
// consumed it to its end may commit.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { RingstowError, assert } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import { objectBytesMax } from "../../shared/limits.ts";
import { type BodyPlan, type ByteStream } from "../../shared/object-service.ts";
import { type Checksum, type ChecksumAlgorithm } from "../../shared/records.ts";
import { type Digest, type Hasher } from "../ports.ts";
import { decodeAwsChunked } from "./aws-chunked.ts";
import { checkShape, findAlgorithm, toBase64, trailerOf } from "./checksums.ts";
import { ChunkVerifier, trailerSignatureName } from "./chunk-verifier.ts";

export interface BodyReaderOptions {
  /** Opens the plan's sealed signing key; needed when chunks are signed. */
  readonly hopSecret?: Uint8Array | undefined;
  /** The checksum to compute when the client declared none. */
  readonly checksum?: ChecksumAlgorithm | undefined;
}

interface Hashers {
  readonly md5: Hasher;
  readonly sha256: Hasher | undefined;
  /** The same hasher as `sha256` when that is the algorithm of both. */
  readonly checksum: Hasher | undefined;
}

export class BodyReader {
  readonly #source: ByteStream;
  readonly #plan: BodyPlan;
  readonly #digest: Digest;
  readonly #algorithm: ChecksumAlgorithm | undefined;
  readonly #verifier: ChunkVerifier | undefined;
  /** What the client says of the body: in the header, the trailer, or both. */
  readonly #claims: string[] = [];
  #length = 0;
  #etag: string | undefined;
  #checksum: Checksum | undefined;

  /**
   * Throws EntityTooLarge when the declared length is above 5 GiB, InvalidRequest when the plan's checksum cannot be
   * one, AccessDenied when its signing key does not open.
   */
  constructor(
    source: ByteStream,
    plan: BodyPlan,
    digest: Digest,
    { hopSecret, checksum }: BodyReaderOptions = {},
  ) {
    if (plan.length !== undefined && plan.length > objectBytesMax) throw tooLarge();
    this.#plan = plan;
    this.#digest = digest;
    this.#algorithm = declaredAlgorithm(plan) ?? checksum;
    const value = plan.checksum?.value;
    if (plan.checksum && value !== undefined) {
      checkShape(plan.checksum.algorithm, value);
      this.#claims.push(value);
    }
    if (plan.signing) {
      assert(hopSecret !== undefined, "a reader of signed chunks has the hop's secret");
      assert(plan.encoding === "aws-chunked", "only chunks are signed");
      this.#verifier = new ChunkVerifier(plan.signing, hopSecret, digest);
    }
    this.#source = plan.encoding === "aws-chunked" ? this.#decoded(source) : source;
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

  /** Verified; known once `chunks` has ended, undefined when none was declared or asked for. */
  get checksum(): Checksum | undefined {
    assert(this.#etag !== undefined, "the body is read before its checksum is asked for");
    return this.#checksum;
  }

  /**
   * The decoded body, to be consumed once; a chunk is valid until the next is asked for. Throws EntityTooLarge, IncompleteBody, MalformedBody, MalformedTrailer,
   * ChunkSignatureMismatch, ContentDigestMismatch, ContentSha256Mismatch, ChecksumMismatch or InvalidRequest.
   */
  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    const hashers = this.#startHashers();
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
      hashers.md5.update(chunk);
      hashers.sha256?.update(chunk);
      if (hashers.checksum !== hashers.sha256) hashers.checksum?.update(chunk);
      yield chunk;
      // Of an encoded body these are views of the source's chunks, which the decoder gives back.
      if (this.#plan.encoding === "plain") giveChunk(chunk);
    }
    if (declared !== undefined && this.#length < declared) {
      throw new RingstowError(
        "IncompleteBody",
        `Cannot store the body: it ended after ${this.#length} of ${declared} bytes`,
      );
    }
    this.#finish(hashers);
  }

  #startHashers(): Hashers {
    const algorithm = this.#algorithm;
    const sha256 = this.#plan.sha256 === undefined ? undefined : this.#digest.start("sha256");
    const shared = algorithm === "sha256" ? sha256 : undefined;
    const checksum = shared ?? (algorithm && this.#digest.start(algorithm));
    return { md5: this.#digest.start("md5"), sha256, checksum };
  }

  #finish(hashers: Hashers): void {
    const etag = toHex(hashers.md5.digest());
    if (this.#plan.md5 !== undefined && this.#plan.md5 !== etag) {
      throw new RingstowError("ContentDigestMismatch");
    }
    const sha256 = hashers.sha256?.digest();
    if (sha256 && toHex(sha256) !== this.#plan.sha256) {
      throw new RingstowError("ContentSha256Mismatch");
    }
    if (this.#algorithm && hashers.checksum) {
      const shared = hashers.checksum === hashers.sha256 ? sha256 : undefined;
      const value = toBase64(shared ?? hashers.checksum.digest());
      if (this.#claims.some((claim) => claim !== value)) {
        throw new RingstowError("ChecksumMismatch", undefined, { algorithm: this.#algorithm });
      }
      this.#checksum = { algorithm: this.#algorithm, type: "full", value };
    }
    this.#etag = etag;
  }

  #decoded(source: ByteStream): ByteStream {
    const verifier = this.#verifier;
    return decodeAwsChunked(source, {
      chunk: (size, signature) => verifier?.begin(size, signature),
      data: (bytes) => verifier?.data(bytes),
      trailers: (trailers) => this.#takeTrailers(trailers),
    });
  }

  #takeTrailers(trailers: ReadonlyMap<string, string>): void {
    const declared = this.#plan.trailers ?? [];
    const signed = [...trailers].filter(([name]) => name !== trailerSignatureName);
    for (const [name] of signed) {
      if (!declared.includes(name)) throw badTrailer(`"${name}" was not declared`);
    }
    for (const name of declared) {
      if (!trailers.has(name)) throw badTrailer(`"${name}" was declared and is missing`);
    }
    const signature = trailers.get(trailerSignatureName);
    if (this.#verifier && signature !== undefined) this.#verifier.trailer(signed, signature);
    else if (this.#verifier && declared.length > 0) throw badTrailer("its signature is missing");

    const algorithm = this.#algorithm;
    const value = algorithm && trailers.get(trailerOf(algorithm));
    if (algorithm && value !== undefined) {
      checkShape(algorithm, value);
      this.#claims.push(value);
    }
  }
}

/** The algorithm that header or trailers of a request name. Throws InvalidRequest when they name several, or no value. */
export function declaredAlgorithm(plan: BodyPlan): ChecksumAlgorithm | undefined {
  const { checksum, trailers = [] } = plan;
  const named = new Set(trailers.flatMap((name) => findAlgorithm(name) ?? []));
  if (checksum && checksum.value === undefined && !named.has(checksum.algorithm)) {
    throw new RingstowError(
      "InvalidRequest",
      `Cannot store the body: neither a header nor a declared trailer brings its ${checksum.algorithm} checksum`,
    );
  }
  if (checksum) named.add(checksum.algorithm);
  if (named.size > 1) {
    throw new RingstowError(
      "InvalidRequest",
      "Expecting a single x-amz-checksum- header: several checksum types are not allowed",
    );
  }
  const [only] = named;
  if (only && plan.encoding === "plain" && checksum?.value === undefined) {
    throw badTrailer("a body that is not aws-chunked has none");
  }
  return only;
}

function badTrailer(reason: string): RingstowError {
  return new RingstowError("MalformedTrailer", `Cannot accept the body's trailer: ${reason}`);
}

function tooLarge(): RingstowError {
  return new RingstowError(
    "EntityTooLarge",
    `Cannot store the body: it is larger than ${objectBytesMax} bytes`,
    { maximum: String(objectBytesMax) },
  );
}
