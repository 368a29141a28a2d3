/** A WebGPU bundle runs with nothing but its own files, and computes what the graph means. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { bindSizes, inputName } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import tinyVit from "../../examples/tiny-vit.ts";
import { initialValue, randomStream } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

gpuTest(
  "a compiled vision transformer runs from its folder",
  async ({ gpu }) => {
    const args = [
      "compile",
      "examples/tiny-vit.ts",
      "--target",
      "webgpu",
      "--out",
      folder,
      "--set",
      "depth=2",
      "--seed",
      "4",
    ];
    execFileSync(process.execPath, ["bin/heddle.js", ...args, "--json"]);
    const { loadBundle } = await import(pathToFileURL(join(folder, "run.js")).href);
    const read = async (name: string) => new Uint8Array(readFileSync(join(folder, name)));
    const model = await loadBundle(undefined, { device: gpu.device, read });
    const pixels = randomStream(2, "pixels").fill({ kind: "normal", mean: 0, std: 1 }, 3 * 64 * 64);
    const { logits } = await gpu.settle<{ logits: Float32Array }>(model.run({ pixels }));
    model.dispose();

    const graph = bindSizes(trace(tinyVit, { depth: 2 }), { batch: 1 });
    const values = new Map<string, Float64Array>([["pixels", Float64Array.from(pixels)]]);
    for (const n of graph.inputs.filter((i) => i.op === "parameter"))
      values.set(inputName(n), Float64Array.from(initialValue(n, 4).data));
    const want = evaluate(graph, values).get("logits")!.data;
    expect(excess(logits, want, 1e-4, 1e-3)).toBeLessThanOrEqual(0);
    await expect(model.run({})).rejects.toThrow(/input "pixels" needs 12288 values/);
  },
  60_000,
);
