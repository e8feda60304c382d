// What is measured on rings of thousands of nodes: hops of lookups, traffic, the spread of news, lookups under churn.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeId } from "../../shared/ids.ts";
import { type Purpose } from "./ring-traffic.ts";
import { type ScaleNode, type ScaleRing } from "./ring-scale.ts";

export interface Hops {
  readonly mean: number;
  readonly p99: number;
  readonly max: number;
  /** 1/2 log2 N - 1/2 log2 r + 1: a finger halves the way, the last log2 r halvings are in the successor list. */
  readonly expected: number;
}

/** Lookups from random nodes of random points, one after another; no node need have been started. */
export async function measureHops(ring: ScaleRing, lookups: number): Promise<Hops> {
  const hops: number[] = [];
  const ids = ring.nodes.map((node) => node.id).toSorted();
  for (let i = 0; i < lookups; i++) {
    const point = ring.randomPoint();
    const found = await ring.clock.settle(ring.chance.pick(ring.nodes).route.lookup(point));
    const owner = ids.find((id) => id >= point) ?? ids[0];
    if (found.owner.id !== owner) throw new Error(`Wrong owner of "${point}": ${found.owner.id}`);
    hops.push(found.hops);
  }
  hops.sort((a, b) => a - b);
  return {
    mean: hops.reduce((sum, each) => sum + each, 0) / lookups,
    p99: hops[Math.floor(0.99 * lookups)]!,
    max: hops.at(-1)!,
    expected: 0.5 * Math.log2(ids.length) - 0.5 * Math.log2(ring.r) + 1,
  };
}

/** Bytes per node and second that are sent while nothing happens, by purpose. */
export async function measureQuiet(
  ring: ScaleRing,
  durationMs: number,
): Promise<Record<Purpose, number>> {
  ring.traffic.clear();
  await ring.runFor(durationMs);
  const per = ring.running.length * (durationMs / 1000);
  const { pings, news, compare, ring: chord, lookup } = ring.traffic.bytes;
  return {
    pings: pings / per,
    news: news / per,
    compare: compare / per,
    ring: chord / per,
    lookup: lookup / per,
  };
}

export interface Spread {
  /** Until half of the nodes, 99 % and all know, in seconds. */
  readonly halfS: number;
  readonly mostS: number;
  readonly allS: number;
  /** Mean over the nodes of the time in which they did not know. */
  readonly staleS: number;
  /** What one such event costs each node on average, beyond quiet traffic: news, and the probes it causes. */
  readonly newsBytes: number;
}

const sampleMs = 100;
/** News die out when the last node has sent its copies; comparisons of tables find nothing by then. */
const afterMs = 20_000;

/** From now until every running node but `about` knows the event. */
export async function measureSpread(
  ring: ScaleRing,
  about: ScaleNode,
  isKnown: (node: ScaleNode) => boolean,
  withinMs = 120_000,
): Promise<Spread> {
  const startMs = ring.clock.now;
  const nodes = ring.running.filter((node) => node !== about);
  let ignorant = nodes;
  let halfS = 0;
  let mostS = 0;
  let staleMs = 0;
  while (ignorant.length > 0) {
    const passedS = (ring.clock.now - startMs) / 1000;
    if (passedS * 1000 > withinMs) throw new Error(`${ignorant.length} nodes never heard the news`);
    ignorant = ignorant.filter((node) => !isKnown(node));
    if (halfS === 0 && ignorant.length <= nodes.length / 2) halfS = passedS;
    if (mostS === 0 && ignorant.length <= nodes.length / 100) mostS = passedS;
    if (ignorant.length === 0) break;
    await ring.runFor(sampleMs);
    staleMs += sampleMs * ignorant.length;
  }
  const allS = (ring.clock.now - startMs) / 1000;
  await ring.runFor(afterMs);
  const newsBytes = ring.traffic.bytes.news / ring.running.length;
  return { halfS, mostS, allS, staleS: staleMs / 1000 / nodes.length, newsBytes };
}

export async function measureJoin(ring: ScaleRing): Promise<Spread> {
  ring.traffic.clear();
  const node = await ring.join();
  return measureSpread(ring, node, (each) => each.route.find(node.id) !== undefined);
}

export async function measureCrash(ring: ScaleRing): Promise<Spread> {
  ring.traffic.clear();
  const node = ring.chance.pick(ring.running);
  ring.crash(node);
  return measureSpread(ring, node, (each) => each.route.find(node.id)?.state === "dead");
}

export interface ChurnLookups {
  readonly lookups: number;
  readonly events: number;
  /** Answered by the first node that was asked, or by the asking node itself. */
  readonly oneHop: number;
  /** Calls that got no answer: the lookup went on at the next node. */
  readonly unanswered: number;
  /** Answers that named a node which was not responsible, or not there, at the moment of the answer. */
  readonly wrong: number;
  /** Lookups that threw. */
  readonly failed: number;
  readonly slowestMs: number;
}

/**
 * Lookups from all nodes while nodes crash and others join in their place, as often as sessions of `sessionMs` make it.
 */
export async function measureChurn(
  ring: ScaleRing,
  options: { readonly sessionMs: number; readonly durationMs: number; readonly perSecond: number },
): Promise<ChurnLookups> {
  const { clock, chance } = ring;
  const counts = { lookups: 0, events: 0, oneHop: 0, unanswered: 0, wrong: 0, failed: 0 };
  let slowestMs = 0;
  const pending = new Set<Promise<void>>();
  const lookUp = async (node: ScaleNode, point: NodeId): Promise<void> => {
    const startMs = clock.now;
    try {
      const { hops, path, owner } = await node.route.lookup(point);
      if (!node.running) return;
      counts.lookups++;
      if (hops <= 1) counts.oneHop++;
      counts.unanswered += hops - (path.length - 1);
      if (owner.id !== ring.ownerOf(point)) counts.wrong++;
      slowestMs = Math.max(slowestMs, clock.now - startMs);
    } catch (error) {
      if (!(error instanceof RingstowError)) throw error;
      if (!node.running) return;
      counts.lookups++;
      counts.failed++;
    }
  };
  const end = clock.now + options.durationMs;
  const stepMs = 1000 / options.perSecond;
  let due = 0;
  while (clock.now < end) {
    const task: Promise<void> = lookUp(chance.pick(ring.running), ring.randomPoint()).finally(() =>
      pending.delete(task),
    );
    pending.add(task);
    await ring.runFor(stepMs);
    due += (ring.running.length * stepMs) / options.sessionMs;
    while (due >= 1) {
      due--;
      counts.events += 2;
      ring.crash(chance.pick(ring.running));
      await ring.join();
    }
  }
  // Those of nodes that crashed never end.
  await ring.runFor(10_000);
  return { ...counts, slowestMs };
}
