import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Authenticator } from "../../../../gateway/auth/sigv4.ts";
import { HOST, KEYS, REGION, signerFor } from "../test-gateway.ts";
import {
  type Asked,
  type Sent,
  NOW,
  received,
  refusal,
  searchOf,
  signed,
  verify,
} from "./signed-requests.ts";
import { OWN_BUCKETS } from "../own-buckets.ts";

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
      credentials: () => ({
        secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        grants: OWN_BUCKETS,
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

  test("takes a request without body and x-amz-content-sha256, as curl before 8 sends it", async () => {
    // `curl --aws-sigv4 aws:amz:us-east-1:s3 --user a:b`, curl 7.88.1.
    const curl = new Authenticator({
      region: "us-east-1",
      credentials: () => ({ secretAccessKey: "b", grants: OWN_BUCKETS }),
    });
    const sent = (more: Record<string, string>) =>
      curl.authenticate(
        received({
          method: "GET",
          target: "/demo/x",
          hosts: ["127.0.0.1:34567"],
          nowMs: Date.UTC(2026, 10, 22, 23, 6, 9),
          headers: {
            authorization:
              "AWS4-HMAC-SHA256 Credential=a/20261122/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=d49d4c3e1e106367ff02e69c910666082e1b84aba7ad4576d02e60fee9ffbb14",
            "x-amz-date": "20261122T230609Z",
            ...more,
          },
        }),
      );
    const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    expect((await sent({})).payload).toEqual({ type: "sha256", hex });
    expect((await sent({ "content-length": "0" })).payload).toEqual({ type: "sha256", hex });
    for (const body of [{ "content-length": "6" }, { "transfer-encoding": "chunked" }]) {
      await expect(sent(body)).rejects.toMatchObject({ code: "InvalidRequest" });
    }
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
      credentials: () => ({ secretAccessKey, grants: OWN_BUCKETS }),
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
      unit: fc.constantFrom(..."AWS4-HMAC-SHA256 Credential=/,;Signdrs0".split("")),
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
