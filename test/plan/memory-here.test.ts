/** Planned memory against what a device's buffers hold while the step trains there. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { factsOf, webgpuBackend } from "../../backends/webgpu/index.ts";
import { planStep, totalBytes } from "../../cli/plan/step-plan.ts";
import { subjectOf } from "../../cli/training-subject.ts";
import { train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { tinyBatch, tinyJob } from "../support/tiny-job.ts";

gpuTest("a plan's memory is what the device holds, within a per cent", async ({ gpu }) => {
  const job = tinyJob(3);
  const plan = planStep(subjectOf("tiny", job, []), tinyBatch, factsOf(gpu));
  let held = 0;
  const folder = mkdtempSync(join(tmpdir(), "heddle-plan-"));
  const before = heldBytes();
  function heldBytes(): number {
    return [...gpu.memory.heldBytes()].reduce((n, [kind, bytes]) => (kind === "read-backs" ? n : n + bytes), 0);
  }
  const watched: typeof job = {
    ...job,
    async *batches(...from) {
      for await (const batch of job.batches(...from)) {
        yield batch;
        held = Math.max(held, heldBytes() - before);
      }
    },
  };
  try {
    await train(watched, { folder, backend: webgpuBackend(gpu), note: () => {} });
  } finally {
    rmSync(folder, { recursive: true });
  }
  const planned = totalBytes(plan.memory);
  expect(planned).toBeGreaterThan(100_000);
  expect(Math.abs(held - planned) / held).toBeLessThan(0.01);
});
