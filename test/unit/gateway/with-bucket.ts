// Shorthands of the gateway's tests.
import { expect } from "vitest";
import { TestGateway, xmlText } from "./test-gateway.ts";

/** A gateway with one bucket, of alice. */
export async function withBucket(name = "photos"): Promise<TestGateway> {
  const gateway = new TestGateway();
  expect((await gateway.send("PUT", `/${name}`)).status).toBe(200);
  return gateway;
}

/** S3 code of an error answer. */
export async function code(response: Response): Promise<string | undefined> {
  return xmlText(await response.text(), "Code");
}
