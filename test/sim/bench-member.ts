// One member of a slice bench: its disk, and what of the index module votes, is sealed and joins. It lives on when it
// is restarted on its disk.
import { type IndexFaults } from "../../node/index/faults.ts";
import { Replica } from "../../node/index/replica.ts";
import { ViewJoiner } from "../../node/index/view-joiner.ts";
import { ViewReplica } from "../../node/index/view-replica.ts";
import { type KnownView, type View } from "../../node/index/views.ts";
import { Peers } from "../../node/peers.ts";
import { type Transport } from "../../node/ports.ts";
import { silentLog } from "../../node/runtime/json-log.ts";
import { MemoryDisk, openMemoryStore } from "../../node/runtime/memory-store.ts";
import { type VoterId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type VirtualClock } from "./virtual-clock.ts";

export interface BenchMemberOptions {
  readonly voter: VoterId;
  readonly clock: VirtualClock;
  readonly genesis: View;
  readonly faults: IndexFaults;
  /** Carries a call to the voter that its peer's address names. */
  readonly call: Transport["call"];
}

export class BenchMember {
  readonly voter: VoterId;
  readonly disk = new MemoryDisk();
  replica!: Replica;
  standings!: ViewReplica;
  joiner!: ViewJoiner;
  readonly #options: BenchMemberOptions;

  constructor(options: BenchMemberOptions) {
    this.#options = options;
    this.voter = options.voter;
    this.#open();
  }

  /** The process dies and another one opens the disk. */
  restart(): void {
    this.joiner.stop();
    this.disk.powerLoss();
    this.#open();
  }

  #open(): void {
    const { voter, clock, genesis, faults, call } = this.#options;
    const store = openMemoryStore(this.disk, clock, { syncMs: 0 });
    this.replica = new Replica({ store, voter, viewOf: () => genesis, faults });
    const { states } = this.replica;
    const standings = new ViewReplica({ states, onSealed: () => {}, faults });
    this.standings = standings;
    const unused = (): never => {
      throw new Error("Not used here");
    };
    this.joiner = new ViewJoiner({
      replica: this.replica,
      standings,
      directory: {
        learn: () => false,
        viewOf: (slice: Slice): KnownView => standings.newestView(slice),
      },
      peers: new Peers({ call, open: unused, serve: unused, close: unused }),
      route: {
        voter,
        find: () => undefined,
        peer: (id) => ({ id, address: id }),
        observed: () => {},
      },
      clock,
      log: silentLog,
      faults,
      onActive: () => {},
      onOutlived: () => {},
    });
  }
}
