// Serves the stream "data.write": a node in the middle or at the end of a pipeline.
// Order rule: "durable" is sent only after seal() resolved (own-copies.ts). What breaks before the other side's
// end() leaves nothing here; what was sealed stays staged until its owner is asked.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { pipelineIdleMs, pipelineWritesMax } from "../../shared/limits.ts";
import {
  type CopyReport,
  type WriteHeader,
  writeHeaderSchema,
} from "../../shared/protocol/data.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type Peers } from "../peers.ts";
import { type Clock, type PeerStream } from "../ports.ts";
import { ForwardLine } from "./forward-line.ts";
import { type OwnCopies, type OwnCopy } from "./own-copies.ts";
import { Station } from "./station.ts";
import { reasonOf, within } from "./within.ts";

export interface PipelineServerDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly peers: Peers;
  readonly copies: OwnCopies;
  /** The disk refused a new block. */
  onRefused(): void;
}

const encoder = new TextEncoder();

export class PipelineServer {
  readonly #deps: PipelineServerDeps;
  #serving = 0;

  constructor(deps: PipelineServerDeps) {
    this.#deps = deps;
  }

  async serve(rawHeader: unknown, stream: PeerStream): Promise<void> {
    if (this.#serving >= pipelineWritesMax)
      throw new RingstowError("SlowDown", "Cannot take a block: too many are being written");
    this.#serving++;
    try {
      await this.#serve(rawHeader, stream);
    } finally {
      this.#serving--;
    }
  }

  async #serve(rawHeader: unknown, stream: PeerStream): Promise<void> {
    const parsed = writeHeaderSchema.safeParse(rawHeader);
    if (!parsed.success)
      throw new RingstowError("InvalidRequest", "Cannot take a block: the header is malformed");
    const { next, ...header } = parsed.data;
    const { self, clock, peers } = this.#deps;
    const reports = new ReportSender(stream);
    const report = (what: CopyReport): void => reports.send(what);
    const line =
      next.length > 0
        ? ForwardLine.start({ peers, clock, header, targets: next, report })
        : undefined;
    const own = await this.#startOwn(parsed.data, report);
    const station = new Station({ self, own, line, report });
    try {
      for (;;) {
        const chunk = await within(clock, pipelineIdleMs, "take a block", stream.receive());
        if (chunk === undefined) break;
        await station.write(chunk);
        giveChunk(chunk);
      }
    } catch (error) {
      await station.abort(reasonOf(error));
      throw error;
    }
    await station.finish();
    await reports.flushed();
    stream.end();
  }

  /** A node without room still forwards: the nodes behind it may have some. */
  async #startOwn(
    header: WriteHeader,
    report: (what: CopyReport) => void,
  ): Promise<OwnCopy | undefined> {
    const { block, owner, attempt } = header;
    try {
      return await this.#deps.copies.start(block, owner as RegisterAddress, attempt);
    } catch (error) {
      if (error instanceof RingstowError && error.code === "DiskFull") this.#deps.onRefused();
      report({ type: "failed", node: this.#deps.self, blame: true, reason: reasonOf(error) });
      return undefined;
    }
  }
}

/** Sends reports one after another; at most one a node of the line waits. */
class ReportSender {
  readonly #stream: PeerStream;
  #last: Promise<void> = Promise.resolve();

  constructor(stream: PeerStream) {
    this.#stream = stream;
  }

  send(report: CopyReport): void {
    const bytes = encoder.encode(JSON.stringify(report));
    // When the stream is gone, whoever reads it learns that the line broke: nothing else is to be told.
    this.#last = this.#last.then(() => this.#stream.send(bytes)).catch(() => {});
  }

  flushed(): Promise<void> {
    return this.#last;
  }
}
