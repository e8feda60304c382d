// The body of an upload as the service reads it: never ends short in silence.
import { RingstowError } from "../shared/errors.ts";
import { type ByteStream } from "../shared/object-service.ts";

/** Opens the request's body at the first read. Throws IncompleteBody when fewer bytes came than were declared. */
export class UploadBody implements ByteStream {
  readonly #open: () => ByteStream;
  readonly #declared: number | undefined;

  constructor(open: () => ByteStream, declared: number | undefined) {
    this.#open = open;
    this.#declared = declared;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    let inner: AsyncIterator<Uint8Array> | undefined;
    let bytes = 0;
    return {
      next: async () => {
        inner ??= this.#open()[Symbol.asyncIterator]();
        const step = await inner.next().catch((error: unknown) => {
          throw error instanceof RingstowError ? error : incomplete(bytes, this.#declared);
        });
        if (!step.done) bytes += step.value.length;
        else if (this.#declared !== undefined && bytes < this.#declared)
          throw incomplete(bytes, this.#declared);
        return step;
      },
      return: async () => {
        await inner?.return?.();
        return { done: true, value: undefined };
      },
    };
  }
}

function incomplete(bytes: number, declared: number | undefined): RingstowError {
  const wanted = declared === undefined ? "its end" : `the declared ${declared}`;
  return new RingstowError(
    "IncompleteBody",
    `Cannot read the body: ${bytes} bytes came, not ${wanted}`,
  );
}
