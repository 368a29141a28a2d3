/** A WebGPU bundle runs with nothing but its own files, and computes what the graph means. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
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

/**
 * What is made for a GPU takes software drivers most of a minute to compile; test/browser runs a small model so made.
 */
async function compiled(adapter: string, out: string, ...args: readonly string[]) {
  const model = [
    "compile",
    "examples/tiny-vit.ts",
    "--target",
    "webgpu",
    "--out",
    out,
    "--set",
    "depth=2",
    "--seed",
    "4",
    "--adapter",
    adapter,
  ];
  execFileSync(process.execPath, ["bin/heddle.js", ...model, ...args, "--json"]);
  const { loadBundle } = await import(pathToFileURL(join(out, "run.js")).href);
  const read = async (name: string) => new Uint8Array(readFileSync(join(out, name)));
  return (device: GPUDevice) => loadBundle(undefined, { device, read });
}

/** What the interpreter makes of the same weights, rounded as the bundle keeps them. */
function expected(pixels: Float32Array, rounded: (v: Float32Array) => ArrayLike<number>): Float64Array {
  const graph = bindSizes(trace(tinyVit, { depth: 2 }), { batch: 1 });
  const values = new Map<string, Float64Array>([["pixels", Float64Array.from(pixels)]]);
  for (const n of graph.inputs.filter((i) => i.op === "parameter")) {
    const drawn = initialValue(n, 4).data as Float32Array;
    values.set(inputName(n), Float64Array.from(n.type.axes.length > 1 ? rounded(drawn) : drawn));
  }
  return evaluate(graph, values).get("logits")!.data;
}

const pixels = randomStream(2, "pixels").fill({ kind: "normal", mean: 0, std: 1 }, 3 * 64 * 64);

gpuTest("a compiled vision transformer runs from its folder", { timeout: 60_000 }, async ({ gpu }) => {
  const load = await compiled("swiftshader", folder);
  const { min, max } = gpu.adapter.subgroupSize;
  if (min !== 4 || max !== 4) {
    await expect(load(gpu.device)).rejects.toThrow("subgroups of 4 lanes and no others, it has");
    return;
  }
  const model = await load(gpu.device);
  expect(model.manifest.requires.subgroups).toEqual({ min: 4, max: 4, chosen: false });
  const { logits } = await gpu.settle<{ logits: Float32Array }>(model.run({ pixels }));
  await expect(model.run({})).rejects.toThrow(/input "pixels" needs 12288 values/);
  model.dispose();
  expect(
    excess(
      logits,
      expected(pixels, (v) => v),
      1e-4,
      1e-3,
    ),
  ).toBeLessThanOrEqual(0);
});

gpuTest("and with weights in half the bytes, on any adapter", { timeout: 60_000 }, async ({ gpu }) => {
  const half = join(folder, "half");
  const model = await (await compiled("software", half, "--dtype", "f16"))(gpu.device);
  const { logits } = await gpu.settle<{ logits: Float32Array }>(model.run({ pixels }));
  model.dispose();
  const want = expected(pixels, (v) => new Float16Array(v));
  expect(excess(logits, want, 1e-4, 1e-3)).toBeLessThanOrEqual(0);
  const bytes = (at: string) => statSync(join(at, "weights.safetensors")).size;
  expect(bytes(half)).toBeLessThan(0.6 * bytes(folder));
});

gpuTest("and in f16 on a device that has it: others are told what it lacks", { timeout: 60_000 }, async ({ gpu }) => {
  const load = await compiled("software", join(folder, "f16"), "--dtype", "f16", "--precision", "f16");
  if (!gpu.features.has("shader-f16")) {
    await expect(load(gpu.device)).rejects.toThrow(
      /^the device \(.*\) does not meet the requirements of the model:\n {2}shader-f16, which/,
    );
    return;
  }
  const model = await load(gpu.device);
  const { logits } = await gpu.settle<{ logits: Float32Array }>(model.run({ pixels }));
  model.dispose();
  expect(
    excess(
      logits,
      expected(pixels, (v) => new Float16Array(v)),
      1e-2,
      1e-2,
    ),
  ).toBeLessThanOrEqual(0);
});
