// restic against a cluster as a user starts it: backups made, checked with all their data, restored and thinned out.
import { rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClientProgram, describeClient } from "./client-program.ts";
import { DevCluster } from "./dev-cluster.ts";
import { MiB, randomFile, readTree, writeCarefulNames, writeTree } from "./sample-files.ts";

describeClient("restic", () => {
  let cluster: DevCluster;
  let restic: ClientProgram;

  beforeAll(async () => {
    cluster = await DevCluster.start();
    const { endpoint, accessKeyId, secretAccessKey, region } = cluster.dev;
    restic = new ClientProgram("restic", {
      RESTIC_REPOSITORY: `s3:${endpoint}/backups`,
      RESTIC_PASSWORD: "for this test",
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_DEFAULT_REGION: region,
    });
    console.log((await restic.run(["version"])).stdout.trim());
  });
  afterAll(async () => {
    restic?.remove();
    await cluster?.remove();
  });

  const snapshots = async (): Promise<readonly { id: string }[]> =>
    JSON.parse((await restic.run(["snapshots", "--json"])).stdout) as { id: string }[];

  test("init, two backups, check of all data, restore, forget and prune", async () => {
    const from = restic.path("tree");
    writeTree(from, 100);
    writeCarefulNames(restic.path("tree", "names"));
    await randomFile(restic.path("tree", "big"), 24 * MiB);
    await restic.run(["init"]);
    await restic.run(["backup", "tree"]);
    const first = readTree(from);
    writeFileSync(restic.path("tree", "added"), "added");
    rmSync(restic.path("tree", "big"));
    expect((await restic.run(["backup", "tree"])).stdout).toMatch(/1 new,\s+0 changed/u);
    expect((await restic.run(["check", "--read-data"])).stdout).toContain("no errors were found");
    const [older, newer] = await snapshots();
    await restic.run(["restore", older!.id, "--target", restic.path("older")]);
    expect(readTree(restic.path("older", "tree"))).toEqual(first);
    await restic.run(["forget", "--keep-last", "1", "--prune"]);
    expect((await snapshots()).map(({ id }) => id)).toEqual([newer!.id]);
    expect((await restic.run(["check", "--read-data"])).stdout).toContain("no errors were found");
    await restic.run(["restore", "latest", "--target", restic.path("newer")]);
    expect(readTree(restic.path("newer", "tree"))).toEqual(readTree(from));
  });
});
