// A put straight at the service of one node, with a request id of the test's choice.
import { parseRequestId, type RequestId } from "../../../shared/ids.ts";
import { type ObjectService, type PutResult } from "../../../shared/object-service.ts";
import { type Precondition } from "../../../shared/records.ts";
import { makeBody, streamOf } from "../bodies.ts";
import { KEY, type Scene } from "../scene.ts";

export const requestIdOf = (n: number): RequestId =>
  parseRequestId(n.toString(16).padStart(32, "0"));

export function rawPut(
  scene: Scene,
  object: ObjectService,
  text: string,
  requestId: RequestId,
  precondition: Precondition = {},
  again = false,
): Promise<PutResult> {
  const { bytes } = makeBody(text, 50);
  const body = { length: bytes.length, encoding: "plain" } as const;
  const described = { headers: {}, metadata: {}, precondition, requestId, again };
  return object.put({ bucket: scene.bucket, key: KEY, body, ...described }, streamOf(bytes));
}
