// The Chance port over the host's random numbers.
import { randomBytes } from "node:crypto";
import { type Chance } from "../ports.ts";

/** Bytes from the operating system: fit for ids and nonces. `fraction` is only for jitter and choice. */
export const systemChance: Chance = {
  // Plain bytes: a Buffer's slice() would share memory.
  bytes: (count) => new Uint8Array(randomBytes(count)),
  fraction: () => Math.random(),
};
