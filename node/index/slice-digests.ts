// A digest of each slice's (key, version) pairs, for comparing replicas; computed when asked for and kept until the
// slice changes.
import { toHex } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Digest } from "../ports.ts";
import { type Replica } from "./replica.ts";

const encoder = new TextEncoder();

export class SliceDigests {
  readonly #replica: Replica;
  readonly #digest: Digest;
  readonly #known = new Map<Slice, { changes: number; hex: string }>();

  constructor(replica: Replica, digest: Digest) {
    this.#replica = replica;
    this.#digest = digest;
  }

  /** 32 hex digits; "" for a slice without registers. */
  async of(slice: Slice): Promise<string> {
    // A write that is accepted and not durable has raised `changes` already, and the walk may miss it.
    const quiet = this.#replica.quiet(slice);
    const changes = this.#replica.changes(slice);
    const known = this.#known.get(slice);
    if (known?.changes === changes) return known.hex;
    const hasher = this.#digest.start("md5");
    let after = "";
    let any = false;
    for (;;) {
      const page = await this.#replica.versions(slice, after);
      for (const { key, version } of page.rows) {
        any = true;
        hasher.update(encoder.encode(`${key}\n${version}\n`));
      }
      if (!page.more) break;
      after = page.rows.at(-1)!.key;
    }
    const hex = any ? toHex(hasher.digest()) : "";
    if (quiet) this.#known.set(slice, { changes, hex });
    return hex;
  }
}
