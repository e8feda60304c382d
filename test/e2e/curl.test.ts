// curl as the banner of `ringstow dev` shows it, and what only a client this plain lets one see: raw answers, 100-continue, ranges.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { AwsClient } from "aws4fetch";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, type Outcome, describeClient } from "./client-program.ts";
import { DevCluster } from "./dev-cluster.ts";
import { MiB } from "./sample-files.ts";

describeClient("curl", () => {
  let cluster: DevCluster;
  let curl: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    curl = new ClientProgram("curl");
    console.log((await curl.run(["--version"])).stdout.split("\n")[0]);
  });
  afterAll(async () => {
    curl?.remove();
    await cluster?.remove();
  });

  const url = (path: string): string => `${cluster.dev.endpoint}/demo/${path}`;
  /** Signed by curl; the exit code is not 0 only when there was no answer. */
  const signed = (...args: string[]): Promise<Outcome> => {
    const { accessKeyId, secretAccessKey, region } = cluster.dev;
    const who = [
      "--aws-sigv4",
      `aws:amz:${region}:s3`,
      "--user",
      `${accessKeyId}:${secretAccessKey}`,
    ];
    return curl.run(["-sS", ...who, ...args]);
  };
  // curl before 8 signs uploads as if they were empty, unless it is told that the body is not signed.
  const unsigned = ["-H", "x-amz-content-sha256:UNSIGNED-PAYLOAD"];
  const status = async (...args: string[]): Promise<string> =>
    (await signed("-o", curl.path("answer"), "-w", "%{http_code}", ...args)).stdout;
  const answer = (): Buffer => readFileSync(curl.path("answer"));
  const presigned = async (path: string, method: string, seconds = 60): Promise<string> => {
    const { accessKeyId, secretAccessKey, region } = cluster.dev;
    const aws = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3" });
    const target = new URL(url(path));
    target.searchParams.set("X-Amz-Expires", String(seconds));
    return (await aws.sign(target.href, { method, aws: { signQuery: true } })).url;
  };

  test("the two lines of the banner: a file goes up and comes back", async () => {
    const body = randomBytes(100_000);
    writeFileSync(curl.path("file"), body);
    expect(await status(...unsigned, "-T", curl.path("file"), url("file"))).toBe("200");
    expect(await status(url("file"))).toBe("200");
    expect(answer().equals(body)).toBe(true);
    const { stdout } = await signed("-I", url("file"));
    expect(stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n/u);
    expect(stdout).toMatch(/^content-length: 100000\r$/imu);
    const etag = createHash("md5").update(body).digest("hex");
    expect(stdout).toMatch(new RegExp(`^etag: "${etag}"\r$`, "imu"));
    expect(await status("-X", "DELETE", url("file"))).toBe("204");
    expect(await status(url("file"))).toBe("404");
  });

  test("5 MiB with Expect: 100-continue", async () => {
    const body = randomBytes(5 * MiB);
    writeFileSync(curl.path("five"), body);
    const put = [...unsigned, "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60"];
    const { stderr, seconds } = await signed(...put, "-T", curl.path("five"), url("five"));
    expect(stderr).toMatch(/< HTTP\/1\.1 100 Continue\r?\n/u);
    expect(stderr).toMatch(/< HTTP\/1\.1 200 OK\r?\n/u);
    // Not the answer to a body that curl sent unasked after its time-out.
    expect(seconds).toBeLessThan(60);
    expect(await status(url("five"))).toBe("200");
    expect(answer().equals(body)).toBe(true);
  });

  test("a refused body is not asked for", async () => {
    const { stdout, stderr } = await curl.run([
      ...["-sSv", "-H", "Expect: 100-continue", "--expect100-timeout", "60"],
      ...["-T", curl.path("five"), url("anonymous")],
    ]);
    expect(stderr).not.toContain("100 Continue");
    expect(stderr).toMatch(/< HTTP\/1\.1 403 /u);
    expect(stdout).toContain("<Code>AccessDenied</Code>");

    const conditional = await signed(
      ...["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60", ...unsigned],
      ...["-H", "If-None-Match: *", "-T", curl.path("five"), url("five")],
    );
    expect(conditional.stderr).not.toContain("100 Continue");
    expect(conditional.stderr).toMatch(/< HTTP\/1\.1 412 /u);
    expect(conditional.stdout).toContain("<Code>PreconditionFailed</Code>");
  });

  test("ranges", async () => {
    const body = randomBytes(300_000);
    writeFileSync(curl.path("ranged"), body);
    expect(await status(...unsigned, "-T", curl.path("ranged"), url("ranged"))).toBe("200");
    const cases: readonly [string, number, number][] = [
      ["0-0", 0, 1],
      ["65535-65536", 65_535, 65_537],
      ["299999-", 299_999, 300_000],
      ["-1000", 299_000, 300_000],
      ["100000-999999", 100_000, 300_000],
    ];
    for (const [range, from, to] of cases) {
      expect(await status("-r", range, url("ranged"))).toBe("206");
      expect(answer().equals(body.subarray(from, to)), range).toBe(true);
    }
    expect(await status("-r", "300000-", url("ranged"))).toBe("416");
    expect(answer().toString()).toContain("<Code>InvalidRange</Code>");
  });

  test("a broken download is continued where it stopped", async () => {
    const body = randomBytes(200_000);
    writeFileSync(curl.path("whole"), body);
    expect(await status(...unsigned, "-T", curl.path("whole"), url("whole"))).toBe("200");
    writeFileSync(curl.path("part"), body.subarray(0, 123_456));
    await signed("-C", "-", "-o", curl.path("part"), url("whole"));
    expect(readFileSync(curl.path("part")).equals(body)).toBe(true);
  });

  test("presigned URLs put and get without credentials, and only what they were signed for", async () => {
    writeFileSync(curl.path("shared"), "for you");
    const plain = async (...args: string[]): Promise<string> =>
      (await curl.run(["-sS", "-o", curl.path("answer"), "-w", "%{http_code}", ...args])).stdout;
    expect(await plain("-T", curl.path("shared"), await presigned("to share", "PUT"))).toBe("200");
    const get = await presigned("to share", "GET");
    expect(await plain(get)).toBe("200");
    expect(answer().toString()).toBe("for you");
    expect(await plain("-X", "DELETE", get)).toBe("403");
    expect(answer().toString()).toContain("<Code>SignatureDoesNotMatch</Code>");
    expect(await plain(get.replace("share", "steal"))).toBe("403");
    expect(await plain(await presigned("to share", "GET", 0))).toBe("403");
  });

  test("unsigned bodies are taken, with and without a length", async () => {
    const put = [...unsigned, "-X", "PUT", "--data-binary", "some text"];
    expect(await status(...put, url("unsigned"))).toBe("200");
    expect(await status(...put, "-H", "Transfer-Encoding: chunked", url("chunked"))).toBe("200");
    for (const key of ["unsigned", "chunked"]) {
      expect(await status(url(key))).toBe("200");
      expect(answer().toString()).toBe("some text");
    }
  });

  test("errors are S3's: status, XML and request id", async () => {
    const cases: readonly [string, string, readonly string[]][] = [
      ["404", "NoSuchKey", [url("nowhere")]],
      ["404", "NoSuchBucket", [`${cluster.dev.endpoint}/no-such-bucket/key`]],
      ["501", "NotImplemented", [`${url("key")}?torrent=`]],
      [
        "400",
        "BadDigest",
        [
          ...unsigned,
          "-X",
          "PUT",
          "--data-binary",
          "x",
          "-H",
          `Content-MD5: ${md5("y")}`,
          url("k"),
        ],
      ],
      [
        "400",
        "InvalidDigest",
        [...unsigned, "-X", "PUT", "--data-binary", "x", "-H", "Content-MD5: nonsense", url("k")],
      ],
    ];
    for (const [code, name, args] of cases) {
      const { stdout } = await signed("-i", "-w", "\nstatus %{http_code}", ...args);
      expect(stdout, name).toContain(`<Code>${name}</Code>`);
      expect(stdout, name).toContain(`\nstatus ${code}`);
      const id = /^x-amz-request-id: (\S+)/imu.exec(stdout)?.[1];
      expect(id).toBeDefined();
      expect(stdout).toContain(`<RequestId>${id}</RequestId>`);
    }
    const { accessKeyId } = cluster.dev;
    const wrong = await curl.run([
      ...["-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", `${accessKeyId}:wrong`],
      url("nowhere"),
    ]);
    expect(wrong.stdout).toContain("<Code>SignatureDoesNotMatch</Code>");
  });
});

function md5(text: string): string {
  return createHash("md5").update(text).digest("base64");
}
