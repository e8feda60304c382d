// User-space TCP relays in front of every node: what one process sends another passes here and can be delayed,
// throttled, kept back or cut, for each directed pair. A relay listens where the node is advertised and passes on to
// where the node listens; callers are told apart by the addresses that they call from (--from).
// A connection carries two flows, and a fault belongs to a flow, not to who dialled: "a cannot reach b" keeps back a's
// bytes on the connections that b dialled as well. Bytes keep their order, as in TCP.
import { once } from "node:events";
import { type Server, type Socket, connect, createServer } from "node:net";

export interface Condition {
  readonly delayMs: number;
  readonly jitterMs: number;
  /** 0: no limit. */
  readonly bytesPerSecond: number;
  /**
   * "held": nothing arrives, nobody is told, and at the heal it all does, as when packets were lost and TCP sends them
   * again. "swallowed": what is sent is lost, and so is the connection at the heal, as behind a router that forgot
   * it. "cut": connections are reset and new ones refused.
   */
  readonly passage: "open" | "held" | "swallowed" | "cut";
}

const OPEN: Condition = { delayMs: 0, jitterMs: 0, bytesPerSecond: 0, passage: "open" };
// Then the sender is not read any more: it sees a full window, as a real one would.
const queuedBytesMax = 1024 * 1024;

export interface Place {
  /** Whom the relay stands for. */
  readonly to: string;
  /** "peer" or "http": flows are counted apart. */
  readonly kind: string;
  readonly host: string;
  readonly port: number;
  /** Where the node itself listens; the port is the same. */
  readonly behind: string;
}

/** All relays of a cluster, and the conditions between its processes. */
export class Relays {
  /** Who calls from an address. */
  readonly #callerAt: (address: string) => string;
  readonly #fraction: () => number;
  readonly #servers: Server[] = [];
  readonly #conditions = new Map<string, Condition>();
  readonly #connections = new Set<Connection>();
  readonly #bytes = new Map<string, number>();

  constructor(callerAt: (address: string) => string, fraction: () => number) {
    this.#callerAt = callerAt;
    this.#fraction = fraction;
  }

  async listen(place: Place): Promise<void> {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (s) =>
      this.#accept(place, s),
    );
    server.listen(place.port, place.host);
    await once(server, "listening"); // rejects at "error"
    this.#servers.push(server);
  }

  async close(): Promise<void> {
    const closed = this.#servers.map((server) => once(server, "close"));
    for (const server of this.#servers) server.close();
    for (const connection of this.#connections) connection.reset();
    await Promise.all(closed);
  }

  between(from: string, to: string): Condition {
    return this.#conditions.get(`${from}>${to}`) ?? OPEN;
  }

  /** Changes what happens to what `from` sends `to`. */
  set(from: string, to: string, change: Partial<Condition>): void {
    const before = this.between(from, to);
    const now = { ...before, ...change };
    this.#conditions.set(`${from}>${to}`, now);
    for (const connection of this.#connections) connection.conditionChanged(from, to, before, now);
  }

  /** The same for both directions. */
  setBoth(a: string, b: string, change: Partial<Condition>): void {
    this.set(a, b, change);
    this.set(b, a, change);
  }

  /** Opens all; what was held arrives now. */
  heal(): void {
    for (const [pair, condition] of this.#conditions) {
      if (condition === OPEN) continue;
      const [from, to] = pair.split(">") as [string, string];
      this.set(from, to, OPEN);
    }
    this.#conditions.clear();
  }

  fraction(): number {
    return this.#fraction();
  }

  count(kind: string, from: string, to: string, bytes: number): void {
    const key = `${kind} ${from}>${to}`;
    this.#bytes.set(key, (this.#bytes.get(key) ?? 0) + bytes);
  }

  /** Bytes of one kind so far, all pairs. */
  bytes(kind: string): number {
    let sum = 0;
    for (const [key, bytes] of this.#bytes) if (key.startsWith(`${kind} `)) sum += bytes;
    return sum;
  }

  over(connection: Connection): void {
    this.#connections.delete(connection);
  }

  #accept(place: Place, socket: Socket): void {
    socket.on("error", () => undefined);
    const from = this.#callerAt(socket.remoteAddress ?? "");
    // Only dialling is refused here: what `to` dials to `from` has its own condition.
    if (this.between(from, place.to).passage === "cut") socket.resetAndDestroy();
    else this.#connections.add(new Connection(this, place, from, socket));
  }
}

/** One connection through a relay. The node is called only when both directions are open, as if the call was lost. */
class Connection {
  readonly #relays: Relays;
  readonly #place: Place;
  readonly #from: string;
  readonly #near: Socket;
  readonly #out: Flow;
  #far: Socket | undefined;
  #back: Flow | undefined;
  #over = false;

  constructor(relays: Relays, place: Place, from: string, near: Socket) {
    this.#relays = relays;
    this.#place = place;
    this.#from = from;
    this.#near = near;
    this.#out = this.#flow(near, () => this.#far, from, place.to);
    near.once("close", () => this.#closed());
    this.#open();
  }

  conditionChanged(from: string, to: string, before: Condition, now: Condition): void {
    const out = from === this.#from && to === this.#place.to;
    const back = from === this.#place.to && to === this.#from;
    if (!out && !back) return;
    const lost = this.#far && before.passage === "swallowed" && now.passage !== "swallowed";
    if (now.passage === "cut" || lost) this.reset();
    else if (!this.#far) this.#open();
    else (out ? this.#out : this.#back)?.drain();
  }

  /** Ends both sides as a router does that refuses the connection. */
  reset(): void {
    if (this.#over) return;
    this.#over = true;
    this.#relays.over(this);
    this.#out.stop();
    this.#back?.stop();
    this.#near.resetAndDestroy();
    this.#far?.resetAndDestroy();
  }

  #open(): void {
    const { to, behind: host, port } = this.#place;
    const blocked = [this.#relays.between(this.#from, to), this.#relays.between(to, this.#from)];
    if (blocked.some(({ passage }) => passage === "held" || passage === "swallowed")) return;
    const far = connect({ host, port, noDelay: true, allowHalfOpen: true });
    far.on("error", () => undefined);
    far.once("close", () => this.#closed());
    this.#far = far;
    this.#back = this.#flow(far, () => this.#near, to, this.#from);
    this.#out.sinkOpened();
  }

  #closed(): void {
    // A caller that gave up before it got through leaves nothing behind.
    if (this.#near.closed && (this.#far?.closed ?? true)) this.reset();
  }

  #flow(source: Socket, sink: () => Socket | undefined, a: string, b: string): Flow {
    return new Flow({
      source,
      sink,
      condition: () => this.#relays.between(a, b),
      fraction: () => this.#relays.fraction(),
      count: (bytes) => this.#relays.count(this.#place.kind, a, b, bytes),
      broken: () => this.reset(),
    });
  }
}

interface FlowOptions {
  readonly source: Socket;
  /** Undefined until it was called. */
  readonly sink: () => Socket | undefined;
  readonly condition: () => Condition;
  readonly fraction: () => number;
  readonly count: (bytes: number) => void;
  /** The source or the sink broke, and that has arrived at the other end. */
  readonly broken: () => void;
}

/** Bytes of one direction. The end of the source waits in the line as its last piece, so a held flow hides it too. */
class Flow {
  readonly #options: FlowOptions;
  #queue: { readonly dueMs: number; readonly piece: Buffer | "end" | "broken" }[] = [];
  #queuedBytes = 0;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  #stopped = false;

  constructor(options: FlowOptions) {
    this.#options = options;
    const { source } = options;
    source.on("data", (piece: Buffer) => this.#take(piece));
    source.on("end", () => {
      this.#ended = true;
      // Nobody is there to answer the end.
      if (options.sink() === undefined) source.destroy();
      else this.#enqueue("end");
    });
    source.on("close", (failed) => {
      if (failed || !this.#ended) this.#enqueue("broken");
    });
    source.resume();
    this.sinkOpened();
  }

  sinkOpened(): void {
    this.#options.sink()?.on("drain", () => this.drain());
    this.drain();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#queue = [];
  }

  /** Passes on what is due. */
  drain(): void {
    clearTimeout(this.#timer);
    const { source, condition, broken } = this.#options;
    const { passage } = condition();
    const sink = this.#options.sink();
    if (this.#stopped || !sink || passage === "held" || passage === "swallowed") return;
    while (this.#queue.length > 0) {
      const { dueMs, piece } = this.#queue[0]!;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.drain(), waitMs);
        return;
      }
      if (piece !== "broken" && sink.writableNeedDrain) return;
      this.#queue.shift();
      if (piece === "broken") {
        broken();
        return;
      }
      if (piece === "end") sink.end();
      else {
        this.#queuedBytes -= piece.length;
        sink.write(piece);
      }
    }
    if (this.#queuedBytes < queuedBytesMax) source.resume();
  }

  #take(piece: Buffer): void {
    this.#options.count(piece.length);
    // What was not yet called hears it all when it is: nobody can have swallowed it.
    if (this.#options.sink() && this.#options.condition().passage === "swallowed") return;
    this.#queuedBytes += piece.length;
    if (this.#queuedBytes >= queuedBytesMax) this.#options.source.pause();
    this.#enqueue(piece);
  }

  #enqueue(piece: Buffer | "end" | "broken"): void {
    if (this.#stopped) return;
    const { delayMs, jitterMs, bytesPerSecond } = this.#options.condition();
    const now = performance.now();
    const sendMs =
      bytesPerSecond > 0 && typeof piece !== "string" ? (1000 * piece.length) / bytesPerSecond : 0;
    const arrivalMs = now + delayMs + jitterMs * this.#options.fraction();
    // Never before what was sent earlier; a narrow line adds its time to each piece.
    const dueMs = Math.max(arrivalMs, this.#lastDueMs) + sendMs;
    if (delayMs + jitterMs + sendMs > 0) this.#lastDueMs = dueMs;
    this.#queue.push({ dueMs, piece });
    this.drain();
  }
}
