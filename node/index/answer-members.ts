// What a member of views answers to leaders, readers and other members: its replica's word.
import { type Peers } from "../peers.ts";
import { type Replica } from "./replica.ts";
import { type SliceDigests } from "./slice-digests.ts";
import { type Synchroniser } from "./synchroniser.ts";
import { type ViewDirectory } from "./view-directory.ts";

export interface MemberParts {
  readonly replica: Replica;
  readonly digests: SliceDigests;
  readonly directory: ViewDirectory;
  readonly synchroniser: Synchroniser;
}

export function answerMembers(
  peers: Peers,
  { replica, digests, directory, synchroniser }: MemberParts,
): void {
  peers.onCall("index.prepare", ({ claims }) => replica.prepare(claims));
  peers.onCall("index.readreg", ({ slice, ballot, keys }) => replica.readReg(slice, ballot, keys));
  peers.onCall("index.names", ({ slice, ballot, after }) => replica.names(slice, ballot, after));
  peers.onCall("index.accept", ({ slice, ballot, writes }) =>
    replica.accept(slice, ballot, writes),
  );
  peers.onCall("index.confirm", ({ slice, ballot }) => replica.confirm(slice, ballot));
  peers.onCall("index.readfast", ({ slice, key, want }) => replica.readFast(slice, key, want));
  peers.onCall("index.scan", ({ ranges }) => replica.scanAll(ranges));
  peers.onCall("index.digests", async ({ slices, epochs }, caller) => {
    // Who asks counts this node among the members of a view that it may have missed the start of. Without the news there
    // is no answer: two that hold nothing seem equal, and nothing else would make the other one ask again.
    if (caller.id) await directory.learnLater(caller.id, slices, epochs);
    const found: string[] = [];
    // One by one: each may hold a page of the store.
    for (const slice of slices) found.push(await digests.of(slice));
    return { digests: found, views: directory.newer(slices, epochs) };
  });
  peers.onCall("index.versions", ({ slice, after }) => replica.versions(slice, after));
  peers.onCall("index.fetch", ({ slice, keys }) => replica.fetch(slice, keys));
  peers.onCall("index.behind", ({ slices }, caller) => {
    if (caller.id) synchroniser.syncWith(caller.id, slices);
    return {};
  });
}
