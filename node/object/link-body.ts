// A staged body made of another's blocks without moving their bytes: each block gets a second id by hard links.
import { RingstowError } from "../../shared/errors.ts";
import { linkedBlocksMax, linksInFlightMax } from "../../shared/limits.ts";
import { type BodyRef } from "../../shared/records.ts";
import { type RegisterAddress } from "../index/types.ts";
import { type StagedBlock } from "./block-stager.ts";
import { type Context } from "./context.ts";
import { type Segment } from "./segments.ts";
import { type StagedBody } from "./stage-body.ts";

/**
 * Stages the whole body that `segments` make up for `owner`. undefined when links do not serve, and nothing is
 * staged: no blocks or too many, or a block that too few nodes could link. Then the bytes must be read.
 */
export async function linkBody(
  context: Context,
  owner: RegisterAddress,
  segments: AsyncIterable<Segment>,
): Promise<StagedBody | undefined> {
  const sources = await collect(segments);
  if (!sources?.some(({ kind }) => kind === "block")) return undefined;
  const staged: (StagedBlock | undefined)[] = sources.map(() => undefined);
  let next = 0;
  let failure: unknown;
  const work = async (): Promise<void> => {
    for (let i = next++; i < sources.length && failure === undefined; i = next++) {
      try {
        staged[i] = await stage(context, owner, sources[i]!);
      } catch (error) {
        failure ??= error;
      }
    }
  };
  await Promise.all(Array.from({ length: linksInFlightMax }, work));
  const blocks = staged.filter((block) => block !== undefined);
  const giveUp = async (): Promise<void> => {
    await Promise.all(blocks.map(({ block }) => context.data.discard(block)));
  };
  if (failure !== undefined) {
    context.background.run("give up linked blocks", giveUp);
    if (!(failure instanceof RingstowError)) throw failure;
    context.log.info("Blocks are copied because they could not be linked", {
      key: owner.key,
      reason: failure.message,
    });
    return undefined;
  }
  const ref: BodyRef = { kind: "blocks", blocks: blocks.map(({ block }) => block) };
  return { ref, inline: undefined, blocks, giveUp };
}

/** undefined: more than may be linked. */
async function collect(segments: AsyncIterable<Segment>): Promise<Segment[] | undefined> {
  const all: Segment[] = [];
  for await (const segment of segments) {
    if (all.length >= linkedBlocksMax) return undefined;
    all.push(segment);
  }
  return all;
}

/** A small part's bytes lie beside its register: they become a block of their own. */
async function stage(
  { data }: Context,
  owner: RegisterAddress,
  segment: Segment,
): Promise<StagedBlock> {
  if (segment.kind === "block") return data.link(segment.block, owner);
  const upload = await data.upload(owner, {});
  try {
    await upload.write(segment.bytes);
    return await upload.finish();
  } catch (error) {
    await upload.abort();
    throw error;
  }
}
