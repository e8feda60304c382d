// Faults of the network: links that are cut in every way, and bytes that change on the way.
import { anyNode, type FaultScene, type FaultSpec } from "./fault-spec.ts";
import { type Undo } from "./network-conditions.ts";

const allAddresses = ({ world }: FaultScene): string[] =>
  world.machines.map((machine) => machine.address);

/** Numbers of the nodes in random order, cut in two at `size`. */
function halves({ world, chance }: FaultScene, size: number): [string[], string[]] {
  const order = chance.shuffle(world.machines.map((machine) => machine.address));
  return [order.slice(0, size), order.slice(size)];
}

export const LINK_FAULTS = {
  /** Two groups of any size. */
  split: {
    weight: 2,
    nodesMin: 2,
    begin: (scene) => {
      const [left, right] = halves(scene, 1 + scene.chance.below(scene.world.size - 1));
      return { undo: scene.world.conditions.cut(left, right) };
    },
  },
  "half split": {
    weight: 1,
    nodesMin: 4,
    begin: (scene) => {
      const [left, right] = halves(scene, scene.world.size >> 1);
      return { undo: scene.world.conditions.cut(left, right) };
    },
  },
  isolate: {
    weight: 2,
    nodesMin: 2,
    begin: (scene) => {
      const node = scene.world.address(anyNode(scene));
      return { undo: scene.world.conditions.cut([node], allAddresses(scene)) };
    },
  },
  /** A node that hears all and is heard by none, or the other way round. */
  "one-way": {
    weight: 1,
    nodesMin: 2,
    begin: (scene) => {
      const { conditions } = scene.world;
      const [node, all] = [[scene.world.address(anyNode(scene))], allAddresses(scene)];
      const mute = scene.chance.happens(0.5);
      return { undo: mute ? conditions.cutOneWay(node, all) : conditions.cutOneWay(all, node) };
    },
  },
  /** Two that do not see each other while both see the others. */
  "cut one link": {
    weight: 2,
    nodesMin: 2,
    begin: (scene) => {
      const [a, b] = scene.chance.shuffle(allAddresses(scene));
      return { undo: scene.world.conditions.cut([a!], [b!]) };
    },
  },
  /** Each direction of each link by itself: who sees whom follows no order. */
  "cut many links": {
    weight: 1,
    nodesMin: 3,
    begin: (scene) => {
      const { world, chance } = scene;
      const share = chance.range(0.1, 0.5);
      const undos: Undo[] = [];
      for (const from of allAddresses(scene))
        for (const to of allAddresses(scene))
          if (from !== to && chance.happens(share))
            undos.push(world.conditions.cutOneWay([from], [to]));
      return { undo: () => undos.forEach((undo) => undo()) };
    },
  },
  /** Bytes change on the way to or from a node: its connections break again and again. */
  corruption: {
    weight: 1,
    nodesMin: 2,
    begin: (scene) => {
      const node = scene.world.address(anyNode(scene));
      return { undo: scene.world.conditions.corrupt(node, scene.chance.range(0.01, 0.3)) };
    },
  },
} satisfies Record<string, FaultSpec>;
