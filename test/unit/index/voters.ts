// Voters by a letter; the first digit of A's node is 1, and so on.
import { type VoterId, parseFolderId, parseNodeId, voterIdOf } from "../../../shared/ids.ts";

export const [A, B, C, D, E, F] = ["1", "2", "3", "4", "5", "6"].map((digit) =>
  voterIdOf(parseNodeId(digit.repeat(32)), parseFolderId(digit.repeat(16))),
) as [VoterId, VoterId, VoterId, VoterId, VoterId, VoterId];
