// What a leader reads of a register from the members: the newest value that a majority holds.
import { type VoterId } from "../../shared/ids.ts";
import { type StoredRegister } from "../../shared/protocol/index-calls.ts";
import { NO_VERSION } from "../../shared/versions.ts";
import { type Claim, type MemberLink } from "./member-link.ts";
import { type ReadRegReply } from "./replica-replies.ts";

export interface Reader extends Claim {
  /** Of the leader's view. */
  readonly members: readonly VoterId[];
}

/**
 * READREG at one member. One that only joins the next view is asked whether it serves the leader: what it has of earlier
 * times is of no value.
 */
export async function readRegAt(
  link: Pick<MemberLink, "readReg" | "confirm">,
  reader: Reader,
  member: VoterId,
  key: string,
): Promise<ReadRegReply> {
  if (reader.members.includes(member)) return link.readReg(member, reader, [key]);
  const reply = await link.confirm(member, reader);
  return reply.ok ? { ok: true, registers: [] } : reply;
}

/** The newest of the answers; version "" when none has it. */
export function newestOf(
  key: string,
  answers: ReadonlyMap<VoterId, { readonly registers: readonly StoredRegister[] }>,
): StoredRegister {
  let newest: StoredRegister = { key, version: NO_VERSION };
  for (const { registers } of answers.values()) {
    const register = registers[0];
    if (register && register.version > newest.version) newest = register;
  }
  return newest;
}

/** Whether a member has the register. */
export function hasRegister(reply: ReadRegReply): boolean {
  return reply.ok && (reply.registers[0]?.version ?? NO_VERSION) !== NO_VERSION;
}
