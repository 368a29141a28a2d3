import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A process per file: Dawn and its drivers are native code with threads, which neither shares a process with
    // another copy of itself nor lives in a worker thread, and an abort then costs one file and is told.
    pool: "forks",
    // Half of a file's time is one thread's: two at a time even where there are two cores, for which vitest would take one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // What heddle tune found on this machine must not decide which kernels are tested.
    // Processes that tests start find the sources as an earlier one stripped and compiled them: half a second less for each.
    env: {
      HEDDLE_TUNING: "off",
      NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules", ".cache", "heddle", "sources"),
    },
    // Node strips the types of the sources itself, and keeps what it compiled, so that files start sooner.
    experimental: { viteModuleRunner: false },
    // SwiftShader compiles a large kernel in about a second of one core, and CI has two.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default", "./scripts/not-run-reporter.ts"],
  },
});
