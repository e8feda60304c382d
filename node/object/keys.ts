// Access keys: records in the system bucket of keys. Secrets are sealed by whoever makes a key; nodes only keep them.
import { RingstowError, assert } from "../../shared/errors.ts";
import { accessKeyIdPattern, type KeyService } from "../../shared/key-service.ts";
import { listKeysMax } from "../../shared/limits.ts";
import { type AccessKey, SYSTEM_KEYS } from "../../shared/records.ts";
import { type AccessKeyOperation, registerKey } from "../index/types.ts";
import { accessKeyAddress, justAfter, rangeOf } from "./addresses.ts";
import { type Context } from "./context.ts";
import { MergedScan } from "./merged-scan.ts";

export function createKeyService(context: Context): KeyService {
  const execute = async (
    { id, requestId }: Parameters<KeyService["deleteKey"]>[0],
    operation: AccessKeyOperation,
  ): Promise<AccessKey | undefined> => {
    const at = accessKeyAddress(id, context.sliceBits);
    const result = await context.index.execute(at, operation, { requestId });
    return result.type === "accessKey" ? result.accessKey : undefined;
  };
  const change = async (
    request: Parameters<KeyService["deleteKey"]>[0],
    operation: AccessKeyOperation,
  ): Promise<AccessKey> => {
    const accessKey = await execute(request, operation);
    assert(accessKey, "an operation that leaves an access key answers with it");
    return accessKey;
  };
  return {
    createKey: ({ key, requestId }) => {
      if (!accessKeyIdPattern.test(key.id)) {
        throw new RingstowError(
          "InvalidRequest",
          `Cannot make the access key "${key.id}": its id must be 3 to 128 letters, digits, "_" or "-"`,
        );
      }
      return change({ id: key.id, requestId }, { type: "createKey", accessKey: key });
    },
    getKey: async ({ id }) => {
      // What no key can be called is none: a signature may name anything.
      const at = accessKeyIdPattern.test(id) ? accessKeyAddress(id, context.sliceBits) : undefined;
      const read = at && (await context.index.read(at, { body: false }));
      if (read?.value?.kind !== "accessKey") throw new RingstowError("NoSuchAccessKey");
      return read.value.accessKey;
    },
    listKeys: (request) => listKeys(context, request),
    changeKey: (request) => change(request, { type: "changeKey", change: request.change }),
    touchKey: (request) => change(request, { type: "touchKey", usedMs: request.usedMs }),
    async deleteKey(request) {
      await execute(request, { type: "deleteKey" });
    },
  };
}

/** By rising id. */
async function listKeys(
  context: Context,
  { after, limit }: Parameters<KeyService["listKeys"]>[0],
): Promise<{ keys: AccessKey[]; truncated: boolean }> {
  const range = rangeOf("accessKey", SYSTEM_KEYS, "");
  const from =
    after === undefined ? range.from : justAfter(registerKey("accessKey", SYSTEM_KEYS, after));
  const { slice } = accessKeyAddress("", context.sliceBits);
  const rows = Math.min(limit + 1, listKeysMax);
  const scan = new MergedScan(context.index, [slice], { from, to: range.to }, rows);
  const keys: AccessKey[] = [];
  for (let row = await scan.peek(); row; row = await scan.peek()) {
    if (keys.length >= limit) return { keys, truncated: true };
    if (row.value.kind === "accessKey") keys.push(row.value.accessKey);
    scan.advance();
  }
  return { keys, truncated: false };
}
