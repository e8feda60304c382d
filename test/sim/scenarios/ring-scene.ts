// The start of a ring scenario: real route modules over messages, without the rest of a node, whose ring is ideal. From
// then on a watch checks the ring's invariants after every event that changed a state.
import { expect } from "vitest";
import { requestGrant } from "../../../node/route/grants.ts";
import { type FolderId, type NodeId } from "../../../shared/ids.ts";
import { randomId, RouteCluster, type TestNode } from "../../unit/route/route-cluster.ts";
import { RingWatch, type WatchScope } from "../ring-watch.ts";
import { SeededChance } from "../seeded-chance.ts";

const lookupWithinMs = 5_000;

export class RingScene {
  readonly cluster: RouteCluster;
  readonly #watch: RingWatch;

  private constructor(cluster: RouteCluster) {
    this.cluster = cluster;
    this.#watch = new RingWatch(cluster);
  }

  /** A cluster whose ring is ideal and whose tables agree. */
  static async ideal(
    size: number,
    options: { seed?: number; routing?: "table" | "fingers" } = {},
  ): Promise<RingScene> {
    const cluster = new RouteCluster(size, options);
    await cluster.start(...cluster.nodes);
    await cluster.until(() => cluster.tablesAgree(size) && cluster.ringIsIdeal(), 10_000);
    return new RingScene(cluster);
  }

  /** Runs for so many ms, or until something holds. */
  run(until: number | (() => boolean), withinMs?: number): Promise<void> {
    return this.#watch.run(until, withinMs);
  }

  /** What the watch checks from now on; at first it is the whole ring. */
  watch(scope: WatchScope): void {
    this.#watch.look(scope);
  }

  /** These lose power at the same moment. */
  crash(...nodes: readonly TestNode[]): void {
    for (const node of nodes) this.cluster.crash(node);
    this.#watch.check();
  }

  /** Starts nodes at the same moment and runs until they have started; they join the ring after that. */
  async start(...nodes: readonly TestNode[]): Promise<void> {
    let ended = false;
    const started = Promise.all(nodes.map((node) => this.cluster.begin(node)));
    const mark = (): void => {
      ended = true;
    };
    started.then(mark, mark);
    await this.run(() => ended);
    await started;
  }

  /** The same data folder again, in its next life. */
  restart(node: TestNode): Promise<void> {
    this.cluster.renew(node);
    return this.start(node);
  }

  /** Runs until all tables agree on so many members and their ring is ideal. */
  becomesIdeal(size: number, withinMs = 30_000): Promise<void> {
    const { cluster } = this;
    return this.run(() => cluster.tablesAgree(size) && cluster.ringIsIdeal(), withinMs);
  }

  /** Z10: without faults the ring of so many members becomes ideal, and stays. */
  async settles(size: number, withinMs = 20_000): Promise<void> {
    await this.becomesIdeal(size, withinMs);
    await this.run(6_000);
    expect(this.cluster.ringIsIdeal()).toBe(true);
    expect(this.cluster.faults()).toEqual([]);
  }

  /** Runs until all running nodes count so many live members. */
  counts(size: number): Promise<void> {
    const { cluster } = this;
    return this.run(() => cluster.running.every(({ route }) => route.live().length === size));
  }

  /** A new node with an id of the test's choice, which nobody granted; it does not run yet. */
  joinerAt(id: string, seed = "n0"): TestNode {
    expect(this.cluster.nodes.map((node) => node.id)).not.toContain(id);
    return this.cluster.add(this.#newName(), id as NodeId, this.#newFolder(), [seed]);
  }

  /** A new node with an id that the ring granted; it does not run yet. */
  async grantedJoiner(): Promise<TestNode> {
    const folder = this.#newFolder();
    const { peers } = this.cluster.node(0);
    const id = await this.cluster.clock.settle(requestGrant(peers, ["n0"], folder));
    return this.cluster.add(this.#newName(), id, folder, ["n0"]);
  }

  /** Who is responsible for a point, as one node finds it. */
  async ownerSeenBy(node: TestNode, point: string): Promise<NodeId> {
    const found = await this.cluster.clock.settle(node.route.lookup(point as NodeId));
    return found.owner.id;
  }

  /**
   * One lookup after another, from nodes that run, until stop(): each ends within bounded time and hops, at a node that
   * runs and that the asker can talk to. stop() gives how many there were, and throws what was wrong.
   */
  lookUpAllTheWhile(seed: number): { readonly stop: () => Promise<number> } {
    const { cluster } = this;
    const chance = new SeededChance(seed);
    let stopped = false;
    let done = 0;
    const work = async (): Promise<void> => {
      while (!stopped) {
        const node = chance.pick(cluster.running);
        const { starts } = node;
        const begunMs = cluster.clock.now;
        const before = this.#reachableFrom(node);
        // A node that crashes meanwhile never answers: then another goes on.
        const found = await Promise.race([
          node.route.lookup(randomId(chance)),
          cluster.clock.sleep(lookupWithinMs),
        ]);
        if (!node.running || node.starts !== starts) continue;
        const what = `a lookup at ${node.name} from ${begunMs} ms on`;
        if (!found) throw new Error(`No end of ${what}`);
        expect(found.hops, what).toBeLessThan(2 * cluster.nodes.length);
        const reachable = [...before, ...this.#reachableFrom(node)].map((each) => each.id);
        expect(reachable, what).toContain(found.owner.id);
        done++;
        await cluster.clock.sleep(20);
      }
    };
    const task = work();
    task.catch(() => {}); // it shows in stop()
    return {
      stop: async () => {
        stopped = true;
        await cluster.clock.settle(task);
        return done;
      },
    };
  }

  #reachableFrom(node: TestNode): TestNode[] {
    const { cut, running } = this.cluster;
    return running.filter(
      ({ name }) => !cut.has(`${node.name}>${name}`) && !cut.has(`${name}>${node.name}`),
    );
  }

  #newName(): string {
    return `n${this.cluster.nodes.length}`;
  }

  #newFolder(): FolderId {
    return this.cluster.nodes.length.toString(16).padStart(16, "0") as FolderId;
  }
}
