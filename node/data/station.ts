// One node's place in a pipeline: writes its own copy, if it makes one, while it forwards to the next. The failure
// of either does not stop the other. Holds one chunk at a time: the window of the forward stream is the only buffer.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { type ForwardLine, type Reporter } from "./forward-line.ts";
import { type OwnCopy } from "./own-copies.ts";
import { reasonOf } from "./within.ts";

export interface StationParts {
  readonly self: NodeId;
  readonly own: OwnCopy | undefined;
  readonly line: ForwardLine | undefined;
  /** Hears of the own copy; the line reports its copies itself. */
  readonly report: Reporter;
}

export class Station {
  readonly #parts: StationParts;
  #own: OwnCopy | undefined;
  #sealing: Promise<void> | undefined;

  constructor(parts: StationParts) {
    this.#parts = parts;
    this.#own = parts.own;
  }

  /** Resolves when the next chunk can follow. Throws Unavailable when no copy can be written any more. */
  async write(chunk: Uint8Array): Promise<void> {
    const { line } = this.#parts;
    await Promise.all([this.#writeOwn(chunk), line?.send(chunk)]);
    // Without an own copy there is nothing left to send again from: only the client has the bytes.
    if (!this.#own && !line?.alive)
      throw new RingstowError("Unavailable", "Cannot write the block: no copy is left");
  }

  /** All bytes are there. Resolves when every copy has been reported. */
  async finish(): Promise<void> {
    const { line } = this.#parts;
    this.#sealing ??= this.#sealOwn();
    await Promise.all([this.#sealing, line?.end().then(() => line.settled)]);
  }

  /** Gives up the own copy and breaks the line. Resolves when the own copy is gone. */
  async abort(reason: string): Promise<void> {
    this.#parts.line?.drop(reason);
    await this.#failOwn(reason, false);
    await this.#sealing;
  }

  async #writeOwn(chunk: Uint8Array): Promise<void> {
    try {
      await this.#own?.write(chunk);
    } catch (error) {
      await this.#failOwn(reasonOf(error), true);
    }
  }

  async #sealOwn(): Promise<void> {
    const own = this.#own;
    if (!own) return;
    try {
      await own.seal();
    } catch (error) {
      await this.#failOwn(reasonOf(error), true);
      return;
    }
    if (!this.#own) return; // given up meanwhile, and reported
    this.#own = undefined;
    this.#parts.report({ type: "durable", node: this.#parts.self });
  }

  async #failOwn(reason: string, blame: boolean): Promise<void> {
    const own = this.#own;
    if (!own) return;
    this.#own = undefined;
    this.#parts.report({ type: "failed", node: this.#parts.self, blame, reason });
    await own.abort();
  }
}
