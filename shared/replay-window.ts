// Remembers which numbered messages of which sessions were seen, in bounded memory: a bit for each of the last
// numbers of a session (the sliding window of RFC 6479), a bounded number of sessions. What memory no longer covers
// is refused, never accepted twice.
import { replaySessionsMax, replayWindowNumbers } from "./limits.ts";

interface Session {
  highest: number;
  /** Bit n mod window says whether n was seen. */
  readonly seen: Uint32Array;
  /** Latest time that an accepted message of this session carried. */
  lastMs: number;
}

export type ReplayVerdict = "fresh" | "seen" | "tooOld";

/** Accepts each (session, number) at most once. Numbers count from 1, about in order. */
export class ReplayWindow {
  readonly #sessions = new Map<string, Session>();
  /** Messages of unknown sessions that are not newer than this may have been seen and forgotten. */
  #floorMs: number;

  /** @param startMs messages from before are refused: this memory cannot know whether they were seen */
  constructor(startMs: number) {
    this.#floorMs = startMs - 1;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** @param timeMs when the message was made, by its authenticated stamp */
  accept(sessionId: string, number: number, timeMs: number): ReplayVerdict {
    let session = this.#sessions.get(sessionId);
    if (!session) {
      if (timeMs <= this.#floorMs) return "tooOld";
      session = { highest: 0, seen: new Uint32Array(replayWindowNumbers / 32), lastMs: timeMs };
      this.#makeRoom();
    } else {
      this.#sessions.delete(sessionId);
    }
    this.#sessions.set(sessionId, session); // now the most recently used
    return mark(session, number, timeMs);
  }

  #makeRoom(): void {
    if (this.#sessions.size < replaySessionsMax) return;
    const [oldest] = this.#sessions;
    if (!oldest) return;
    this.#floorMs = Math.max(this.#floorMs, oldest[1].lastMs);
    this.#sessions.delete(oldest[0]);
  }
}

function mark(session: Session, number: number, timeMs: number): ReplayVerdict {
  const { seen } = session;
  if (number > session.highest) {
    const first = Math.max(session.highest + 1, number - replayWindowNumbers + 1);
    for (let n = first; n < number; n++) clearBit(seen, n);
    session.highest = number;
  } else {
    if (number <= session.highest - replayWindowNumbers) return "tooOld";
    if ((seen[wordOf(number)]! & (1 << (number & 31))) !== 0) return "seen";
  }
  seen[wordOf(number)]! |= 1 << (number & 31);
  session.lastMs = Math.max(session.lastMs, timeMs);
  return "fresh";
}

function wordOf(number: number): number {
  return (number % replayWindowNumbers) >>> 5;
}

function clearBit(seen: Uint32Array, number: number): void {
  seen[wordOf(number)]! &= ~(1 << (number & 31));
}
