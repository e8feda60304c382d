// Test-only switches that break one rule of the protocol each. The mutation suite shows that the simulator catches
// them; production builds pass none.
export interface IndexFaults {
  /** Quorums of one: writes and elections do not meet. */
  readonly smallQuorum?: boolean;
  /** READREG answers under any ballot, not only the promised one. */
  readonly noPromiseEquality?: boolean;
  /** SYNC takes entries below the promise. */
  readonly syncIgnoresPromise?: boolean;
}
