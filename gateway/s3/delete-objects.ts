// DeleteObjects: up to 1,000 keys, a few at a time, each with its own outcome. Missing keys count as deleted.
import { deleteKeysMax, deleteParallelMax } from "../../shared/limits.ts";
import { type Precondition } from "../../shared/records.ts";
import { xmlAnswer } from "./answer.ts";
import { type Call } from "./call.ts";
import { parseEtags } from "./conditions.ts";
import { isFault, S3Error, toS3Error } from "./errors.ts";
import { checkKey } from "./headers.ts";
import { checkVersion } from "./parameters.ts";
import { readSmallBody } from "./small-body.ts";
import { readXml } from "./xml-read.ts";
import { type XmlElement } from "./xml-write.ts";

interface Doomed {
  readonly key: string;
  readonly versionId: string | undefined;
  readonly etag: string | undefined;
}

export interface DeleteList {
  readonly objects: readonly Doomed[];
  /** Only failures are answered. */
  readonly quiet: boolean;
}

/** Throws MalformedXML. Keys are exactly what the client wrote, spaces included. */
export function readDeleteList(xml: Uint8Array): DeleteList {
  const root = readXml(xml, "Delete");
  const objects = root.all("Object").map((object): Doomed => {
    const key = object.value("Key");
    if (key === undefined || key === "") {
      throw new S3Error("MalformedXML", "Every Object needs a Key");
    }
    return { key, versionId: object.value("VersionId"), etag: object.value("ETag") };
  });
  if (objects.length === 0 || objects.length > deleteKeysMax) {
    throw new S3Error("MalformedXML", `The list must have 1 to ${deleteKeysMax} objects`);
  }
  return { objects, quiet: root.value("Quiet")?.trim().toLowerCase() === "true" };
}

export async function deleteObjects(call: Call): Promise<Response> {
  // A missing bucket is one error, not a thousand.
  const body = await call.inBucket(() => readSmallBody(call));
  const { objects, quiet } = readDeleteList(body);
  const results: (XmlElement | undefined)[] = Array.from({ length: objects.length });
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < objects.length) {
      const index = next++;
      results[index] = await deleteOne(call, objects[index]!, index, quiet);
    }
  };
  await Promise.all(Array.from({ length: Math.min(deleteParallelMax, objects.length) }, worker));
  return xmlAnswer(
    call,
    "DeleteResult",
    results.filter((result) => result !== undefined),
  );
}

async function deleteOne(
  call: Call,
  doomed: Doomed,
  index: number,
  quiet: boolean,
): Promise<XmlElement | undefined> {
  const { key, versionId, etag } = doomed;
  try {
    checkKey(key);
    checkVersion(versionId);
    const etags = parseEtags(etag ?? null, "ETag");
    const precondition: Precondition = etags ? { ifMatch: [...etags] } : {};
    const requestId = call.requestId(`${index} ${key}`);
    await call.inBucket(
      ({ bucket, service }) =>
        service.delete({ bucket, key, precondition, requestId, again: call.again() }),
      { bucket: call.route.bucket, key },
    );
    return quiet ? undefined : ["Deleted", [["Key", key]]];
  } catch (error) {
    if (isFault(error)) call.reportFault(error);
    const failure = toS3Error(error);
    return [
      "Error",
      [
        ["Key", key],
        ["VersionId", versionId],
        ["Code", failure.code],
        ["Message", failure.message],
      ],
    ];
  }
}
