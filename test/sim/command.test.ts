// `npm run sim` as a command: what it prints, and what its exit status says.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";

async function run(...flags: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), ...flags]);
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number]>,
  ]);
  return { code, out, err };
}

test("npm run sim: runs seeds in two processes and prints what there was", async () => {
  const flags = ["--seed", "5", "--seeds", "3", "--jobs", "2", "--nodes", "3-4", "--ops", "30"];
  const { code, out, err } = await run(...flags);
  expect(err).toBe("");
  expect(code).toBe(0);
  for (const seed of [5, 6, 7]) expect(out).toMatch(new RegExp(`^seed ${seed}: [34] nodes`, "mu"));
  expect(out).toContain("3 seeds, 0 with violations");
  expect(out).toMatch(/^operations \d+ \(.*put ok \d+/mu);
  expect(out).toMatch(/^elections: \d+ campaigns, \d+ leaders; view changes \d+$/mu);
  expect(out).toMatch(/^messages \d+, virtual time \d/mu);
});

test("npm run sim: refuses what it cannot read", async () => {
  for (const [flags, message] of [
    [["--seeds", "many"], 'Cannot read --seeds from "many"'],
    [["--faults", "crash,flood"], 'no kind "flood" among crash'],
    [["--nodes", "0"], 'Cannot read --nodes from "0"'],
  ] as const) {
    const { code, err } = await run(...flags);
    expect(err).toContain(message);
    expect(code).not.toBe(0);
  }
});
