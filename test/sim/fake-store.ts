// A store that is right by construction (one map in memory, at most once by request id) behind the interface of a
// node, to test the simulator itself; with a defect switched on, the simulator has to find it.
import { etagOf, readAll } from "./bodies.ts";
import { type BuildNode } from "./sim-node.ts";
import { RingstowError } from "../../shared/errors.ts";
import { toHex } from "../../shared/ids.ts";
import { type ObjectService } from "../../shared/object-service.ts";
import { type Entry, type Precondition } from "../../shared/records.ts";
import { SYSTEM_BUCKETS } from "../../shared/records.ts";
import { compareUtf8 } from "../../shared/utf8.ts";

export type Defect =
  | "none"
  /** Reads answer from what this coordinator last saw. */
  | "stale reads"
  /** A retry is carried out again. */
  | "no request ids"
  /** Preconditions are checked before, not within, the write. */
  | "late writes"
  /** Now and then a list leaves out a key. */
  | "short lists";

interface Stored {
  readonly entry: Entry;
  readonly bytes: Uint8Array;
}

function check(stored: Stored | undefined, { ifMatch, ifNoneMatch }: Precondition): void {
  const has = (tags: readonly string[]): boolean =>
    stored !== undefined && (tags.includes("*") || tags.includes(stored.entry.etag));
  if ((ifMatch && !has(ifMatch)) || (ifNoneMatch && has(ifNoneMatch)))
    throw new RingstowError("PreconditionFailed");
}

/** Nodes that share one perfect (or defective) store. */
export function fakeStore(defect: Defect): BuildNode {
  const objects = new Map<string, Stored>();
  const results = new Map<string, unknown>();
  return (config, { clock, chance, transport }) => {
    // All that a new node needs to come in.
    transport.serve({
      call: async (name) => {
        if (name === "route.grant") return { kind: "granted", id: toHex(chance.bytes(16)) };
        throw new RingstowError("InvalidRequest", `Cannot answer "${name}"`);
      },
      stream: async () => {},
    });
    const seen = new Map<string, Stored | undefined>();
    const pause = (): Promise<void> =>
      new Promise((resolve) => clock.after(100 * chance.fraction(), resolve));
    const once = <T>(requestId: string, work: () => T): T => {
      if (results.has(requestId) && defect !== "no request ids") return results.get(requestId) as T;
      const result = work();
      results.set(requestId, result);
      return result;
    };
    const service: Partial<ObjectService> = {
      createBucket: async ({ name, owner }) => {
        await pause();
        return { name, id: SYSTEM_BUCKETS, shards: 1, createdMs: clock.wallMs(), owner };
      },
      put: async (request, body) => {
        const bytes = await readAll(body);
        await pause();
        if (defect === "late writes") {
          check(objects.get(request.key), request.precondition);
          await pause();
        }
        const result = once(request.requestId, () => {
          const old = objects.get(request.key);
          if (defect !== "late writes") check(old, request.precondition);
          const version = (old?.entry.version ?? 0) + 1;
          const entry: Entry = {
            headers: {},
            metadata: {},
            size: bytes.length,
            etag: etagOf(bytes),
            body: { kind: "inline" },
            version,
            lastModifiedMs: clock.wallMs(),
          };
          objects.set(request.key, { entry, bytes });
          return { etag: entry.etag, version, lastModifiedMs: entry.lastModifiedMs };
        });
        await pause();
        return result;
      },
      get: async ({ key }) => {
        await pause();
        if (defect === "stale reads" && seen.has(key) && chance.fraction() < 0.1) {
          const stale = seen.get(key);
          if (stale) return found(stale);
        }
        const stored = objects.get(key);
        seen.set(key, stored);
        await pause();
        if (!stored) throw new RingstowError("NoSuchKey");
        return found(stored);
      },
      delete: async ({ key, requestId }) => {
        await pause();
        const result = once(requestId, () => ({ existed: objects.delete(key) }));
        await pause();
        return result;
      },
      list: async ({ prefix, after, limit }) => {
        await pause();
        let keys = [...objects.keys()]
          .filter((key) => key.startsWith(prefix))
          .filter((key) => after === undefined || compareUtf8(key, after) > 0)
          .toSorted(compareUtf8);
        if (defect === "short lists" && chance.fraction() < 0.3) keys = keys.slice(1);
        const page = keys.slice(0, limit);
        const last = page.at(-1);
        return {
          entries: page.map((key) => ({ key, entry: objects.get(key)!.entry })),
          commonPrefixes: [],
          truncated: keys.length > limit,
          last: last === undefined ? undefined : { after: last, afterPrefix: false },
        };
      },
    };
    const node: Partial<ReturnType<BuildNode>> = {
      object: service as ReturnType<BuildNode>["object"],
      index: {
        digests: async () => new Map([[0, "same"]]),
        view: () => ({ epoch: 1, members: [], leader: undefined }),
      } as unknown as ReturnType<BuildNode>["index"],
      start: async () => {},
      stop: async () => {},
    };
    return node as ReturnType<BuildNode>;
  };
}

function found({ entry, bytes }: Stored): Awaited<ReturnType<ObjectService["get"]>> {
  return {
    type: "object",
    entry,
    from: 0,
    to: bytes.length,
    partial: false,
    partsCount: undefined,
    body: (async function* () {
      yield bytes;
    })(),
  };
}
