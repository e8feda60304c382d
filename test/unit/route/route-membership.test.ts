import { describe, expect, test } from "vitest";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import { requestGrant } from "../../../node/route/grants.ts";
import { firstIncarnation } from "../../../node/route/member-table.ts";
import { isIdeal } from "../../sim/ring-invariants.ts";
import { RouteCluster, type TestNode } from "./route-cluster.ts";

async function started(size: number, seed = 1): Promise<RouteCluster> {
  const cluster = new RouteCluster(size, { seed });
  await cluster.start(...cluster.nodes);
  await cluster.until(() => cluster.tablesAgree(size), 3_000);
  if (size > cluster.r) await cluster.until(() => cluster.ringIsIdeal(), 3_000);
  return cluster;
}

/** Cuts a node off until an observer suspects it, and heals at once. */
async function becomesSuspect(
  cluster: RouteCluster,
  suspect: TestNode,
  observer: TestNode,
): Promise<void> {
  cluster.partition([suspect], cluster.nodes);
  await cluster.until(() => cluster.stateOf(suspect, observer) === "suspect", 10_000);
  cluster.heal();
}

describe("createRoute", () => {
  test.each([1, 2, 3, 4, 5])(
    "starts a genesis of %i: equal tables, right neighbours",
    async (size) => {
      const cluster = await started(size);
      await cluster.clock.runFor(20_000);
      expect(cluster.tablesAgree(size)).toBe(true);
      const ids = cluster.nodes.map((node) => node.id);
      for (const [index, node] of cluster.nodes.entries()) {
        const ring = node.route.ring();
        const at = (offset: number) => ids[(index + offset + size) % size];
        const expected = Array.from({ length: Math.min(cluster.r, size - 1) }, (_, i) => at(i + 1));
        expect(ring.successors).toEqual(expected);
        expect(ring.predecessor).toBe(size === 1 ? undefined : at(-1));
        expect(node.route.arcShare(node.id)).toBeCloseTo(1 / size, 5);
      }
      expect(cluster.events.filter((each) => each.level !== "info")).toEqual([]);
    },
  );

  test("declares a crashed node dead everywhere, and alive when it restarts", async () => {
    const cluster = await started(5);
    const [lost, ...others] = cluster.nodes;
    cluster.crash(lost!);
    const deadMs = await cluster.until(
      () => others.every((each) => cluster.stateOf(lost!, each) === "dead"),
      10_000,
    );
    for (const each of others) expect(each.route.live()).toHaveLength(4);
    await cluster.until(() => cluster.ringIsIdeal(), 10_000);
    await cluster.clock.runFor(5_000);
    await cluster.restart(lost!);
    const aliveMs = await cluster.until(() => cluster.tablesAgree(5), 3_000);
    expect(others[0]!.route.find(lost!.id)?.incarnation).toBeGreaterThanOrEqual(
      firstIncarnation(2),
    );
    const idealMs = await cluster.until(() => cluster.ringIsIdeal(), 10_000);
    expect(cluster.faults()).toEqual([]);
    expect(deadMs).toBeLessThan(6_000);
    expect(aliveMs).toBeLessThan(100);
    expect(idealMs).toBeLessThan(6_000);
  });

  test("takes a node back that restarts before anybody missed it", async () => {
    for (const size of [3, 4, 5]) {
      const cluster = await started(size);
      const node = cluster.node(1);
      cluster.crash(node);
      await cluster.clock.runFor(300);
      await cluster.restart(node);
      await cluster.until(
        () =>
          cluster.running.every(
            (each) => each.route.find(node.id)?.incarnation === firstIncarnation(2),
          ),
        1_000,
      );
      await cluster.until(() => cluster.tablesAgree(size) && cluster.ringIsIdeal(), 10_000);
      expect(cluster.faults()).toEqual([]);
    }
  });

  test("everybody hears of a restart right after a suspicion was refuted", async () => {
    const cluster = await started(5);
    const [observer, node, ...others] = cluster.nodes;
    await becomesSuspect(cluster, node!, observer!);
    const { route } = node!;
    await cluster.until(() => route.self.incarnation > firstIncarnation(1), 5_000);
    const heardOf = (): boolean =>
      others.some((each) => each.route.find(node!.id)?.incarnation === route.self.incarnation);
    await cluster.until(heardOf, 900); // before its table is saved
    const heard = new Set<string>();
    for (const each of [observer!, ...others]) {
      each.route.onChange((member, previous) => {
        if (member.id === node!.id && member.incarnation > previous!.incarnation)
          heard.add(each.name);
      });
    }
    cluster.crash(node!);
    await cluster.restart(node!);
    await cluster.until(() => heard.size === 4 && cluster.tablesAgree(5), 5_000);
    expect(cluster.faults()).toEqual([]);
  });

  test("all nodes restart at once and form the ring again", async () => {
    const cluster = await started(5);
    for (const node of cluster.nodes) cluster.crash(node);
    await cluster.clock.runFor(1_000);
    for (const node of cluster.nodes) await cluster.restart(node);
    await cluster.until(() => cluster.tablesAgree(5) && cluster.ringIsIdeal(), 5_000);
    expect(cluster.faults()).toEqual([]);
  });

  test("a sixth node joins with a granted id, and is known after a restart", async () => {
    const cluster = await started(5);
    const folder = "00000000000000aa" as FolderId;
    const asking = cluster.node(2).peers;
    const id = await cluster.clock.settle(requestGrant(asking, ["n0", "n1"], folder));
    const again = await cluster.clock.settle(requestGrant(asking, ["n0", "n1"], folder));
    expect(again).toBe(id);
    const sixth = cluster.add("n5", id, folder, ["n0"]);
    await cluster.start(sixth);
    await cluster.until(() => cluster.tablesAgree(6) && cluster.ringIsIdeal(), 6_000);
    expect(cluster.ringFaults()).toEqual([]);
    expect(sixth.route.arcShare(sixth.id)).toBeCloseTo(0.1, 3);
    await cluster.clock.runFor(5_000);
    cluster.crash(sixth);
    cluster.crash(cluster.node(0));
    await cluster.restart(cluster.node(0));
    expect(cluster.node(0).route.find(sixth.id)?.peerAddress).toBe("n5");
    await cluster.restart(sixth);
    await cluster.until(() => cluster.tablesAgree(6) && cluster.ringIsIdeal(), 10_000);
    expect(cluster.faults()).toEqual([]);
  });

  test("a third node turns the static ring of two into Chord's", async () => {
    const cluster = await started(2);
    expect(cluster.states()).toEqual([]);
    const folder = "00000000000000aa" as FolderId;
    const id = await cluster.clock.settle(requestGrant(cluster.node(0).peers, ["n1"], folder));
    const third = cluster.add("n2", id, folder, ["n1"]);
    await cluster.start(third);
    await cluster.until(() => cluster.tablesAgree(3) && cluster.ringIsIdeal(), 5_000);
    cluster.crash(third);
    await cluster.until(() => cluster.tablesAgree(2) && cluster.states().length === 0, 10_000);
    expect(cluster.faults()).toEqual([]);
  });

  test.each([
    [5, 2],
    [6, 3],
    [9, 4],
  ])("a partition of %i nodes with %i cut off heals to one ring", async (size, minority) => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const cluster = await started(size, seed);
      const left = cluster.nodes.slice(0, minority);
      const right = cluster.nodes.slice(minority);
      cluster.partition(left, right);
      const apart = () =>
        left.every((node) => node.route.live().length === minority) &&
        right.every((node) => node.route.live().length === size - minority);
      await cluster.until(apart, 60_000);
      await cluster.clock.runFor(20_000);
      const buried: string[] = [];
      for (const node of cluster.nodes) {
        node.route.onChange((row, before) => {
          if (row.state === "dead" && before && before.state !== "dead") buried.push(row.id);
        });
      }
      cluster.heal();
      await cluster.until(() => cluster.tablesAgree(size) && cluster.ringIsIdeal(), 60_000);
      await cluster.clock.runFor(5_000);
      // What each side says of the other is verified, not believed.
      expect(buried).toEqual([]);
      expect(cluster.ringFaults()).toEqual([]);
      expect(cluster.faults()).toEqual([]);
    }
  });

  test("keeps a node that one link cannot reach (non-transitive links)", async () => {
    const cluster = await started(5);
    cluster.partition([cluster.node(0)], [cluster.node(1)]);
    await cluster.clock.runFor(60_000);
    for (const node of cluster.nodes) expect(node.route.live()).toHaveLength(5);
    expect(cluster.events.filter((each) => each.event === "Member is dead")).toEqual([]);
  });

  test("loses no live node to lost messages", async () => {
    const cluster = await started(5);
    cluster.loss = 0.1;
    await cluster.clock.runFor(120_000);
    expect(cluster.events.filter((each) => each.event === "Member is dead")).toEqual([]);
    cluster.loss = 0;
    await cluster.until(() => cluster.tablesAgree(5) && cluster.ringIsIdeal(), 40_000);
    expect(cluster.faults()).toEqual([]);
  });

  test("a node that sleeps 30 s is declared dead, blames nobody, and joins again", async () => {
    const cluster = await started(5);
    const [sleeper, ...others] = cluster.nodes;
    sleeper!.clock.pause();
    cluster.partition([sleeper!], others);
    await cluster.clock.runFor(30_000);
    for (const each of others) expect(cluster.stateOf(sleeper!, each)).toBe("dead");
    cluster.heal();
    sleeper!.clock.resume();
    await cluster.until(() => cluster.tablesAgree(5) && cluster.ringIsIdeal(), 20_000);
    const deaths = cluster.events.filter((each) => each.event === "Member is dead");
    expect(deaths.every((each) => each.node !== sleeper!.name)).toBe(true);
    // Declared dead, it is a member again by JOIN in a new life; nobody else had to join again.
    expect(sleeper!.route.ringState()!.self.life).toBeGreaterThan(firstIncarnation(1));
    for (const each of others) expect(each.route.ringState()!.self.life).toBe(firstIncarnation(1));
    expect(cluster.faults()).toEqual([]);
  });

  test("a suspicion that ran out while the observer slept buries nobody", async () => {
    const cluster = await started(5);
    const [sleeper, suspect] = cluster.nodes;
    await becomesSuspect(cluster, suspect!, sleeper!);
    sleeper!.clock.pause();
    cluster.partition([sleeper!], cluster.nodes.slice(1));
    await cluster.clock.runFor(10_000);
    cluster.heal();
    sleeper!.clock.resume();
    await cluster.until(() => cluster.tablesAgree(5), 20_000);
    const deaths = cluster.events.filter((each) => each.event === "Member is dead");
    expect(deaths.filter((each) => each.node === sleeper!.name)).toEqual([]);
    expect(cluster.faults()).toEqual([]);
  });

  test("survives the loss of r successors at once, with an alarm", async () => {
    const cluster = await started(9);
    for (const index of [3, 4]) cluster.crash(cluster.node(index));
    await cluster.until(() => cluster.tablesAgree(7) && cluster.ringIsIdeal(), 30_000);
    expect(cluster.r).toBe(2);
    expect(cluster.events.some((each) => each.event.startsWith("Ring starts"))).toBe(true);
    expect(cluster.faults()).toEqual([]);
  });

  test("announce shows in self at once and reaches the others", async () => {
    const cluster = await started(5);
    const node = cluster.node(3);
    node.route.announce({ capacityBytes: 1000, freeBytes: 700 });
    expect(node.route.self).toMatchObject({ capacityBytes: 1000, freeBytes: 700 });
    const took = await cluster.until(
      () => cluster.nodes.every((each) => each.route.find(node.id)?.freeBytes === 700),
      10_000,
    );
    expect(took).toBeLessThan(6_000);
    node.route.announce({ capacityBytes: 1000, freeBytes: 695 });
    expect(node.route.self.freeBytes).toBe(695);
    expect(node.route.self.incarnation).toBe(firstIncarnation(1));
  });

  test("observed(unreachable) speeds up the verdict, and alone harms no live node", async () => {
    const cluster = await started(5);
    const [lost, observer] = [cluster.node(4), cluster.node(0)];
    for (let i = 0; i < 50; i++) observer.route.observed(lost.id, false);
    await cluster.clock.runFor(10_000);
    expect(cluster.stateOf(lost, observer)).toBe("alive");
    cluster.crash(lost);
    observer.route.observed(lost.id, false);
    const tookMs = await cluster.until(() => cluster.stateOf(lost, observer) === "dead", 10_000);
    expect(tookMs).toBeLessThan(1_200);
  });

  test("onChange tells of death and return, and can be stopped", async () => {
    const cluster = await started(3);
    const seen: string[] = [];
    const lost = cluster.node(2);
    const stop = cluster
      .node(0)
      .route.onChange((row, before) => seen.push(`${before?.state} -> ${row.state}`));
    cluster.crash(lost);
    await cluster.until(() => cluster.stateOf(lost, cluster.node(0)) === "dead", 10_000);
    await cluster.restart(lost);
    await cluster.until(() => cluster.tablesAgree(3), 5_000);
    expect(seen).toEqual(["alive -> suspect", "suspect -> dead", "dead -> alive"]);
    stop();
    cluster.crash(lost);
    await cluster.until(() => cluster.stateOf(lost, cluster.node(0)) === "dead", 10_000);
    expect(seen).toHaveLength(3);
  });

  test("another number of copies reaches everybody in seconds, and stays where it is known", async () => {
    const cluster = await started(9);
    const settings = () => new Set(cluster.running.map(({ route }) => route.copies().version));
    cluster.node(4).route.learnCopies({ version: 1, copies: 5 });
    const spreadMs = await cluster.until(() => settings().size === 1, 20_000);
    expect(spreadMs).toBeLessThan(6_000);
    expect(cluster.node(0).route.copies()).toEqual({ version: 1, copies: 5 });
    for (const node of cluster.nodes) cluster.crash(node);
    const alone = cluster.node(7);
    await cluster.restart(alone);
    expect(alone.route.copies()).toEqual({ version: 1, copies: 5 });
  });

  test("two changes in a row end the same everywhere, also where only the first was heard", async () => {
    const cluster = await started(5);
    const [cut, ...others] = cluster.nodes;
    cluster.node(1).route.learnCopies({ version: 1, copies: 5 });
    await cluster.until(() => cut!.route.copies().version === 1, 20_000);
    cluster.partition([cut!], others);
    cluster.node(2).route.learnCopies({ version: 2, copies: 1 });
    await cluster.clock.runFor(60_000);
    expect(cut!.route.copies().version).toBe(1);
    cluster.heal();
    await cluster.until(() => cut!.route.copies().version === 2, 90_000);
    for (const { route } of cluster.nodes)
      expect(route.copies()).toEqual({ version: 2, copies: 1 });
  });

  test("a node that was down, an older folder and a newcomer learn the number of copies at once", async () => {
    const cluster = await started(5);
    const [down, restored] = cluster.nodes;
    cluster.node(3).route.learnCopies({ version: 1, copies: 5 });
    await cluster.until(() => restored!.route.copies().version === 1, 20_000);
    await cluster.clock.runFor(100);
    const backup = restored!.disk.rows({ from: "", to: "\u{10ffff}", limit: Infinity });
    cluster.crash(down!);
    cluster.node(3).route.learnCopies({ version: 2, copies: 3 });
    await cluster.until(() => restored!.route.copies().version === 2, 20_000);
    // Nobody carries it on pings any more.
    await cluster.clock.runFor(60_000);
    cluster.crash(restored!);
    restored!.disk.apply(backup);
    for (const node of [down!, restored!]) {
      await cluster.restart(node);
      const learnedMs = await cluster.until(() => node.route.copies().version === 2, 5_000);
      expect(learnedMs, node.name).toBeLessThan(100);
    }
    const id = cluster.nodes[0]!.id.replace(/.$/u, "f") as NodeId;
    const joiner = cluster.add("new", id, "f".repeat(16) as FolderId, ["n3"]);
    await cluster.start(joiner);
    expect(joiner.route.copies()).toEqual({ version: 2, copies: 3 });
    expect(cluster.nodes.map(({ route }) => route.copies().version)).toEqual([2, 2, 2, 2, 2, 2]);
  });

  test("a node that leaves is left everywhere at once, is not probed, and its ring closes", async () => {
    const cluster = await started(6);
    const [leaver, ...others] = cluster.nodes;
    await cluster.clock.settle(leaver!.route.leave());
    const toldMs = await cluster.until(
      () => others.every((each) => cluster.stateOf(leaver!, each) === "left"),
      3_000,
    );
    expect(toldMs).toBeLessThan(100);
    expect(leaver!.route.self.state).toBe("left");
    for (const node of cluster.nodes) expect(node.route.live()).toHaveLength(5);
    await cluster.until(
      () => cluster.states().length === 5 && isIdeal(cluster.states(), cluster.r),
      3_000,
    );
    expect(leaver!.route.ringState()).toBeUndefined();
    // It still answers and asks: a lookup goes on to a member.
    const found = await cluster.clock.settle(leaver!.route.lookup(leaver!.id));
    expect(found.owner.id).toBe(cluster.node(1).id);
    await cluster.clock.settle(leaver!.route.leave());
    await cluster.clock.settle(leaver!.route.stop());
    cluster.crash(leaver!);
    await cluster.clock.runFor(30_000);
    for (const each of others) expect(cluster.stateOf(leaver!, each)).toBe("left");
    expect(cluster.events.filter((each) => /dead|suspected/u.test(each.event))).toEqual([]);
    // A new start is a new incarnation, and brings it back.
    await cluster.restart(leaver!);
    await cluster.until(() => cluster.tablesAgree(6) && cluster.ringIsIdeal(), 10_000);
    expect(cluster.faults()).toEqual([]);
  });

  test("by fingers, too, a node that left is responsible for nothing", async () => {
    const cluster = new RouteCluster(5, { routing: "fingers" });
    await cluster.start(...cluster.nodes);
    await cluster.until(() => cluster.ringIsIdeal(), 5_000);
    const leaver = cluster.node(2);
    await cluster.clock.settle(leaver.route.leave());
    const found = await cluster.clock.settle(leaver.route.lookup(leaver.id));
    expect(found.owner.id).toBe(cluster.node(3).id);
  });

  test("leave() fails with Unavailable when no member hears it, and can be repeated", async () => {
    const cluster = await started(3);
    const [leaver, ...others] = cluster.nodes;
    cluster.partition([leaver!], others);
    await expect(cluster.clock.settle(leaver!.route.leave())).rejects.toMatchObject({
      code: "Unavailable",
    });
    cluster.heal();
    await cluster.clock.settle(leaver!.route.leave());
    await cluster.until(
      () => others.every((each) => cluster.stateOf(leaver!, each) === "left"),
      5_000,
    );
  });

  test("the last member may leave", async () => {
    const cluster = await started(1);
    await cluster.clock.settle(cluster.node(0).route.leave());
    expect(cluster.node(0).route.live()).toEqual([]);
  });

  test("aliveForMs and deadForMs count from the last coming or going, whatever wall clocks say", async () => {
    const cluster = await started(5);
    const [lost, observer] = [cluster.node(4), cluster.node(0)];
    await cluster.clock.runFor(10_000);
    const aliveMs = observer.route.aliveForMs(lost.id);
    expect(aliveMs).toBeGreaterThan(10_000);
    expect(observer.route.deadForMs(lost.id)).toBe(0);
    observer.clock.wallOffsetMs = 3_600_000;
    expect(observer.route.aliveForMs(lost.id)).toBe(aliveMs);
    cluster.crash(lost);
    await cluster.until(() => cluster.stateOf(lost, observer) === "dead", 10_000);
    expect(observer.route.aliveForMs(lost.id)).toBe(0);
    await cluster.clock.runFor(5_000);
    expect(observer.route.deadForMs(lost.id)).toBeCloseTo(5_000, 3);
    await cluster.restart(lost);
    await cluster.until(() => cluster.stateOf(lost, observer) === "alive", 5_000);
    await cluster.clock.runFor(2_000);
    expect(observer.route.deadForMs(lost.id)).toBe(0);
    expect(observer.route.aliveForMs(lost.id)).toBeCloseTo(2_000, -2);
    expect(observer.route.aliveForMs("e".repeat(32) as never)).toBe(0);
    expect(observer.route.deadForMs("e".repeat(32) as never)).toBe(0);
  });

  test("a suspicion that is refuted is no break of aliveForMs", async () => {
    const cluster = await started(5);
    const [suspect, observer] = [cluster.node(1), cluster.node(0)];
    await cluster.clock.runFor(5_000);
    await becomesSuspect(cluster, suspect, observer);
    await cluster.until(() => suspect.route.self.incarnation > firstIncarnation(1), 5_000);
    await cluster.until(() => cluster.stateOf(suspect, observer) === "alive", 5_000);
    expect(observer.route.aliveForMs(suspect.id)).toBeGreaterThan(5_000);
  });

  test("a suspect that one node alone cannot reach has longer to refute than one that nobody reaches", async () => {
    const deathOf = async (alone: boolean): Promise<number> => {
      const cluster = await started(8, 3);
      const [lost, ...others] = cluster.nodes;
      cluster.partition([lost!], others);
      // Who hears of a suspicion and is cut off from the others gets no confirmation of it.
      await cluster.until(
        () => others.some((each) => cluster.stateOf(lost!, each) === "suspect"),
        9_000,
      );
      const first = others.find((each) => cluster.stateOf(lost!, each) === "suspect")!;
      if (alone) cluster.partition([first], others);
      return cluster.until(() => cluster.stateOf(lost!, first) === "dead", 20_000);
    };
    const aloneMs = await deathOf(true);
    const togetherMs = await deathOf(false);
    expect(aloneMs).toBeGreaterThan(4_000);
    expect(togetherMs).toBeLessThan(aloneMs - 1_000);
  });

  test("what a joiner hears first is no news: it does not spread it again", async () => {
    const cluster = await started(20);
    await cluster.clock.runFor(40_000);
    const told: number[] = [];
    const folder = "00000000000000aa" as FolderId;
    const joiner = cluster.add("n20", "f".repeat(32) as never, folder, ["n0"]);
    const call = joiner.peers.call.bind(joiner.peers);
    joiner.peers.call = (peer, name, request, timeoutMs) => {
      if (name === "route.ping") told.push((request as { rows?: unknown[] }).rows?.length ?? 0);
      return call(peer, name, request, timeoutMs);
    };
    await cluster.start(joiner);
    await cluster.until(() => cluster.tablesAgree(21), 5_000);
    await cluster.clock.runFor(5_000);
    expect(told.length).toBeGreaterThan(20);
    // Only its own row.
    expect(Math.max(...told)).toBe(1);
  });

  test("a large cluster probes its dead no more often than a small one", async () => {
    const cluster = await started(40);
    const lost = cluster.node(7);
    cluster.crash(lost);
    await cluster.until(() => cluster.tablesAgree(39), 30_000);
    await cluster.clock.runFor(20_000);
    let probes = 0;
    cluster.onMessage = ({ to, kind, name }) => {
      if (to === lost.name && kind === "request" && name === "route.ping") probes++;
      return undefined;
    };
    await cluster.clock.runFor(60_000);
    // Ten nodes once in five seconds are 120; each of 39 would make it 468.
    expect(probes).toBeGreaterThan(60);
    expect(probes).toBeLessThan(200);
  });

  test("forgets the dead after 72 hours, and nobody brings them back", async () => {
    const cluster = await started(3);
    const folder = "00000000000000aa" as FolderId;
    const fourth = cluster.add("n3", "f".repeat(32) as never, folder, ["n0"]);
    await cluster.start(fourth);
    await cluster.until(() => cluster.tablesAgree(4), 5_000);
    cluster.crash(fourth);
    await cluster.until(() => cluster.tablesAgree(3), 10_000);
    const observer = cluster.node(0);
    for (const node of cluster.nodes) node.clock.wallOffsetMs = 71 * 3_600_000;
    await cluster.clock.runFor(60_000);
    expect(cluster.stateOf(fourth, observer)).toBe("dead");
    // One after the other forgets; who has not yet does not tell those who have.
    for (const node of cluster.running) {
      node.clock.wallOffsetMs = 73 * 3_600_000;
      await cluster.clock.runFor(60_000);
      expect(cluster.stateOf(fourth, node)).toBeUndefined();
    }
    await cluster.clock.runFor(60_000);
    for (const node of cluster.running) expect(cluster.stateOf(fourth, node)).toBeUndefined();
  });

  test("stop() ends everything: no timer fires afterwards", async () => {
    const cluster = await started(3);
    await cluster.clock.settle(Promise.all(cluster.nodes.map((node) => node.route.stop())));
    const before = cluster.clock.events;
    await cluster.clock.runFor(60_000);
    expect(cluster.clock.events).toBe(before);
  });

  test("start() of a joiner without an answering seed fails with Unavailable", async () => {
    const cluster = await started(1);
    const joiner = cluster.add("n9", "f".repeat(32) as never, "00000000000000bb" as FolderId, [
      "nobody",
    ]);
    cluster.crash(cluster.node(0));
    await expect(cluster.start(joiner)).rejects.toMatchObject({ code: "Unavailable" });
  });
});
