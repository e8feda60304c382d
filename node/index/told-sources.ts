// What members said of themselves when they told of a change: who joins need not ask them. A few are kept until the
// folder that they were told begins to gather; each is used once, since its teller may give up what it holds later.
import { LRUCache } from "lru-cache";
import { toldRowsKeptMax } from "../../shared/limits.ts";
import { type ToldSource } from "../../shared/protocol/index-calls.ts";
import { type Slice } from "../../shared/slices.ts";
import { type ViewChange } from "./views.ts";

interface Kept {
  readonly epoch: number;
  readonly sources: readonly ToldSource[];
}

type Hear = (source: ToldSource) => void;

export class ToldSources {
  readonly #kept = new LRUCache<Slice, Kept>({
    maxSize: toldRowsKeptMax,
    sizeCalculation: ({ sources }) =>
      sources.reduce((sum, { page }) => sum + page.rows.length + 1, 0),
  });
  readonly #listening = new Map<Slice, { readonly epoch: number; readonly hear: Hear }>();

  /** A member has told what it holds. */
  hear(slice: Slice, change: ViewChange, source: ToldSource): void {
    if (!isOf(change, source)) return;
    const { epoch } = change.view;
    const listener = this.#listening.get(slice);
    if (listener?.epoch === epoch) return listener.hear(source);
    const kept = this.#kept.get(slice);
    if (kept && kept.epoch > epoch) return;
    const others = kept?.epoch === epoch ? kept.sources : [];
    const sources = [...others.filter(({ member }) => member !== source.member), source];
    this.#kept.set(slice, { epoch, sources });
  }

  /** Hands over what was told of a change before, and what is told of it until the returned function is called. */
  listen(slice: Slice, epoch: number, hear: Hear): () => void {
    const listener = { epoch, hear };
    this.#listening.set(slice, listener);
    const kept = this.#kept.get(slice);
    if (kept && kept.epoch <= epoch) this.#kept.delete(slice);
    if (kept?.epoch === epoch) for (const source of kept.sources) hear(source);
    return () => {
      if (this.#listening.get(slice) === listener) this.#listening.delete(slice);
    };
  }

  /** The folder has joined, or need not: what is still kept is of no use. */
  forget(slice: Slice): void {
    this.#kept.delete(slice);
  }
}

/** Whether a source is a sealed member of the view before a change, or an active one of the view after it. */
function isOf({ view, previous }: ViewChange, { member, epoch }: ToldSource): boolean {
  return [view, previous].some((each) => each.epoch === epoch && each.members.includes(member));
}
