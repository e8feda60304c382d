// Virtual time for tests and the simulator: timers fire in the order (time, insertion) and no real time is used,
// so one program with one seed has one schedule. Between two timers every pending promise reaction runs to its end, as if
// computation took no time.
import { type Clock, type Timer } from "../../node/ports.ts";

/** 2026-01-01T00:00:00Z: what the wall clock shows at virtual time 0. */
export const SIM_EPOCH_MS = 1_767_225_600_000;
const eventsMaxDefault = 5_000_000; // a run that needs more hangs in a loop
const ticksPerTurn = 256; // the event loop, whose turns cost system calls, comes round after so many timers

interface Event {
  readonly atMs: number;
  readonly order: number;
  action: (() => void) | undefined;
}

const before = (a: Event, b: Event): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

export interface RunLimits {
  /** Timers run at most; more is an error. */
  readonly maxEvents?: number;
  /** Virtual time at which a run until a predicate gives up with an error. */
  readonly deadlineMs?: number;
}

export class VirtualClock implements Clock {
  /** Virtual milliseconds since the start. */
  now = 0;
  /** Timers that have fired so far. */
  events = 0;
  readonly #heap: Event[] = [];
  #order = 0;
  #ticks = 0;
  /** Calls of run() and of drain() under way. */
  #runs = 0;
  #draining = 0;

  monotonicMs(): number {
    return this.now;
  }

  wallMs(): number {
    return SIM_EPOCH_MS + Math.floor(this.now);
  }

  after(delayMs: number, action: () => void): Timer {
    if (!(delayMs >= 0)) delayMs = 0;
    const event: Event = { atMs: this.now + delayMs, order: this.#order++, action };
    this.#push(event);
    return {
      cancel: () => {
        event.action = undefined;
      },
    };
  }

  /** A node's own clock on this time: another wall clock, another rate; it can be paused and killed. */
  view(options: { wallOffsetMs?: number; driftPpm?: number } = {}): ClockView {
    return new ClockView(this, options.wallOffsetMs ?? 0, options.driftPpm ?? 0);
  }

  /** A promise of the virtual moment `delayMs` from now. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Runs all promise reactions that are due now; no timer fires. */
  drain(): Promise<void> {
    this.#draining++;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#draining--;
        resolve();
      });
    });
  }

  /**
   * Runs timers until virtual time `until` (absolute), or until the predicate holds.
   * Throws when the predicate cannot come true: no timer is left, or a limit is passed.
   */
  async run(until: number | (() => boolean), limits: RunLimits = {}): Promise<void> {
    this.#runs++;
    try {
      await this.#run(until, limits);
    } finally {
      this.#runs--;
    }
  }

  async #run(until: number | (() => boolean), limits: RunLimits): Promise<void> {
    const maxEvents = limits.maxEvents ?? eventsMaxDefault;
    const deadlineMs =
      typeof until === "number" ? until : (limits.deadlineMs ?? Number.POSITIVE_INFINITY);
    const done = typeof until === "number" ? () => false : until;
    await this.drain();
    for (let ran = 0; !done(); ran++) {
      const event = this.#next();
      if (!event || event.atMs > deadlineMs) {
        if (typeof until === "number") {
          this.now = Math.max(this.now, until);
          return;
        }
        const what = event ? `virtual deadline ${deadlineMs} ms passed` : "no timer is left";
        throw new Error(`Cannot reach the awaited state at ${this.now} ms: ${what}`);
      }
      if (ran >= maxEvents) throw new Error(`Cannot end the run: more than ${maxEvents} events`);
      this.#pop();
      this.now = event.atMs;
      this.events++;
      const action = event.action!;
      event.action = undefined;
      action();
      await this.#drainTick();
    }
  }

  /** Runs for `durationMs` from now. */
  runFor(durationMs: number, limits: RunLimits = {}): Promise<void> {
    return this.run(this.now + durationMs, limits);
  }

  /** Runs until the promise has ended and gives its outcome. */
  async settle<T>(promise: Promise<T>, limits: RunLimits = {}): Promise<T> {
    let ended = false;
    const mark = (): void => {
      ended = true;
    };
    promise.then(mark, mark);
    await this.run(() => ended, limits);
    return promise;
  }

  /** As drain(), mostly without a turn of the event loop. To be called from a promise reaction. */
  #drainTick(): Promise<void> {
    const isAlone = this.#runs === 1 && this.#draining === 0;
    if (!isAlone || ++this.#ticks % ticksPerTurn === 0) return this.drain();
    // From a promise reaction the next tick is when none is left.
    return new Promise((resolve) => process.nextTick(resolve));
  }

  /** The next live timer, without taking it. */
  #next(): Event | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.action === undefined) this.#pop();
    return this.#heap[0];
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

/** The clock of one node. A killed one never fires again; a paused one fires what came due when it resumes. */
export class ClockView implements Clock {
  /** Added to the wall clock; may be changed at any time (a clock jump). */
  wallOffsetMs: number;
  readonly #clock: VirtualClock;
  readonly #rate: number;
  #killed = false;
  #held: (() => void)[] | undefined;

  constructor(clock: VirtualClock, wallOffsetMs: number, driftPpm: number) {
    this.#clock = clock;
    this.wallOffsetMs = wallOffsetMs;
    this.#rate = 1 + driftPpm / 1_000_000;
  }

  monotonicMs(): number {
    return this.#clock.now * this.#rate;
  }

  wallMs(): number {
    return SIM_EPOCH_MS + Math.floor(this.monotonicMs()) + this.wallOffsetMs;
  }

  after(delayMs: number, action: () => void): Timer {
    let cancelled = false;
    const fire = (): void => {
      if (cancelled || this.#killed) return;
      if (this.#held) this.#held.push(fire);
      else action();
    };
    const timer = this.#killed ? undefined : this.#clock.after(delayMs / this.#rate, fire);
    return {
      cancel: () => {
        cancelled = true;
        timer?.cancel();
      },
    };
  }

  /** The process died: nothing of it fires any more. */
  kill(): void {
    this.#killed = true;
    this.#held = undefined;
  }

  /** The process stands still, as in a long garbage collection or a stopped virtual machine. */
  pause(): void {
    if (!this.#killed) this.#held ??= [];
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const fire of held) this.#clock.after(0, fire);
  }
}
