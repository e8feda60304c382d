// The way from one node to the rest of a pipeline: one stream to the first of them that opens, which forwards to
// the others. Invariant: every target is reported exactly once, durable or failed; `settled` resolves after the last.
import { type NodeId } from "../../shared/ids.ts";
import {
  copyDurableTimeoutMs,
  forwardStallMs,
  forwardStallPerHopMs,
  pipelineOpenTimeoutMs,
} from "../../shared/limits.ts";
import {
  copyReportSchema,
  type CopyReport,
  type Place,
  type WriteHeader,
} from "../../shared/protocol/data.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type PeerStream, type Timer, TransportError } from "../ports.ts";
import { reasonOf, within } from "./within.ts";

export type Reporter = (report: CopyReport) => void;

export interface LineOptions {
  readonly peers: Peers;
  readonly clock: Clock;
  readonly header: Omit<WriteHeader, "next">;
  readonly targets: readonly Place[];
  readonly report: Reporter;
  /** A target did not open, or took no bytes: a hint for the failure detector. */
  readonly onUnreachable?: ((node: NodeId) => void) | undefined;
}

const decoder = new TextDecoder();

export class ForwardLine {
  /** Resolves when every target has been reported. */
  readonly settled: Promise<void>;
  readonly #options: LineOptions;
  readonly #waiting = new Set<NodeId>();
  readonly #opened: Promise<PeerStream | undefined>;
  #settle: () => void = () => {};
  #stream: PeerStream | undefined;
  /** The node at the other end of the stream: to blame when it breaks. */
  #first: NodeId | undefined;
  #hops = 0;
  #state: "sending" | "ended" | "over" = "sending";
  #timer: Timer | undefined;

  private constructor(options: LineOptions) {
    this.#options = options;
    for (const target of options.targets) this.#waiting.add(target.node);
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#opened = this.#open();
  }

  /** Starts to open; the first send() waits for it. */
  static start(options: LineOptions): ForwardLine {
    return new ForwardLine(options);
  }

  /** Whether bytes can still reach anyone. */
  get alive(): boolean {
    return this.#state !== "over";
  }

  /** Resolves when the next chunk can follow, or the line is over. Never rejects, never waits longer than the stall limit. */
  async send(chunk: Uint8Array): Promise<void> {
    if (this.#state !== "sending") return;
    const stream = this.#stream ?? (await this.#opened);
    if (!stream || this.#state !== "sending") return;
    const limitMs = forwardStallMs + this.#hops * forwardStallPerHopMs;
    try {
      await within(this.#options.clock, limitMs, "forward a chunk", stream.send(chunk));
    } catch (error) {
      this.#hint(error);
      this.drop(reasonOf(error));
    }
  }

  /** No more bytes: from now on the copies have a limited time to become durable. */
  async end(): Promise<void> {
    const stream = this.#stream ?? (await this.#opened);
    if (!stream || this.#state !== "sending") return;
    this.#state = "ended";
    stream.end();
    this.#timer = this.#options.clock.after(
      copyDurableTimeoutMs + this.#hops * forwardStallPerHopMs,
      () => this.drop("no copy became durable in time"),
    );
  }

  /** Breaks the line: nodes behind it remove what they have, unless they have sealed it already. */
  drop(reason: string): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#timer?.cancel();
    this.#stream?.reset(reason);
    const left = [...this.#waiting];
    this.#waiting.clear();
    for (const node of left)
      this.#options.report({ type: "failed", node, blame: node === this.#first, reason });
    this.#settle();
  }

  async #open(): Promise<PeerStream | undefined> {
    const { peers, header, targets } = this.#options;
    for (let i = 0; i < targets.length && this.#state === "sending"; i++) {
      const { node, address } = targets[i]!;
      const next = targets.slice(i + 1);
      this.#first = node;
      this.#hops = next.length;
      try {
        const stream = await peers.open(
          { address, id: node },
          "data.write",
          { ...header, next },
          pipelineOpenTimeoutMs,
        );
        if (this.#state !== "sending") {
          stream.reset("the line was given up");
          return undefined;
        }
        this.#stream = stream;
        void this.#listen(stream);
        return stream;
      } catch (error) {
        this.#hint(error);
        this.#take({ type: "failed", node, blame: true, reason: reasonOf(error) });
      }
    }
    this.drop("no node of the line could be reached");
    return undefined;
  }

  async #listen(stream: PeerStream): Promise<void> {
    try {
      for (;;) {
        const message = await stream.receive();
        if (message === undefined) break;
        this.#take(copyReportSchema.parse(JSON.parse(decoder.decode(message))));
      }
      this.drop("the line ended without a report");
    } catch (error) {
      this.drop(reasonOf(error));
    }
  }

  #hint(error: unknown): void {
    if (this.#state === "over" || this.#first === undefined) return;
    if (error instanceof TransportError && error.failure !== "closed")
      this.#options.onUnreachable?.(this.#first);
  }

  #take(report: CopyReport): void {
    if (!this.#waiting.delete(report.node)) return;
    this.#options.report(report);
    if (this.#waiting.size > 0 || this.#state === "over") return;
    if (this.#state === "ended") {
      this.#state = "over";
      this.#timer?.cancel();
      this.#settle();
    } else this.drop("no copy is left on the line"); // all failed while bytes were still to come
  }
}
