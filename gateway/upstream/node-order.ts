// In which order a request asks the nodes: nearest to the client first; among equals the owner of the request's
// point, then the one with the fewest requests of this gateway under way; nodes that failed lately last. A node that
// failed is not tried by a request before it gave a sign of life.
import { type NodeId } from "../../shared/ids.ts";
import { avoidMaxMs, avoidMinMs, clientOrdersMax } from "../../shared/limits.ts";
import { type Candidate, nearest } from "../../shared/nearest.ts";
import { type MemberTable, type MemberView } from "../../shared/object-protocol.ts";
import { successorIndex } from "../../shared/ring.ts";
import { anchorOf, sliceOfId } from "../../shared/slices.ts";
import { type UpstreamClient } from "../platform.ts";

interface NodeState {
  underWay: number;
  failures: number;
  /** Asked last until then, and after a failure until it has given a sign of life; then one request tries it. */
  avoidUntilMs: number;
  /** Gave one since it failed. */
  lives: boolean;
  /** When it answered anything. */
  heardMs: number;
}

export class NodeOrder {
  readonly #nowMs: () => number;
  readonly #nodes = new Map<NodeId, NodeState>();
  /** Groups of equally near members by client, of one table. */
  readonly #groups = new Map<string, readonly (readonly MemberView[])[]>();
  #table: MemberTable | undefined;
  /** Of its members, rising. */
  #ids: readonly NodeId[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** All members, the one to ask first in front. */
  candidates(table: MemberTable, client: UpstreamClient): MemberView[] {
    this.#follow(table);
    const owner = this.#ownerOf(table, client);
    const now = this.#nowMs();
    const good: MemberView[] = [];
    const avoided: MemberView[] = [];
    for (const group of this.#groupsFor(table, client)) {
      const ranked = group.length === 1 ? group : group.toSorted((a, b) => this.#rank(a, b, owner));
      for (const member of ranked) {
        const { avoidUntilMs, failures, lives } = this.#state(member.id);
        (avoidUntilMs > now || (failures > 0 && !lives) ? avoided : good).push(member);
      }
    }
    return [...good, ...avoided];
  }

  /** A request to the node starts. Call the returned function when it is over, once. */
  begin(id: NodeId): () => void {
    const state = this.#state(id);
    state.underWay++;
    // A node on probation gets one request to try it; others avoid it until that one ends.
    if (state.failures > 0) this.#avoid(state);
    return () => {
      state.underWay--;
    };
  }

  succeeded(id: NodeId): void {
    this.livesOn(id);
    this.#state(id).failures = 0;
  }

  failed(id: NodeId): void {
    const state = this.#state(id);
    state.failures++;
    this.#avoid(state);
  }

  /** Whether a node that failed should be asked for a sign of life. */
  mayBeBack(id: NodeId): boolean {
    const { failures, lives, avoidUntilMs } = this.#state(id);
    return failures > 0 && !lives && avoidUntilMs <= this.#nowMs();
  }

  wasHeardSince(id: NodeId, sinceMs: number): boolean {
    return this.#state(id).heardMs >= sinceMs;
  }

  /** A node is asked for a sign of life: until it gives one it is asked last. */
  doubted(id: NodeId): void {
    const state = this.#state(id);
    state.avoidUntilMs = Math.max(state.avoidUntilMs, this.#nowMs() + avoidMinMs);
  }

  /** A node gave a sign of life. */
  livesOn(id: NodeId): void {
    const state = this.#state(id);
    state.heardMs = this.#nowMs();
    state.avoidUntilMs = 0;
    state.lives = true;
  }

  #avoid(state: NodeState): void {
    state.avoidUntilMs = this.#nowMs() + backoffMs(state.failures);
    state.lives = false;
  }

  #rank(a: MemberView, b: MemberView, owner: NodeId | undefined): number {
    if (a.id === owner) return -1;
    if (b.id === owner) return 1;
    return this.#state(a.id).underWay - this.#state(b.id).underWay;
  }

  /** The first live node at or after the anchor of the point's slice: most likely its leader. */
  #ownerOf({ sliceBits }: MemberTable, { point }: UpstreamClient): NodeId | undefined {
    if (point === undefined) return undefined;
    const anchor = anchorOf(sliceOfId(point, sliceBits), sliceBits);
    return this.#ids[successorIndex(this.#ids, anchor)];
  }

  #state(id: NodeId): NodeState {
    let state = this.#nodes.get(id);
    if (!state) {
      const heardMs = Number.NEGATIVE_INFINITY;
      state = { underWay: 0, failures: 0, avoidUntilMs: 0, lives: true, heardMs };
      this.#nodes.set(id, state);
    }
    return state;
  }

  #follow(table: MemberTable): void {
    if (this.#table === table) return;
    this.#table = table;
    this.#groups.clear();
    this.#ids = table.members.map(({ id }) => id);
    const present = new Set<NodeId>(this.#ids);
    for (const [id, state] of this.#nodes)
      if (!present.has(id) && state.underWay === 0) this.#nodes.delete(id);
  }

  #groupsFor(table: MemberTable, client: UpstreamClient): readonly (readonly MemberView[])[] {
    const at = client.position;
    const key = `${client.ip ?? ""} ${at ? `${at.latitude} ${at.longitude}` : ""}`;
    let groups = this.#groups.get(key);
    if (!groups) {
      groups = groupByDistance(table, client);
      if (this.#groups.size >= clientOrdersMax)
        this.#groups.delete(this.#groups.keys().next().value!);
      this.#groups.set(key, groups);
    }
    return groups;
  }
}

function backoffMs(failures: number): number {
  return Math.min(avoidMaxMs, avoidMinMs * 2 ** Math.min(failures - 1, 10));
}

interface Ranked extends Candidate {
  readonly member: MemberView;
}

function groupByDistance(table: MemberTable, client: UpstreamClient): MemberView[][] {
  const place = { ip: client.ip, position: client.position };
  const ranked = nearest(
    place,
    table.members.map((member): Ranked => ({
      member,
      ip: hostOf(member.url),
      position: member.position,
      zone: member.zone,
      load: 0,
    })),
  );
  const groups: MemberView[][] = [];
  let previous: Ranked | undefined;
  for (const candidate of ranked) {
    // nearest() keeps the order of equals: two are equal when either order is kept.
    const equal = previous && nearest(place, [candidate, previous])[0] === candidate;
    if (equal) groups.at(-1)!.push(candidate.member);
    else groups.push([candidate.member]);
    previous = candidate;
  }
  return groups;
}

function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname.replaceAll(/^\[|\]$/gu, "") : undefined;
}
