// The kinds of faults that a schedule is drawn from.
import { type FaultSpec } from "./fault-spec.ts";
import { LINK_FAULTS } from "./link-faults.ts";
import { NODE_FAULTS } from "./node-faults.ts";

const FAULTS = { ...NODE_FAULTS, ...LINK_FAULTS };

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as readonly FaultKind[];

export function faultSpec(kind: FaultKind): FaultSpec {
  return FAULTS[kind];
}
