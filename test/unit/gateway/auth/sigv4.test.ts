import { AwsV4Signer } from "aws4fetch";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Authenticator, type SignedRequest } from "../../../../gateway/auth/sigv4.ts";
import { S3Error } from "../../../../gateway/s3/errors.ts";
import { parseTarget, strictEncode } from "../../../../gateway/s3/target.ts";
import { HOST, KEYS, REGION, signerFor } from "../test-gateway.ts";

const NOW = Date.UTC(2026, 10, 22, 12, 0, 0);
const authenticator = new Authenticator({
  region: REGION,
  credentials: async (id) => (Object.hasOwn(KEYS, id) ? KEYS[id as "alice"] : undefined),
});

interface Sent {
  readonly method: string;
  readonly target: string;
  readonly headers: Record<string, string>;
  readonly nowMs?: number;
  readonly hosts?: readonly string[];
  readonly rawHeaders?: readonly string[];
}

function received(sent: Sent): SignedRequest {
  return {
    method: sent.method,
    target: parseTarget(sent.target),
    headers: new Headers(sent.headers),
    rawHeaders: () => sent.rawHeaders,
    hosts: sent.hosts ?? [HOST],
    nowMs: sent.nowMs ?? NOW,
  };
}

const verify = (sent: Sent) => authenticator.authenticate(received(sent));

async function refusal(sent: Sent): Promise<string> {
  try {
    await verify(sent);
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
  return "accepted";
}

const byteString = (unit: fc.Arbitrary<string>, max: number) => fc.string({ unit, maxLength: max });
const key = fc
  .string({ unit: "binary", minLength: 1, maxLength: 40 })
  .filter((text) => text.isWellFormed() && !text.includes("\0"));
const text = fc.string({ unit: "binary", maxLength: 12 }).filter((value) => value.isWellFormed());
const headerText = byteString(fc.constantFrom(..." abcXYZ019-_=,;:/\t!\"'"), 20).map((value) =>
  value.trim(),
);
const request = fc.record({
  method: fc.constantFrom("GET", "PUT", "POST", "DELETE", "HEAD"),
  key,
  query: fc.dictionary(
    text.filter((name) => name !== "" && !/^x-amz-/iu.test(name) && name !== "__proto__"),
    fc.oneof(text, fc.array(text, { minLength: 2, maxLength: 3 })),
    { maxKeys: 4 },
  ),
  metadata: fc.dictionary(
    byteString(fc.constantFrom(..."abc019-"), 8).filter((name) => name !== ""),
    headerText.filter((value) => value !== ""),
    { maxKeys: 3 },
  ),
  payload: fc.constantFrom(
    "UNSIGNED-PAYLOAD",
    "a".repeat(64),
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
  ),
});

type Asked = typeof request extends fc.Arbitrary<infer T> ? T : never;

const searchOf = (query: Asked["query"]) =>
  Object.entries(query)
    .flatMap(([name, values]) => [values].flat().map((value) => [name, value] as const))
    .map(([name, value]) => `${strictEncode(name)}=${strictEncode(value)}`)
    .join("&");

/** What @smithy/signature-v4 signs, as it goes over the wire. */
async function signed(asked: Asked): Promise<Sent> {
  const path = `/bucket/${strictEncode(asked.key, true)}`;
  const headers: Record<string, string> = {
    host: HOST,
    "x-amz-content-sha256": asked.payload,
    ...Object.fromEntries(
      Object.entries(asked.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
    ),
  };
  const result = (await signerFor("alice").sign(
    {
      method: asked.method,
      protocol: "https:",
      hostname: HOST,
      path,
      query: asked.query,
      headers,
    } as never,
    { signingDate: new Date(NOW) },
  )) as unknown as { headers: Record<string, string> };
  const search = searchOf(asked.query);
  return {
    method: asked.method,
    target: search === "" ? path : `${path}?${search}`,
    headers: result.headers,
  };
}

describe("Authenticator with @smithy/signature-v4", () => {
  test("accepts whatever it signs", async () => {
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        const auth = await verify(await signed(asked));
        expect(auth).toMatchObject({ accessKeyId: "alice", owner: "alice" });
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
          } as never,
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
      }),
      { numRuns: 60 },
    );
  });
});

function change(sent: Sent, where: string, at: number): Sent {
  const { target } = sent;
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  const search = mark < 0 ? "" : target.slice(mark);
  switch (where) {
    case "method":
      return { ...sent, method: sent.method === "GET" ? "GEU" : `${sent.method.slice(0, -1)}x` };
    case "path":
      return { ...sent, target: `${path}${String.fromCharCode(0x61 + (at % 26))}${search}` };
    case "query":
      return { ...sent, target: `${target}${search === "" ? "?" : "&"}zz=${at}` };
    case "header": {
      const names = Object.keys(sent.headers).filter((name) => name.startsWith("x-amz-meta-"));
      const name = names[at % names.length];
      if (name === undefined) return { ...sent, hosts: [`${HOST}x`] };
      return { ...sent, headers: { ...sent.headers, [name]: `${sent.headers[name]}x` } };
    }
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
});

describe("Authenticator", () => {
  const asked: Asked = {
    method: "GET",
    key: "a",
    query: {},
    metadata: {},
    payload: "UNSIGNED-PAYLOAD",
  };
  const without = (headers: Record<string, string>, name: string) =>
    Object.fromEntries(Object.entries(headers).filter(([other]) => other !== name));

  test("verifies the example of the S3 API reference", async () => {
    // "GET Object", in "Authenticating Requests: Using the Authorization Header".
    const example = new Authenticator({
      region: "us-east-1",
      credentials: async () => ({
        secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        owner: "aws",
      }),
    });
    const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const auth = await example.authenticate(
      received({
        method: "GET",
        target: "/test.txt",
        hosts: ["examplebucket.s3.amazonaws.com"],
        nowMs: Date.UTC(2013, 4, 24),
        headers: {
          authorization:
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
          range: "bytes=0-9",
          "x-amz-content-sha256": empty,
          "x-amz-date": "20130524T000000Z",
        },
      }),
    );
    expect(auth.payload).toEqual({ type: "sha256", hex: empty });
  });

  test("says what is wrong with a request", async () => {
    const good = await signed(asked);
    const { headers } = good;
    const authorization = headers["authorization"]!;
    const sent = (changed: Record<string, string>) => ({
      ...good,
      headers: { ...headers, ...changed },
    });
    const cases: [Sent, string][] = [
      [{ ...good, headers: {} }, "AccessDenied"],
      [sent({ authorization: "AWS alice:abc" }), "InvalidRequest"],
      [sent({ authorization: "AWS4-HMAC-SHA256 nonsense" }), "AuthorizationHeaderMalformed"],
      [sent({ authorization: "AWS4-HMAC-SHA256 a=b" }), "AuthorizationHeaderMalformed"],
      [
        sent({ authorization: authorization.replace("host;", "ho st;") }),
        "AuthorizationHeaderMalformed",
      ],
      [sent({ authorization: authorization.replace("host;", "") }), "AccessDenied"],
      [sent({ authorization: authorization.replace("alice", "carol") }), "InvalidAccessKeyId"],
      [
        sent({ authorization: authorization.replace(REGION, "mars-1") }),
        "AuthorizationHeaderMalformed",
      ],
      [
        sent({ authorization: authorization.replace("/s3/", "/sts/") }),
        "AuthorizationHeaderMalformed",
      ],
      [
        sent({ authorization: authorization.replace("20261122", "20261121") }),
        "AuthorizationHeaderMalformed",
      ],
      [sent({ authorization: authorization.slice(0, -1) }), "SignatureDoesNotMatch"],
      [sent({ authorization: `${authorization}0` }), "SignatureDoesNotMatch"],
      [sent({ "x-amz-date": "tomorrow" }), "AccessDenied"],
      [
        sent({ "x-amz-content-sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" }),
        "NotImplemented",
      ],
      [{ ...good, headers: without(headers, "x-amz-content-sha256") }, "SignatureDoesNotMatch"],
      [sent({ "x-amz-meta-late": "1" }), "AccessDenied"],
      [{ ...good, nowMs: NOW + 15 * 60_000 + 1000 }, "RequestTimeTooSkewed"],
      [{ ...good, nowMs: NOW - 15 * 60_000 - 1000 }, "RequestTimeTooSkewed"],
    ];
    for (const [index, [request_, code]] of cases.entries()) {
      expect(await refusal(request_), `case ${index}`).toBe(code);
    }
    expect(await refusal(good)).toBe("accepted");
    expect(await refusal({ ...good, nowMs: NOW + 14 * 60_000 })).toBe("accepted");
  });

  test("names the expected region", async () => {
    const good = await signed(asked);
    const headers = {
      ...good.headers,
      authorization: good.headers["authorization"]!.replace(REGION, "mars-1"),
    };
    await expect(verify({ ...good, headers })).rejects.toMatchObject({
      fields: { Region: REGION },
    });
  });

  test("accepts us-east-1 and auto besides its own region", async () => {
    for (const region of ["us-east-1", "auto", REGION]) {
      const result = (await signerFor("alice", region).sign(
        {
          method: "GET",
          protocol: "https:",
          hostname: HOST,
          path: "/",
          query: {},
          headers: { host: HOST },
        } as never,
        { signingDate: new Date(NOW) },
      )) as unknown as { headers: Record<string, string> };
      expect(await refusal({ method: "GET", target: "/", headers: result.headers })).toBe(
        "accepted",
      );
    }
  });

  test("refuses presigned lifetimes outside 1 .. 604,800 seconds", async () => {
    for (const seconds of ["0", "-1", "604801", "x", "1e3"]) {
      const search = searchOf({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": `alice/20261122/${REGION}/s3/aws4_request`,
        "X-Amz-Date": "20261122T120000Z",
        "X-Amz-Expires": seconds,
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "0".repeat(64),
      });
      expect(await refusal({ method: "GET", target: `/a/b?${search}`, headers: {} })).toBe(
        "AccessDenied",
      );
    }
    const missing = "/a/b?X-Amz-Algorithm=AWS4-HMAC-SHA256";
    expect(await refusal({ method: "GET", target: missing, headers: {} })).toBe(
      "AuthorizationQueryParametersError",
    );
  });

  test("joins repeated header lines as SigV4 does", async () => {
    const good = await signed({ ...asked, metadata: { a: "1,2" } });
    const headers = { ...good.headers, "x-amz-meta-a": "1, 2" };
    expect(await refusal({ ...good, headers })).toBe("SignatureDoesNotMatch");
    const rawHeaders = ["X-Amz-Meta-A", "1", "x-amz-meta-a", "2"];
    expect(await refusal({ ...good, headers, rawHeaders })).toBe("accepted");
  });

  test("tries each name of the gateway", async () => {
    const good = await signed(asked);
    expect(await refusal({ ...good, hosts: ["10.0.0.1:8080", HOST] })).toBe("accepted");
  });

  test("a changed secret makes the cached signing key useless", async () => {
    let secretAccessKey: string = KEYS.alice.secretAccessKey;
    const rotating = new Authenticator({
      region: REGION,
      credentials: async () => ({ secretAccessKey, owner: "alice" }),
    });
    const good = received(await signed(asked));
    await rotating.authenticate(good);
    secretAccessKey = "rotated";
    await expect(rotating.authenticate(good)).rejects.toMatchObject({
      code: "SignatureDoesNotMatch",
    });
  });

  test("never fails with anything but an S3Error, whatever the headers say", async () => {
    const noise = fc.string({
      unit: fc.constantFrom(..."AWS4-HMAC-SHA256 Credential=/,;Signdrs0"),
      maxLength: 120,
    });
    await fc.assert(
      fc.asyncProperty(noise, noise, async (first, second) => {
        const headers = { authorization: `AWS4-HMAC-SHA256 ${first}`, "x-amz-date": second };
        expect(await refusal({ method: "GET", target: "/", headers })).not.toBe("accepted");
      }),
      { numRuns: 200 },
    );
  });
});
