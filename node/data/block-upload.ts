// One block on its way to its copies, as its coordinator sees it.
// Invariant: finish() answers only copies whose nodes reported them durable. A copy that failed or was not heard of
// is never named, and its node is told to give it up, by the attempt that may have made it: so a message that
// arrives late cannot remove a copy that a repair put there afterwards.
import { giveChunk } from "../../shared/chunk-memory.ts";
import { assert, RingstowError } from "../../shared/errors.ts";
import { type BlockId, type NodeId } from "../../shared/ids.ts";
import {
  blockBytesMax,
  replaceDeadlineMs,
  replaceRoundsMax,
  writeGraceMs,
} from "../../shared/limits.ts";
import { type CopyReport, type Place } from "../../shared/protocol/data.ts";
import { type BlockRef, type Pointer } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { ChunkGatherer } from "./chunk-gatherer.ts";
import { CopyTally } from "./copy-tally.ts";
import { ForwardLine } from "./forward-line.ts";
import { type OwnCopy } from "./own-copies.ts";
import { type PipelineWriter } from "./pipeline-writer.ts";
import { Station } from "./station.ts";
import { type BlockUpload } from "./types.ts";
import { reasonOf } from "./within.ts";

export interface UploadPlan {
  readonly block: BlockId;
  readonly owner: RegisterAddress;
  readonly attempt: string;
  readonly wanted: number;
  readonly quorum: number;
  readonly avoid: ReadonlySet<NodeId>;
  readonly own: OwnCopy | undefined;
  readonly places: readonly Place[];
}

/** Version of the bytes of a block that was written in one go. */
const FIRST_VERSION = 1;

export class BlockUploading implements BlockUpload {
  readonly #writer: PipelineWriter;
  readonly #plan: UploadPlan;
  readonly #tally = new CopyTally();
  readonly #station: Station;
  readonly #attempts: string[];
  readonly #gatherer = new ChunkGatherer();
  #size = 0;
  #state: "open" | "finishing" | "finished" | "aborted" = "open";
  #aborting: Promise<void> | undefined;
  #stopped = false;
  /** No copy will become durable any more. */
  #over = false;
  /** The line to replacement nodes, while there is one. */
  #replacing: ForwardLine | undefined;

  constructor(writer: PipelineWriter, plan: UploadPlan) {
    this.#writer = writer;
    this.#plan = plan;
    this.#attempts = [plan.attempt];
    const { self } = writer.deps;
    this.#expect([...(plan.own ? [self] : []), ...plan.places.map((place) => place.node)]);
    const line = plan.places.length > 0 ? this.#startLine(plan.places, plan.attempt) : undefined;
    this.#station = new Station({ self, own: plan.own, line, report: (what) => this.#hear(what) });
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#state !== "open") throw this.#gaveUp();
    for (const ready of this.#gatherer.push(chunk)) await this.#put(ready);
  }

  async finish(): Promise<{ block: BlockRef; late: Promise<readonly Pointer[]> }> {
    if (this.#state !== "open") throw this.#gaveUp();
    this.#state = "finishing";
    try {
      for (const ready of this.#gatherer.flush()) await this.#put(ready);
    } catch (error) {
      await this.abort();
      throw error;
    }
    const lineEnded = this.#station.finish();
    const completed = this.#complete(lineEnded);
    this.#writer.deps.background(completed);
    const { quorum } = this.#plan;
    await this.#tally.until(() => this.#over || this.#tally.durable.length >= quorum);
    if (this.#tally.durable.length >= quorum) await this.#graceFor(lineEnded);
    // The state is read again: abort() may have come in between.
    if ((this.#state as string) === "aborted") throw this.#gaveUp();
    if (this.#tally.durable.length < quorum) {
      const reasons = Object.fromEntries(this.#tally.reasons);
      await this.abort();
      throw new RingstowError(
        "Unavailable",
        `Cannot write a block: ${quorum} durable copies are needed`,
        reasons,
      );
    }
    this.#state = "finished";
    const block = this.#blockRef();
    const named = new Set(block.replicas.map((replica) => replica.node));
    const late = completed.then(() =>
      this.#blockRef().replicas.filter((replica) => !named.has(replica.node)),
    );
    return { block, late };
  }

  abort(): Promise<void> {
    // finish() has won: the copies are the caller's now, who has discard() for them.
    if (this.#state === "finished") return Promise.resolve();
    this.#aborting ??= this.#abort();
    return this.#aborting;
  }

  get block(): BlockId {
    return this.#plan.block;
  }

  /** Nodes that may hold a copy by now. */
  tried(): NodeId[] {
    return [...new Set([...this.#tally.durable, ...this.#tally.reasons.keys()])];
  }

  /** What is under way ends, what finish() answered stays. */
  async stop(): Promise<void> {
    if (this.#state !== "finished") return this.abort();
    this.#stopped = true;
    this.#replacing?.drop("no more copies are wanted");
    await this.#station.abort("no more copies are wanted");
  }

  async #abort(): Promise<void> {
    const mayBeSealed = this.#state === "finishing";
    this.#state = "aborted";
    this.#replacing?.drop("the upload was given up");
    await this.#station.abort("the upload was given up");
    // Before the end was sent nobody can have sealed: the broken line is enough.
    if (mayBeSealed) await this.#writer.discard(this.#plan.block, this.tried());
    this.#end();
  }

  async #put(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    assert(this.#size <= blockBytesMax, "a block has at most blockBytesMax bytes");
    await this.#station.write(chunk);
  }

  /** Waits for the line, but not longer than the grace. */
  async #graceFor(lineEnded: Promise<void>): Promise<void> {
    const { clock } = this.#writer.deps;
    await new Promise<void>((resolve) => {
      const timer = clock.after(writeGraceMs, resolve);
      void lineEnded.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Waits for the first line, then sends the block again from a durable copy for those that failed. Never rejects. */
  async #complete(lineEnded: Promise<void>): Promise<void> {
    const { clock, log } = this.#writer.deps;
    const deadlineMs = clock.monotonicMs() + replaceDeadlineMs;
    await lineEnded;
    for (let round = 0; round < replaceRoundsMax && this.#lacksCopies(); round++) {
      if (clock.monotonicMs() >= deadlineMs) break;
      try {
        if (!(await this.#replace(deadlineMs))) break;
      } catch (error) {
        log.warn("A block could not be sent again", {
          block: this.#plan.block,
          reason: reasonOf(error),
        });
      }
    }
    this.#over = true;
    this.#tally.wake();
    if (this.#state === "aborted" || this.#tally.durable.length < this.#plan.quorum) return;
    this.#writer.deps.background(
      this.#writer.discard(this.#plan.block, this.#tally.unknown(), this.#attempts),
    );
    this.#end();
  }

  #lacksCopies(): boolean {
    const durable = this.#tally.durable.length;
    const ended = this.#stopped || this.#state === "aborted";
    return !ended && durable > 0 && durable < this.#plan.wanted;
  }

  /** One round of replacement; false when there is no node left to ask. */
  async #replace(deadlineMs: number): Promise<boolean> {
    const { clock, reader, self } = this.#writer.deps;
    const { wanted, quorum, avoid } = this.#plan;
    const { durable, blamed } = this.#tally;
    const targets = this.#writer.choose({
      count: wanted - durable.length,
      enough: Math.max(0, quorum - durable.length),
      exclude: new Set([...durable, ...blamed, self]),
      avoid,
      having: durable,
    });
    if (targets.length === 0) return false;
    const attempt = this.#writer.newAttempt();
    this.#attempts.push(attempt);
    this.#expect(targets.map((member) => member.id));
    const places = targets.map((member) => ({ node: member.id, address: member.peerAddress }));
    const line = this.#startLine(places, attempt);
    this.#replacing = line;
    const timer = clock.after(deadlineMs - clock.monotonicMs(), () =>
      line.drop("the time for replacement copies is over"),
    );
    try {
      for await (const chunk of reader.read(this.#blockRef(), 0, this.#size)) {
        await line.send(chunk);
        giveChunk(chunk);
        if (!line.alive) break;
      }
      await line.end();
    } catch (error) {
      line.drop(reasonOf(error));
    }
    await line.settled;
    timer.cancel();
    this.#replacing = undefined;
    return true;
  }

  #startLine(targets: readonly Place[], attempt: string): ForwardLine {
    const { peers, clock, route } = this.#writer.deps;
    const { block, owner } = this.#plan;
    return ForwardLine.start({
      peers,
      clock,
      header: { block, owner, attempt },
      targets,
      report: (what) => this.#hear(what),
      onUnreachable: (node) => route.observed(node, false),
    });
  }

  #expect(nodes: readonly NodeId[]): void {
    this.#tally.expect(nodes);
    for (const node of nodes) this.#writer.loadChanged(node, 1);
  }

  #hear(report: CopyReport): void {
    const { failures, log } = this.#writer.deps;
    this.#writer.loadChanged(report.node, -1);
    if (report.type === "failed" && this.#state !== "aborted") {
      if (report.blame) failures.note(report.node);
      log.warn("A copy failed", { block: this.#plan.block, ...report });
    }
    this.#tally.report(report);
  }

  #blockRef(): BlockRef {
    const replicas = this.#tally.durable.map((node) => ({ node, version: FIRST_VERSION }));
    return { id: this.#plan.block, size: this.#size, replicas };
  }

  #gaveUp(): RingstowError {
    return new RingstowError("Unavailable", "Cannot write a block: it was given up");
  }

  #end(): void {
    this.#writer.ended(this);
  }
}
