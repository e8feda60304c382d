// D(s): the nodes that should hold a point. Only the live member table decides, so that equal tables agree.
import { type RingId } from "../../shared/ids.ts";
import { successorIndex } from "../../shared/ring.ts";
import { type Member } from "./types.ts";

/**
 * The first `count` live nodes at or after a point, walking clockwise; a node of a zone that is already taken is
 * passed over while another zone is left. In walking order within the zone rule: first the new zones, then the rest.
 * @param walk live members clockwise from the point, each once; read only as far as needed
 * @param zonesMax how many zones there are
 */
export function desiredNodes<M extends Pick<Member, "zone">>(
  walk: Iterable<M>,
  count: number,
  zonesMax: number,
): M[] {
  const zones = new Set<string>();
  const chosen: M[] = [];
  const passed: M[] = [];
  for (const member of walk) {
    const rest = count - chosen.length;
    // The walk need not look for zones that do not exist.
    if (rest === 0 || (zones.size === zonesMax && passed.length >= rest)) break;
    if (zones.has(member.zone)) passed.push(member);
    else {
      zones.add(member.zone);
      chosen.push(member);
    }
  }
  return [...chosen, ...passed.slice(0, count - chosen.length)];
}

/** Members clockwise from a point, each once. @param members by rising id */
export function clockwiseFrom<M extends Pick<Member, "id">>(
  members: readonly M[],
  point: RingId,
): M[] {
  const start = successorIndex(
    members.map(({ id }) => id),
    point,
  );
  return [...members.slice(start), ...members.slice(0, start)];
}
