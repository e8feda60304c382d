// Puts a request body where a commit can name it: beside the register when it is small, into blocks when it is not.
// Nothing is committed before the last byte passed its checks, and nothing staged stays behind a refused commit.
import { RingstowError, type ErrorCode } from "../../shared/errors.ts";
import { inlineBytesMax } from "../../shared/limits.ts";
import { type BodyRef } from "../../shared/records.ts";
import {
  type ExecuteOptions,
  type RegisterAddress,
  type RegisterOperation,
  type RegisterResult,
} from "../index/types.ts";
import { BlockStager, type StagedBlock } from "./block-stager.ts";
import { type BodyReader } from "./body-reader.ts";
import { type Context, freshRequestId } from "./context.ts";
import { lockedWrite } from "./locked-write.ts";

export interface StagedBody {
  readonly ref: BodyRef;
  /** The bytes when they go beside the register. */
  readonly inline: Uint8Array | undefined;
  readonly blocks: readonly StagedBlock[];
  giveUp(): Promise<void>;
}

/** Reads a body to its end. Throws the reader's errors, or what kept a block from being staged. */
export async function stageBody(
  context: Context,
  owner: RegisterAddress,
  reader: BodyReader,
): Promise<StagedBody> {
  const head: Uint8Array[] = [];
  let stager: BlockStager | undefined;
  try {
    for await (const chunk of reader.chunks()) {
      if (!stager) {
        if (reader.length <= inlineBytesMax) {
          head.push(chunk.slice()); // the source may use its buffer again
          continue;
        }
        stager = new BlockStager(context.data, owner);
        for (const early of head.splice(0)) await stager.write(early);
      }
      await stager.write(chunk);
    }
    if (!stager) return inlineBody(head, reader.length);
    const blocks = await stager.finish();
    const ref: BodyRef = { kind: "blocks", blocks: blocks.map(({ block }) => block) };
    return { ref, inline: undefined, blocks, giveUp: stager.giveUp.bind(stager) };
  } catch (error) {
    const staged = stager;
    if (staged) context.background.run("give up staged blocks", () => staged.giveUp());
    throw error;
  }
}

function inlineBody(pieces: readonly Uint8Array[], length: number): StagedBody {
  const inline = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    inline.set(piece, at);
    at += piece.length;
  }
  return { ref: { kind: "inline" }, inline, blocks: [], giveUp: () => Promise.resolve() };
}

/** Refusals: the operation certainly did not happen. After any other failure its outcome is unknown. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  "PreconditionFailed",
  "NoSuchKey",
  "NoSuchBucket",
  "NoSuchUpload",
  "BlockDisowned",
  "InvalidRequest",
]);

export function isRefusal(error: unknown): boolean {
  return error instanceof RingstowError && REFUSALS.has(error.code);
}

/**
 * Runs the operation that names a staged body. When it is refused the staged blocks are given up; when its outcome is
 * unknown they are not, because it may have happened: their leases ask the register later. Copies that become durable
 * afterwards are told to the register in the background.
 */
export async function commitStaged(
  context: Context,
  at: RegisterAddress,
  operation: RegisterOperation,
  staged: StagedBody,
  { requestId, again }: Pick<ExecuteOptions, "requestId" | "again">,
): Promise<RegisterResult> {
  let result: RegisterResult;
  try {
    result = await lockedWrite(context, at, operation, { requestId, again, body: staged.inline });
  } catch (error) {
    if (isRefusal(error)) context.background.run("give up staged blocks", staged.giveUp);
    throw error;
  }
  for (const { block, late } of staged.blocks) {
    void late.then((pointers) => {
      for (const { node } of pointers) {
        context.background.run("add a late pointer", () =>
          context.index.execute(
            at,
            { type: "addPointer", block: block.id, node },
            { requestId: freshRequestId(context) },
          ),
        );
      }
    });
  }
  return result;
}
