import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RingstowError } from "../../../shared/errors.ts";
import { slowAnswerMs } from "../../../shared/limits.ts";
import { type ObjectService } from "../../../shared/object-service.ts";
import { TestGateway, xmlText } from "./test-gateway.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => vi.useRealTimers());

const UPLOAD = "0".repeat(32);
const LIST =
  "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>";

/** A gateway whose Complete takes as long as the test likes. */
async function slowGateway(): Promise<{
  answer: Promise<Response>;
  end: (outcome: string | Error) => void;
}> {
  const gateway = new TestGateway();
  await gateway.send("PUT", "/photos");
  let end: (outcome: string | Error) => void = () => {};
  const started = new Promise<void>((began) => {
    const service = gateway.store.service();
    const completeUpload: ObjectService["completeUpload"] = () => {
      began();
      return new Promise((resolve, reject) => {
        end = (outcome) => {
          if (typeof outcome !== "string") reject(outcome);
          else resolve({ etag: outcome, version: 1, lastModifiedMs: 0 });
        };
      });
    };
    gateway.store.service = () => ({ ...service, completeUpload });
  });
  const answer = gateway.send("POST", `/photos/big?uploadId=${UPLOAD}`, { body: LIST });
  await started;
  return { answer, end: (outcome) => end(outcome) };
}

test("a quick Complete answers with its own status and leaves no timer", async () => {
  const { answer, end } = await slowGateway();
  end(new RingstowError("NoSuchUpload"));
  expect((await answer).status).toBe(404);
  expect(vi.getTimerCount()).toBe(0);
});

test("a slow Complete answers 200 at once, then spaces, then its XML", async () => {
  const { answer, end } = await slowGateway();
  await vi.advanceTimersByTimeAsync(slowAnswerMs);
  const response = await answer;
  expect(response.status).toBe(200);
  const text = response.text();
  await vi.advanceTimersByTimeAsync(3 * slowAnswerMs);
  end("e-1");
  const xml = await text;
  expect(xml).toMatch(/^<\?xml [^>]*\?>\n {2,4}<CompleteMultipartUploadResult /u);
  expect(xmlText(xml, "ETag")).toBe("&quot;e-1&quot;");
  expect(vi.getTimerCount()).toBe(0);
});

test("a slow Complete that fails says so inside its 200", async () => {
  const { answer, end } = await slowGateway();
  await vi.advanceTimersByTimeAsync(slowAnswerMs);
  const response = await answer;
  const text = response.text();
  end(new RingstowError("InvalidPart"));
  const xml = await text;
  expect(xmlText(xml, "Code")).toBe("InvalidPart");
  expect(xmlText(xml, "RequestId")).toBe(response.headers.get("x-amz-request-id"));
});
