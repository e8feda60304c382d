// A writer in a process of its own, to be stopped by its test: takes the lock, writes, says so; then, for each line of
// its input, tries what a late holder would try, and prints what it is told.
import { createInterface } from "node:readline";
import { RingstowClient } from "../../shared/client.ts";
import { RingstowError } from "../../shared/errors.ts";

const [endpoint, accessKeyId, secretAccessKey, bucket, key, leaseMs] = process.argv.slice(2);
const client = new RingstowClient({
  endpoint: endpoint!,
  accessKeyId: accessKeyId!,
  secretAccessKey: secretAccessKey!,
});
const name = { bucket: bucket!, key: key! };
const grant = await client.begin(name, { holder: "holder", leaseMs: Number(leaseMs) });
await client.write(grant, 0, "written in time");
console.log("granted");

async function told(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "done";
  } catch (error) {
    return error instanceof RingstowError ? error.code : String(error);
  }
}

const lines = createInterface({ input: process.stdin });
lines.once("line", () => {
  void (async () => {
    const write = await told(() => client.write(grant, 0, "written too late"));
    const renew = await told(() => client.renew(name, grant));
    const finish = await told(() => client.finish(name, grant));
    const unlock = await told(() => client.unlock(name, grant));
    console.log(JSON.stringify({ write, renew, finish, unlock }));
    lines.close();
  })();
});
