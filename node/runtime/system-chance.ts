// The Chance port over the host's random numbers.
import { randomBytes } from "node:crypto";
import { type Chance } from "../ports.ts";

export const systemChance: Chance = {
  bytes: (count) => randomBytes(count),
  fraction: () => Math.random(),
};
