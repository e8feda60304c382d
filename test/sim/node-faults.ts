// Faults of single machines: processes that die, stand still or go for good, disks and clocks that are wrong, and nodes
// that come in.
import { canLose, rotOne } from "./copies.ts";
import { anyNode, type FaultEnd, type FaultScene, type FaultSpec } from "./fault-spec.ts";
import { type Undo } from "./network-conditions.ts";
import { type World } from "./world.ts";

/** What a node is given to do, or told, when something becomes durable or decided. */
const STEPS = [
  "index.prepare",
  "index.prepare reply",
  "index.accept",
  "index.accept reply",
  "index.execute",
  "index.readreg",
  "index.fetch reply",
];
const hourMs = 3_600_000;
const longPauseMs = 30_000; // longer than a client waits for an answer, longer than any suspicion

function takeAway(
  scene: FaultScene,
  away: (i: number) => void,
  back: (i: number) => void,
  afterMs?: number,
): FaultEnd | "none" {
  const i = anyNode(scene);
  if (!scene.mayTakeAway(i)) return "none";
  away(i);
  const end = { undo: () => back(i), away: i };
  return afterMs === undefined ? end : { ...end, afterMs };
}

function standStill(scene: FaultScene, forMs?: number): FaultEnd | "none" {
  const { world } = scene;
  return takeAway(
    scene,
    (i) => world.pause(i),
    (i) => world.resume(i),
    forMs,
  );
}

/** While it ends, a node may still be asked into a view: whether it can be done without is looked at again. */
async function leave(world: World, i: number): Promise<void> {
  const machine = world.machines[i]!;
  machine.resume();
  await machine.shutDown();
  if (machine.isUp) return; // it was started again meanwhile
  if (canLose(world, i)) machine.gone = "left";
  else await machine.start();
}

export const NODE_FAULTS = {
  /** Power off, and on again. */
  crash: {
    weight: 4,
    nodesMin: 1,
    begin: (scene) =>
      takeAway(
        scene,
        (i) => scene.world.crash(i),
        (i) => void scene.world.restart(i),
      ),
  },
  /** Power off within a few ms of a step of the protocol: before, while and after its outcome becomes durable. */
  "crash in a step": {
    weight: 4,
    nodesMin: 2,
    begin: (scene) => {
      const { world, chance, later } = scene;
      const afterMs = chance.range(0, 8);
      let disarm: Undo = () => {};
      const end = takeAway(
        scene,
        (i) => {
          disarm = world.onNext(i, chance.pick(STEPS), () => later(afterMs, () => world.crash(i)));
        },
        (i) => {
          disarm();
          void world.restart(i);
        },
      );
      return end;
    },
  },
  /** Ends in good order, and starts again. */
  restart: {
    weight: 1,
    nodesMin: 1,
    begin: (scene) =>
      takeAway(
        scene,
        (i) => void scene.world.shutDown(i),
        (i) => void scene.world.restart(i),
      ),
  },
  /** The power of the house. Each node comes back by itself: they do not see each other in the same state. */
  "crash all": {
    weight: 0.5,
    nodesMin: 1,
    begin: ({ world, chance, lastMs, later }) => {
      for (const { number } of world.machines) {
        world.crash(number);
        later(chance.fraction() * lastMs, () => void world.restart(number));
      }
      return undefined;
    },
  },
  /** A process stands still: a long garbage collection, a stopped virtual machine. */
  pause: {
    weight: 2,
    nodesMin: 1,
    begin: (scene) => standStill(scene),
  },
  "long pause": {
    weight: 0.7,
    nodesMin: 1,
    begin: (scene) => standStill(scene, longPauseMs),
  },
  /** A processor that does not keep up: everything from and to the node is late, its disk too. */
  "slow node": {
    weight: 1,
    nodesMin: 2,
    begin: (scene) => {
      const { world, chance } = scene;
      const i = anyNode(scene);
      const undo = world.conditions.slow(world.address(i), chance.range(20, 1_500));
      if (chance.happens(0.5)) return { undo };
      world.slowDisk(i, chance.range(2, 50));
      return {
        undo: () => {
          undo();
          world.slowDisk(i, 1);
        },
      };
    },
  },
  "slow disk": {
    weight: 1,
    nodesMin: 1,
    begin: (scene) => {
      const i = anyNode(scene);
      scene.world.slowDisk(i, scene.chance.range(5, 500));
      return { undo: () => scene.world.slowDisk(i, 1) };
    },
  },
  /** Every write is refused until there is room again. */
  "disk full": {
    weight: 1,
    nodesMin: 1,
    begin: (scene) => {
      const machine = scene.world.machines[anyNode(scene)]!;
      machine.fillDisk(true);
      return { undo: () => machine.fillDisk(false) };
    },
  },
  /** A bit of a block flips for good. */
  "bit rot": {
    weight: 1,
    nodesMin: 2,
    begin: (scene) => (rotOne(scene.world, anyNode(scene), scene.chance) ? undefined : "none"),
  },
  /** An hour forward or back, or anything in between. */
  "wall clock": {
    weight: 1,
    nodesMin: 1,
    begin: (scene) => {
      const { world, chance } = scene;
      const i = anyNode(scene);
      world.setWall(i, chance.pick([-hourMs, hourMs, chance.range(-hourMs, hourMs)]));
      return { undo: () => world.setWall(i, 0) };
    },
  },
  /** A node loses its data folder, and never comes back under that identity. */
  wipe: {
    weight: 0.3,
    nodesMin: 3,
    begin: (scene) => {
      const i = anyNode(scene);
      if (!canLose(scene.world, i) || !scene.mayTakeAway(i)) return "none";
      scene.world.machines[i]!.wipe();
      return undefined;
    },
  },
  /** A node ends in good order for good. */
  leave: {
    weight: 0.3,
    nodesMin: 3,
    begin: (scene) => {
      const i = anyNode(scene);
      if (!canLose(scene.world, i) || !scene.mayTakeAway(i)) return "none";
      void leave(scene.world, i);
      return undefined;
    },
  },
  /** A new node asks for a place in the ring. */
  join: {
    weight: 0.5,
    nodesMin: 1,
    begin: ({ world }) => {
      if (world.size >= 2 * world.genesis.nodes.length + 1) return "none";
      void world.restart(world.addNode());
      return undefined;
    },
  },
  /** An operator asks a node for another number of copies, of which he may hear nothing. On a schedule of its own. */
  "change copies": {
    weight: 0,
    nodesMin: 1,
    begin: (scene) => {
      const { world, chance } = scene;
      const copies = chance.pick([1, 3, 3, 5] as const);
      void world.operator.setCopies(world.address(anyNode(scene)), copies).catch(() => {});
      return undefined;
    },
  },
} satisfies Record<string, FaultSpec>;
