// A defect for mutation tests: a store on a disk that answers before a write is durable.
import { type Store } from "../../node/ports.ts";

/** Says that a write is durable when it has only begun. */
export function lyingStore(store: Store): Store {
  return {
    get: (key) => store.get(key),
    range: (range) => store.range(range),
    write: (writes) => {
      store.write(writes).catch(() => {});
      return Promise.resolve();
    },
    settled: () => store.settled(),
    close: () => store.close(),
  };
}
