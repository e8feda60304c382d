import fc from "fast-check";
import { expect, test } from "vitest";
import { clockSkewMs, replaySessionsMax, replayWindowNumbers } from "../../../shared/limits.ts";
import { toAsciiJson } from "../../../shared/object-protocol.ts";
import { RequestSigner, RequestVerifier, deriveSecrets } from "../../../shared/peer-auth.ts";
import { ReplayWindow } from "../../../shared/replay-window.ts";

const secret = new Uint8Array(32).fill(1);
const session = "a".repeat(32);
const place = { ip: "10.0.0.1", position: { latitude: 1.5, longitude: -2 } };
const request = { method: "POST", path: "/object/put", args: '{"key":"x"}' };

function pair(options: { nodeMs?: number; gatewayMs?: number; nodeSecret?: Uint8Array } = {}) {
  let nodeMs = 1_000_000_000_000;
  const verifier = new RequestVerifier(options.nodeSecret ?? secret, () => nodeMs);
  const gatewayMs = options.gatewayMs ?? nodeMs + 1;
  nodeMs = options.nodeMs ?? nodeMs + 1;
  return { signer: new RequestSigner(secret, session, () => gatewayMs), verifier };
}

test("RequestVerifier accepts what was signed, once, and tells the client's place", () => {
  const { signer, verifier } = pair();
  const header = signer.sign(request, "n1", place);
  expect(header).toMatch(/^[\u0020-\u007e]*$/u);
  expect(verifier.verify(header, request, "n1")).toEqual(place);
  expect(() => verifier.verify(header, request, "n1")).toThrow("sent before");
  const next = signer.sign(request, "n1", {});
  expect(verifier.verify(next, request, "n1")).toEqual({});
});

test("RequestVerifier refuses another secret, audience, path, method, arguments", () => {
  const { signer, verifier } = pair();
  const header = signer.sign(request, "n1", place);
  const other = pair({ nodeSecret: new Uint8Array(32).fill(2) });
  expect(() => other.verifier.verify(header, request, "n1")).toThrow("signature is wrong");
  for (const [changed, audience] of [
    [request, "n2"],
    [{ ...request, path: "/object/get" }, "n1"],
    [{ ...request, method: "GET" }, "n1"],
    [{ ...request, args: '{"key":"y"}' }, "n1"],
  ] as const)
    expect(() => verifier.verify(header, changed, audience)).toThrow("signature is wrong");
  expect(verifier.verify(header, request, "n1")).toEqual(place); // the refusals took nothing
});

test("RequestVerifier refuses any changed character of the header", () => {
  const { signer, verifier } = pair();
  const header = signer.sign(request, "n1", place);
  fc.assert(
    fc.property(fc.nat(header.length - 1), fc.integer({ min: 32, max: 126 }), (at, code) => {
      const changed = header.slice(0, at) + String.fromCharCode(code) + header.slice(at + 1);
      fc.pre(changed !== header);
      expect(() => verifier.verify(changed, request, "n1")).toThrow("Cannot accept");
    }),
  );
  for (const broken of [undefined, "", "1", `${header} `, header.slice(0, -1)])
    expect(() => verifier.verify(broken, request, "n1")).toThrow("Cannot accept");
});

test("RequestVerifier refuses times outside the clock window, either way", () => {
  const nodeMs = 1_000_000_000_000 + 2 * clockSkewMs;
  for (const [gatewayMs, accepted] of [
    [nodeMs - clockSkewMs - 1, false],
    [nodeMs - clockSkewMs, true],
    [nodeMs + clockSkewMs, true],
    [nodeMs + clockSkewMs + 1, false],
  ] as const) {
    const { signer, verifier } = pair({ nodeMs, gatewayMs });
    const verify = () => verifier.verify(signer.sign(request, "n1", {}), request, "n1");
    if (accepted) expect(verify()).toEqual({});
    else expect(verify).toThrow("clock");
  }
});

test("RequestVerifier answers Unavailable to what was signed before it started", () => {
  const { signer, verifier } = pair({ gatewayMs: 1_000_000_000_000 - 1 });
  const header = signer.sign(request, "n1", {});
  expect(() => verifier.verify(header, request, "n1")).toThrow(
    expect.objectContaining({ code: "Unavailable" }),
  );
});

test("ReplayWindow accepts each number once in any order inside the window", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 3 * replayWindowNumbers })), (numbers) => {
      const window = new ReplayWindow(0);
      const seen = new Set<number>();
      let highest = 0;
      for (const number of numbers) {
        const verdict = window.accept("s", number, 1);
        if (seen.has(number)) expect(verdict).not.toBe("fresh");
        else expect(verdict).toBe(number > highest - replayWindowNumbers ? "fresh" : "tooOld");
        seen.add(number);
        highest = Math.max(highest, number);
      }
    }),
  );
});

test("ReplayWindow stays bounded and never accepts a forgotten session's message again", () => {
  const window = new ReplayWindow(0);
  for (let i = 0; i <= replaySessionsMax; i++)
    expect(window.accept(`s${i}`, 1, 10 + i)).toBe("fresh");
  expect(window.sessions).toBe(replaySessionsMax);
  expect(window.accept("s0", 1, 10)).toBe("tooOld");
  expect(window.accept("s0", 2, 100_000)).toBe("fresh");
});

test("deriveSecrets separates keys", () => {
  const { peer, gateway, keyEncryption } = deriveSecrets(secret);
  const texts = [peer, gateway, keyEncryption].map((key) => Buffer.from(key).toString("hex"));
  expect(new Set(texts).size).toBe(3);
  expect(texts.every((text) => text.length === 64)).toBe(true);
  expect(deriveSecrets(secret).gateway).toEqual(gateway);
});

test("toAsciiJson is printable ASCII and parses back", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff)), (units) => {
      const text = String.fromCharCode(...units);
      const json = toAsciiJson({ text });
      expect(json).toMatch(/^[\u0020-\u007e]*$/u);
      expect(JSON.parse(json)).toEqual({ text });
    }),
  );
});
