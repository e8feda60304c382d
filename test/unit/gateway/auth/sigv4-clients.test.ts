import { AwsV4Signer } from "aws4fetch";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTarget, strictEncode } from "../../../../gateway/s3/target.ts";
import { HOST, KEYS, REGION, signerFor } from "../test-gateway.ts";
import {
  type Asked,
  type Sent,
  NOW,
  asBytes,
  authenticator,
  key,
  received,
  refusal,
  request,
  searchOf,
  signed,
  text,
  verify,
} from "./signed-requests.ts";

/** A changed parameter may not be readable any more, or be one that a check before the signature refuses. */
const PRESIGNED_REFUSALS = expect.stringMatching(
  /^(?:SignatureDoesNotMatch|AccessDenied|AuthorizationQueryParametersError|InvalidAccessKeyId|InvalidRequest|NotImplemented)$/u,
) as string;

describe("Authenticator with @smithy/signature-v4", () => {
  test("accepts whatever it signs", async () => {
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        const auth = await verify(await signed(asked));
        expect(auth).toMatchObject({ accessKeyId: "alice" });
      }),
      { numRuns: 150 },
    );
  });

  test("refuses it with one byte changed anywhere", async () => {
    const place = fc.constantFrom(
      "method",
      "path",
      "query",
      "header",
      "payload",
      "signature",
      "host",
    );
    await fc.assert(
      fc.asyncProperty(request, place, fc.nat(), async (asked, where, at) => {
        const sent = await signed(asked);
        const changed = change(sent, where, at);
        expect(await refusal(changed)).toMatch(
          /^(?:SignatureDoesNotMatch|NotImplemented|AuthorizationHeaderMalformed)$/u,
        );
      }),
      { numRuns: 200 },
    );
  });

  test("accepts what it presigns, until it expires, and nothing else", async () => {
    const ask = { method: "GET", protocol: "https:", hostname: HOST };
    await fc.assert(
      fc.asyncProperty(key, text, fc.nat(), async (name, value, at) => {
        const path = `/bucket/${strictEncode(name, true)}`;
        const result = (await signerFor("alice").presign(
          {
            ...ask,
            path,
            query: { "response-content-disposition": value },
            headers: { host: HOST, "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
          },
          { signingDate: new Date(NOW), expiresIn: 60 },
        )) as { query?: Record<string, string> };
        const sent = {
          method: "GET",
          target: `${path}?${searchOf(result.query!)}`,
          headers: { authorization: "Bearer of-another-service" },
        };
        expect((await verify(sent)).payload).toEqual({ type: "unsigned" });
        expect(await refusal({ ...sent, nowMs: NOW + 61_000 })).toBe("AccessDenied");
        expect(await refusal({ ...sent, nowMs: NOW - 16 * 60_000 })).toBe("AccessDenied");
        expect(await refusal({ ...sent, method: "PUT" })).toBe("SignatureDoesNotMatch");
        const longer = sent.target.replace("X-Amz-Expires=60", "X-Amz-Expires=61");
        expect(await refusal({ ...sent, target: longer })).toBe("SignatureDoesNotMatch");
        expect(await refusal(change(sent, "path", at))).toBe("SignatureDoesNotMatch");
        const added = { ...sent, headers: { ...sent.headers, "x-amz-meta-a": "1" } };
        expect(await refusal(added)).toBe("AccessDenied");
        const hash = "x-amz-content-sha256";
        const encoded = { ...sent.headers, [hash]: "STREAMING-UNSIGNED-PAYLOAD-TRAILER" };
        expect(await refusal({ ...sent, headers: encoded })).toBe("AccessDenied");
        const plain = { ...sent.headers, [hash]: "UNSIGNED-PAYLOAD" };
        expect(await refusal({ ...sent, headers: plain })).toBe("accepted");
      }),
      { numRuns: 60 },
    );
  });
});

describe("Authenticator with presigned URLs of @smithy/signature-v4", () => {
  test("refuses them with one byte changed anywhere", async () => {
    const place = fc.constantFrom("method", "path", "query", "parameter", "header", "host");
    await fc.assert(
      fc.asyncProperty(request, place, fc.nat(), async (asked, where, at) => {
        const sent = await presigned(asked);
        expect(await refusal(sent)).toBe("accepted");
        expect(await refusal(change(sent, where, at))).toEqual(PRESIGNED_REFUSALS);
      }),
      { numRuns: 150 },
    );
  });
});

/** What @smithy/signature-v4 presigns; its metadata headers are signed and go beside the URL. */
async function presigned(asked: Asked): Promise<Sent> {
  const path = `/bucket/${strictEncode(asked.key, true)}`;
  const metadata = Object.fromEntries(
    Object.entries(asked.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
  );
  const headers = { host: HOST, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...metadata };
  const result = (await signerFor("alice").presign(
    {
      method: asked.method,
      protocol: "https:",
      hostname: HOST,
      path,
      query: asked.query,
      headers,
    },
    {
      signingDate: new Date(NOW),
      expiresIn: 60,
      unhoistableHeaders: new Set(Object.keys(metadata)),
    },
  )) as unknown as { query: Asked["query"] };
  return {
    method: asked.method,
    target: `${path}?${searchOf(result.query)}`,
    headers: Object.fromEntries(
      Object.entries(metadata).map(([name, value]) => [name, asBytes(value)]),
    ),
  };
}

function change(sent: Sent, where: string, at: number): Sent {
  const { target } = sent;
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  const search = mark < 0 ? "" : target.slice(mark);
  switch (where) {
    case "method":
      return { ...sent, method: sent.method === "GET" ? "GEU" : `${sent.method.slice(0, -1)}x` };
    case "path":
      return { ...sent, target: changedLetter(path, at) + search };
    case "query":
      return { ...sent, target: `${target}${search === "" ? "?" : "&"}zz=${at}` };
    case "header": {
      const names = Object.keys(sent.headers).filter((name) => name.startsWith("x-amz-meta-"));
      const name = names[at % names.length];
      if (name === undefined) return { ...sent, hosts: [`${HOST}x`] };
      return { ...sent, headers: { ...sent.headers, [name]: `${sent.headers[name]}x` } };
    }
    case "parameter":
      return { ...sent, target: path + changedParameter(search, at) };
    case "payload":
      return { ...sent, headers: { ...sent.headers, "x-amz-content-sha256": "b".repeat(64) } };
    case "signature":
      return {
        ...sent,
        headers: { ...sent.headers, authorization: flipped(sent.headers["authorization"]!, at) },
      };
    default:
      return { ...sent, hosts: [`x${HOST}`] };
  }
}

/** A path with one byte of it changed; one that has no letter behind its bucket gets one more. */
function changedLetter(path: string, at: number): string {
  const start = path.indexOf("/", 1) + 1;
  const letters = [...path.slice(start).matchAll(/(?<!%.?)[a-zA-Z]/gu)];
  const found = letters[at % Math.max(1, letters.length)];
  if (!found) return `${path}a`;
  const place = start + found.index;
  return path.slice(0, place) + (path[place] === "q" ? "r" : "q") + path.slice(place + 1);
}

/** A query with one character of one value changed. */
function changedParameter(search: string, at: number): string {
  const letters = [...search.matchAll(/(?<==[^&]*)(?<!%.?)[a-zA-Z0-9]/gu)];
  const place = letters[at % letters.length]!.index;
  return search.slice(0, place) + (search[place] === "7" ? "8" : "7") + search.slice(place + 1);
}

/** One digit of the signature, changed. */
function flipped(authorization: string, at: number): string {
  const start = authorization.length - 64 + (at % 64);
  const digit = authorization[start] === "0" ? "1" : "0";
  return authorization.slice(0, start) + digit + authorization.slice(start + 1);
}

describe("Authenticator with aws4fetch", () => {
  // It signs only the first of repeated parameters and takes "+" in a path for a space: not asked here.
  const single = request.filter(
    ({ key: name, query }) =>
      !/[+\\]|(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/iu.test(name) &&
      Object.values(query).every((value) => typeof value === "string"),
  );
  const sign = async (asked: Asked, signQuery: boolean): Promise<Sent> => {
    const path = `/bucket/${strictEncode(asked.key, true)}`;
    const search = searchOf(asked.query);
    const result = await new AwsV4Signer({
      method: asked.method,
      url: `https://${HOST}${path}${search === "" ? "" : `?${search}`}`,
      accessKeyId: "alice",
      secretAccessKey: KEYS.alice.secretAccessKey,
      service: "s3",
      region: REGION,
      datetime: "20261122T120000Z",
      signQuery,
      headers: signQuery ? {} : { "x-amz-content-sha256": asked.payload },
    }).sign();
    return {
      method: asked.method,
      target: result.url.pathname + result.url.search,
      headers: Object.fromEntries(result.headers),
    };
  };

  test("accepts what it signs in headers", async () => {
    await fc.assert(
      fc.asyncProperty(single, async (asked) => {
        expect((await verify(await sign(asked, false))).accessKeyId).toBe("alice");
      }),
      { numRuns: 100 },
    );
  });

  test("refuses what it signs with one byte changed", async () => {
    const place = fc.constantFrom("method", "path", "query", "payload", "signature", "host");
    await fc.assert(
      fc.asyncProperty(single, place, fc.nat(), async (asked, where, at) => {
        const changed = change(await sign(asked, false), where, at);
        expect(await refusal(changed)).toMatch(/^(?:SignatureDoesNotMatch|NotImplemented)$/u);
      }),
      { numRuns: 100 },
    );
  });

  test("accepts what it presigns when a plus of the query is read as a space", async () => {
    await fc.assert(
      fc.asyncProperty(single, async (asked) => {
        const sent = await sign(asked, true);
        const auth = await authenticator.authenticate({
          ...received(sent),
          target: parseTarget(sent.target, "space"),
        });
        expect(auth.accessKeyId).toBe("alice");
      }),
      { numRuns: 100 },
    );
  });

  test("refuses what it presigns with one byte changed", async () => {
    const place = fc.constantFrom("method", "path", "query", "parameter", "host");
    await fc.assert(
      fc.asyncProperty(single, place, fc.nat(), async (asked, where, at) => {
        const changed = change(await sign(asked, true), where, at);
        const target = parseTarget(changed.target, "space");
        const refused = authenticator.authenticate({ ...received(changed), target });
        await expect(refused).rejects.toMatchObject({ code: PRESIGNED_REFUSALS });
      }),
      { numRuns: 150 },
    );
  });
});
