// `npm run sim` as a command: what it prints, and what its exit status says.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
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

test("npm run sim: goes on with a journal where it was ended, on the same command only", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ringstow-sim-"));
  try {
    const file = join(folder, "journal");
    const flags = ["--seed", "5", "--nodes", "3", "--ops", "10", "--journal", file];
    const whole = await run(...flags, "--seeds", "3");
    expect(whole.out).toContain("3 seeds, 0 with violations");
    const written = readFileSync(file, "utf8");
    writeFileSync(file, written.slice(0, -20)); // it died within a line
    const rest = await run(...flags, "--seeds", "3");
    expect(rest.out).toContain("from seed 5, 2 seeds known");
    const sums = (out: string): string => out.slice(out.indexOf("3 seeds,"), out.indexOf("CPU"));
    expect(sums(whole.out)).toContain("operations");
    expect(sums(rest.out)).toBe(sums(whole.out));
    expect(readFileSync(file, "utf8").split("\n")).toHaveLength(5);
    const other = await run(...flags, "--seeds", "4");
    expect(other.err).toContain("it is of another run or of other code");
    expect(other.code).not.toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
