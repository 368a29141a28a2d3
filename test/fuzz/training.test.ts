/** A slice of what `npm run fuzz:kills` and `npm run fuzz:growth` do. */
import { expect, test } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { growthOf } from "./training/growth.ts";
import { tryKills } from "./training/kills.ts";

const tell = () => {};

test("runs that are killed end as one that is left alone", { timeout: 240_000 }, async () => {
  const report = await tryKills({ times: 6, device: "cpu", seed: 3, steps: 8, tell });
  expect(report.findings).toEqual([]);
  expect(report.kills).toBe(6);
  expect(report.inWrites).toBeGreaterThan(0);
});

test("a run takes no more with time", { timeout: 240_000 }, async () => {
  const backend = await cpuBackend({ threads: 1 });
  expect(await growthOf({ backend, steps: 200, tell }).finally(() => backend.dispose())).toEqual([]);
});
