import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Candidate,
  commonPrefixBits,
  distanceKm,
  nearest,
  nearestGroups,
} from "../../../shared/nearest.ts";

const BERLIN = { latitude: 52.52, longitude: 13.405 };
const PARIS = { latitude: 48.8566, longitude: 2.3522 };
const TOKYO = { latitude: 35.6762, longitude: 139.6503 };
const SYDNEY = { latitude: -33.8688, longitude: 151.2093 };

interface Named extends Candidate {
  readonly name: string;
}
const names = (found: readonly Named[]): string => found.map(({ name }) => name).join(" ");

describe("distanceKm", () => {
  test("great circles of known length", () => {
    expect(distanceKm(BERLIN, PARIS)).toBeCloseTo(877, -1);
    expect(distanceKm(TOKYO, SYDNEY)).toBeGreaterThan(7_780);
    expect(distanceKm(TOKYO, SYDNEY)).toBeLessThan(7_870);
    expect(distanceKm(BERLIN, BERLIN)).toBe(0);
  });

  test("crosses the date line the short way, and reaches the other side of the earth", () => {
    const west = { latitude: 0, longitude: 179.5 };
    const east = { latitude: 0, longitude: -179.5 };
    expect(distanceKm(west, east)).toBeLessThan(112);
    expect(
      distanceKm({ latitude: 90, longitude: 0 }, { latitude: -90, longitude: 77 }),
    ).toBeCloseTo(20_015, -1);
  });
});

describe("commonPrefixBits", () => {
  test.each([
    ["10.0.0.1", "10.0.0.1", 128],
    ["10.0.0.0", "10.0.0.1", 127],
    ["10.0.0.1", "10.128.0.1", 96 + 8],
    ["0.0.0.0", "128.0.0.0", 96],
    ["::ffff:10.0.0.1", "10.0.0.1", 128],
    ["2001:db8::1", "2001:db8::2", 126],
    ["2001:db8::1", "10.0.0.1", 2], // 0010... and 0000...
    [undefined, "10.0.0.1", 0],
    ["10.0.0.1", undefined, 0],
    ["no address", "10.0.0.1", 0],
  ])("%s and %s share %i bits", (a, b, bits) => {
    expect(commonPrefixBits(a, b)).toBe(bits);
  });
});

describe("nearest", () => {
  test("distance decides when the client and all candidates have positions", () => {
    const candidates: Named[] = [
      { name: "tokyo", position: TOKYO, ip: "10.0.0.1", load: 0 },
      { name: "paris", position: PARIS, ip: "192.0.2.1", load: 9 },
    ];
    expect(names(nearest({ position: BERLIN, ip: "10.0.0.1" }, candidates))).toBe("paris tokyo");
  });

  test("one candidate or client without a position: the IP prefix decides for all", () => {
    const candidates: Named[] = [
      { name: "paris", position: PARIS, ip: "192.0.2.1", load: 0 },
      { name: "tokyo", position: TOKYO, ip: "10.9.0.1", load: 0 },
      { name: "nowhere", ip: "10.0.0.2", load: 0 },
    ];
    const client = { position: BERLIN, ip: "10.0.0.1" };
    expect(names(nearest(client, candidates))).toBe("nowhere tokyo paris");
    const placed = candidates.slice(0, 2);
    expect(names(nearest({ ip: "10.0.0.1" }, placed))).toBe("tokyo paris");
  });

  test("then the zone, then the load, then the order given", () => {
    const candidates: Named[] = [
      { name: "a", zone: "x", load: 0 },
      { name: "b", zone: "z", load: 2 },
      { name: "c", zone: "z", load: 1 },
      { name: "d", load: 0 },
    ];
    expect(names(nearest({ zone: "z" }, candidates))).toBe("c b a d");
    expect(names(nearest({}, candidates))).toBe("a d c b");
    expect(nearestGroups({}, candidates).map(names)).toEqual(["a d", "c", "b"]);
  });

  const candidate = fc.record(
    {
      name: fc.string(),
      ip: fc.constantFrom("10.0.0.1", "10.0.0.9", "172.16.0.1", "2001:db8::1"),
      position: fc.constantFrom(BERLIN, PARIS, TOKYO, SYDNEY),
      zone: fc.constantFrom("x", "y"),
      load: fc.nat(2),
    },
    { requiredKeys: ["name", "load"] },
  );

  test("is a total order: the result does not depend on the order of unequal candidates", () => {
    fc.assert(
      fc.property(
        fc.array(candidate, { minLength: 1, maxLength: 7 }),
        candidate,
        fc.infiniteStream(fc.nat(1_000)),
        (candidates, client, random) => {
          const shuffled = candidates
            .map((one) => ({ one, at: random.next().value as number }))
            .toSorted((a, b) => a.at - b.at)
            .map(({ one }) => one);
          const groups = nearestGroups(client, candidates);
          expect(groups.flat()).toEqual(nearest(client, candidates));
          const sets = (of: Named[][]): Set<Named>[] => of.map((group) => new Set(group));
          expect(sets(nearestGroups(client, shuffled))).toEqual(sets(groups));
        },
      ),
    );
  });
});
