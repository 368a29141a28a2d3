import { globSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

const tests = "test/**/*.test.ts";

/**
 * What a test file cannot undo at its end: modules replaced before they are loaded, and ops that all graphs then know.
 * And what watches the memory of its process, since a collection of all files' garbage takes half a second each time;
 * and what compares names of kernels, which come from the module that was first to make an equal node.
 */
const apart = /\bvi\.(mock|doMock)\(|\bdefineOp\(|\bgrowthOf\(|\/examples\/(ops|schedules)\/|\/golden\/schedules\b/;

const root = import.meta.dirname;
const alone = globSync(tests, { cwd: root }).filter((file) => apart.test(readFileSync(join(root, file), "utf8")));

export default defineConfig({
  test: {
    // Dawn and its drivers are native code with threads, which does not live in a worker thread.
    pool: "forks",
    // Half of a file's time is one thread's: two at a time even where there are two cores, for which vitest would take
    // one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // What heddle tune found on this machine must not decide which kernels are tested.
    // Processes that tests start find the sources as an earlier one stripped and compiled them: half a second less for
    // each.
    env: {
      HEDDLE_TUNING: "off",
      NODE_COMPILE_CACHE: join(root, "node_modules", ".cache", "heddle", "sources"),
    },
    // Node strips the types of the sources itself, and keeps what it compiled, so that files start sooner.
    experimental: { viteModuleRunner: false },
    setupFiles: "test/support/setup.ts",
    // SwiftShader compiles a large kernel in about a second of one core, and CI has two.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default", "./scripts/not-run-reporter.ts"],
    projects: [
      {
        extends: true,
        // Files follow each other in one process, which has loaded the sources and compiled their hot functions.
        test: { name: "shared", include: [tests], exclude: alone, isolate: false, sequence: { groupOrder: 0 } },
      },
      { extends: true, test: { name: "alone", include: alone, sequence: { groupOrder: 1 } } },
    ],
  },
});
