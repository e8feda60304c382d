// Counts what membership and ring cost on the wire, by purpose. Bytes are those of the peer link's frames; TLS records
// and IP packets come on top.
import { packValue } from "../../node/runtime/frame-values.ts";
import { type FrameListener } from "./ring-network.ts";

/**
 * pings: probes without the news that ride on them. news: changes of the member table, wherever they travel, and what
 * is sent to find and judge a failure. compare: tables found equal. ring: Chord's stabilization. lookup: lookups.
 */
export type Purpose = "pings" | "news" | "compare" | "ring" | "lookup";

export class RingTraffic {
  readonly bytes: Record<Purpose, number> = { pings: 0, news: 0, compare: 0, ring: 0, lookup: 0 };
  messages = 0;

  clear(): void {
    for (const purpose of Object.keys(this.bytes) as Purpose[]) this.bytes[purpose] = 0;
    this.messages = 0;
  }

  readonly count: FrameListener = (name, kind, value, bytes) => {
    this.messages++;
    const call = name.slice("route.".length);
    if (call === "ping") {
      const news = newsBytes(value);
      this.bytes.news += news;
      this.bytes.pings += bytes - news;
    } else if (call === "neighbours" || call === "notify") this.bytes.ring += bytes;
    else if (call === "next") this.bytes.lookup += bytes;
    else if (call === "compare") {
      const differs = kind === "reply" && (value as { digests?: unknown }).digests !== undefined;
      this.bytes[differs ? "news" : "compare"] += bytes;
    } else this.bytes.news += bytes;
  };
}

const NEWS = new Set(["rows", "standings", "side", "copies"]);

/** What the news add to a ping. */
function newsBytes(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const fields = Object.entries(value);
  const plain = fields.filter(([name]) => !NEWS.has(name));
  if (plain.length === fields.length) return 0;
  return packValue(value).length - packValue(Object.fromEntries(plain)).length;
}
