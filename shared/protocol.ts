// The one table of calls and streams between nodes: name -> schemas of request and reply. The carrier does not
// know it. PROTOCOL_VERSION grows with every change of a shape; test/unit/protocol.test.ts hashes the schemas.
import type * as z from "zod/mini";
import { dataCalls } from "./protocol/data.ts";
import { indexCalls } from "./protocol/index-calls.ts";
import { nodeCalls } from "./protocol/node.ts";
import { routeCalls } from "./protocol/route.ts";

/**
 * History, one line a version:
 * 1: first.
 * 2: links, pulls and drafts of blocks.
 * 3: changes of views; short member news, tables compared by one hash; repair of blocks.
 * 4: members of a new view tell its first one what they promised.
 * 5: who orders a bulk copy tells what there is to copy.
 * 6: a leader hands over to the next view while it serves.
 * 7: an operator's order tells what becomes of slices that nobody holds, and who sees to them.
 */
export const PROTOCOL_VERSION = 7;

export interface CallSchema {
  readonly request: z.ZodMiniType;
  readonly reply: z.ZodMiniType;
}

export const CALLS = { ...routeCalls, ...indexCalls, ...dataCalls, ...nodeCalls } as const;

export type CallName = keyof typeof CALLS;
export type RequestOf<N extends CallName> = z.infer<(typeof CALLS)[N]["request"]>;
export type ReplyOf<N extends CallName> = z.infer<(typeof CALLS)[N]["reply"]>;
