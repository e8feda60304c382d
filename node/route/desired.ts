// D(s): the nodes that should hold a point. Only the live member table decides, so that equal tables agree.
import { type RingId } from "../../shared/ids.ts";
import { successorIndex } from "../../shared/ring.ts";
import { type Member } from "./types.ts";

/**
 * The first `count` live nodes at or after a point, walking clockwise; a node of a zone that is already taken is
 * passed over while another zone is left. In walking order within the zone rule: first the new zones, then the rest.
 * @param live by rising id
 */
export function desiredNodes(live: readonly Member[], point: RingId, count: number): Member[] {
  if (live.length === 0) return [];
  const start = successorIndex(
    live.map((member) => member.id),
    point,
  );
  const walk = [...live.slice(start), ...live.slice(0, start)];
  const zones = new Set<string>();
  const chosen: Member[] = [];
  const passed: Member[] = [];
  for (const member of walk) {
    if (chosen.length === count) return chosen;
    if (zones.has(member.zone)) passed.push(member);
    else {
      zones.add(member.zone);
      chosen.push(member);
    }
  }
  return [...chosen, ...passed.slice(0, count - chosen.length)];
}
