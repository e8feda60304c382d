// An index in one map: the real operations, without replicas. Tests may fail or delay any call by its hooks.
import { RingstowError } from "../../../shared/errors.ts";
import { type BlockId, type NodeId } from "../../../shared/ids.ts";
import { type Slice } from "../../../shared/slices.ts";
import { compareUtf8 } from "../../../shared/utf8.ts";
import {
  applyOperation,
  hasInlineBody,
  isOpen,
  needsOpenGate,
  valueOf,
} from "../../../node/index/register-state.ts";
import {
  type ExecuteOptions,
  type Index,
  type RegisterAddress,
  type RegisterKey,
  type RegisterOperation,
  type RegisterRead,
  type RegisterResult,
  type RegisterValue,
  type ScanPage,
  type ScanRequest,
  bucketOf,
  registerKey,
} from "../../../node/index/types.ts";
import { type Clock } from "../../../node/ports.ts";

interface Register {
  readonly value: RegisterValue | undefined;
  readonly body: Uint8Array | undefined;
}

export class FakeIndex implements Index {
  readonly registers = new Map<string, Register & RegisterAddress>();
  readonly executed: { at: RegisterAddress; operation: RegisterOperation }[] = [];
  readonly scanned: ScanRequest[][] = [];
  reads = 0;
  /** Runs before an operation; may throw instead of it. */
  before: (operation: RegisterOperation, at: RegisterAddress) => Promise<void> | void = () => {};
  /** Runs after an operation, before its answer; may throw instead of the answer. */
  after: (operation: RegisterOperation, at: RegisterAddress) => Promise<void> | void = () => {};
  beforeRead: (at: RegisterAddress) => Promise<void> | void = () => {};
  /** Rows of a page for a wanted limit. */
  pageRows: (limit: number) => number = (limit) => limit;
  readonly #clock: Clock;
  readonly #answers = new Map<string, RegisterResult>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  recover(): never {
    throw new Error("unused");
  }

  setCopies(): never {
    throw new Error("unused");
  }

  async execute(
    at: RegisterAddress,
    operation: RegisterOperation,
    options: ExecuteOptions,
  ): Promise<RegisterResult> {
    await this.before(operation, at);
    const result = this.#apply(at, operation, options);
    await this.after(operation, at);
    return result;
  }

  async read(at: RegisterAddress, options: { body: boolean }): Promise<RegisterRead> {
    this.reads += 1;
    await this.beforeRead(at);
    const register = this.registers.get(placeOf(at));
    const value = register && valueOf({ value: register.value, answered: [] });
    return { value, body: options.body && value ? register.body : undefined };
  }

  async scan(requests: readonly ScanRequest[]): Promise<ScanPage[]> {
    this.scanned.push([...requests]);
    return requests.map(({ slice, from, to, limit }) => {
      const rows = [...this.registers.values()]
        .filter((row) => row.slice === slice && valueOf({ value: row.value, answered: [] }))
        .filter((row) => compareUtf8(row.key, from) >= 0 && compareUtf8(row.key, to) < 0)
        .toSorted((a, b) => compareUtf8(a.key, b.key))
        .map(({ key, value }) => ({ key, value: value! }));
      const page = Math.max(1, this.pageRows(limit));
      return { rows: rows.slice(0, page), next: rows[page]?.key };
    });
  }

  view(_slice: Slice) {
    return { epoch: 1, members: [], leader: undefined };
  }
  async counts() {
    const pauses = { count: 0, medianMs: 0, p99Ms: 0, longestMs: 0 };
    const views = { changing: 0, toResize: 0, pauses };
    const blocks = { underReplicated: 0, overReplicated: 0, repairing: 0 };
    return { chains: 0, slicesHeld: 0, slicesLed: 0, ...blocks, views };
  }
  readonly reported: { at: RegisterAddress; block: BlockId; bad: NodeId | undefined }[] = [];
  async report(at: RegisterAddress, block: BlockId, bad?: NodeId): Promise<void> {
    this.reported.push({ at, block, bad });
  }
  async digests() {
    return new Map<number, string>();
  }
  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  /** Keys of a kind that hold something. */
  keys(letter: string): RegisterKey[] {
    return [...this.registers.values()]
      .filter((row) => row.key.startsWith(letter) && valueOf({ value: row.value, answered: [] }))
      .map((row) => row.key);
  }

  #apply(
    at: RegisterAddress,
    operation: RegisterOperation,
    { requestId, body }: ExecuteOptions,
  ): RegisterResult {
    const place = placeOf(at);
    const answered = this.#answers.get(place + requestId);
    if (answered) return answered;
    this.executed.push({ at, operation });
    const gate = { slice: at.slice, key: registerKey("gate", bucketOf(at.key), "") };
    if (needsOpenGate(operation) && !isOpen(this.registers.get(placeOf(gate))?.value)) {
      throw new RingstowError("NoSuchBucket");
    }
    const before = this.registers.get(place);
    const context = { wallMs: this.#clock.wallMs(), requestId };
    const step = applyOperation(at.key, before?.value, operation, context);
    const kept = step.replacesBody ? body : before?.body;
    this.registers.set(place, {
      ...at,
      value: step.value,
      body: hasInlineBody(step.value) ? kept : undefined,
    });
    this.#answers.set(place + requestId, step.result);
    return step.result;
  }
}

function placeOf({ slice, key }: RegisterAddress): string {
  return `${slice}/${key}`;
}
