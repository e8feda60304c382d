import { defineConfig } from "vitest/config";

const project = (name: string, testTimeout: number) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout, hookTimeout: testTimeout },
});

export default defineConfig({
  test: {
    projects: [
      project("unit", 10_000),
      project("conformance", 30_000),
      project("sim", 120_000),
      { test: { ...project("e2e", 300_000).test, fileParallelism: false } },
    ],
  },
});
