/**
 * Bundles that `heddle compile` writes, in real Chromium: in f32, with weights and inputs in f16, and computing in f16.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { requirementsOf } from "../../backends/webgpu/bundle/requirements.ts";
import type { BundleManifest } from "../../backends/webgpu/index.ts";
import { compileCommand } from "../../cli/commands/compile.ts";
import { bindSizes, inputName, isParameter, keepParametersAs } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { initialValue, randomStream } from "../../runtime/index.ts";
import { bundleModule, type Site } from "../../scripts/browser/bundle.ts";
import { excess } from "../support/samples.ts";
import halfInputs from "./half-inputs.ts";
import { browserTest } from "./support.ts";
import tinyVit from "./tiny-vit.ts";

type Page = typeof import("./pages/bundles.ts");

const folder = mkdtempSync(join(tmpdir(), "heddle-browser-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The files of a compiled bundle. */
async function compiled(
  source: string,
  dtype: "f32" | "f16",
  precision: "f32" | "f16" = "f32",
  adapter = "typical",
): Promise<Site> {
  const out = join(folder, `${dtype}-${precision}-${source.length}`);
  const sizes = { batch: 1, size: [] };
  const args = { adapter, target: "webgpu", out, dtype, precision, seed: 4, json: true, set: [], ...sizes };
  const log = process.stdout.write;
  process.stdout.write = () => true;
  try {
    expect(await compileCommand(source, args as never)).toBe(0);
  } finally {
    process.stdout.write = log;
  }
  return new Map(readdirSync(out).map((name) => [name, readFileSync(join(out, name))]));
}

/** What the interpreter makes of the same weights. */
function expected(
  model: typeof tinyVit | typeof halfInputs,
  dtype: "f32" | "f16",
  inputs: Record<string, ArrayLike<number>>,
) {
  const graph = keepParametersAs(bindSizes(trace(model as never), { batch: 1 }), dtype);
  const values = new Map(Object.entries(inputs).map(([name, data]) => [name, Float64Array.from(data)]));
  for (const n of graph.inputs.filter(isParameter)) {
    const drawn = initialValue(n, 4).data;
    values.set(inputName(n), Float64Array.from(n.type.dtype === "f16" ? new Float16Array(drawn) : drawn));
  }
  return [...evaluate(graph, values).values()][0]!.data;
}

const noise = (count: number) => Array.from(randomStream(2, "noise").fill({ kind: "normal", mean: 0, std: 1 }, count));

browserTest.for(["f32", "f16"] as const)("a vision transformer with weights in %s", async (dtype, { chromium }) => {
  const adapter = dtype === "f32" ? "typical" : "swiftshader"; // the one with subgroups, of the size that this browser has
  const { url } = await chromium.serve(await compiled("test/browser/tiny-vit.ts", dtype, "f32", adapter));
  const { call } = await chromium.open<Page>("bundles");
  const pixels = noise(3 * 16 * 16);
  const { logits } = await call("run", url, { pixels });
  expect(excess(logits!.values, expected(tinyVit, dtype, { pixels }), 1e-4, 1e-3)).toBeLessThanOrEqual(0);
});

browserTest("inputs in f16: as halves, as numbers, and without Float16Array", async ({ chromium }) => {
  const { url } = await chromium.serve(await compiled("test/browser/half-inputs.ts", "f16"));
  const { page, call } = await chromium.open<Page>("bundles");
  const x = noise(21);
  const seen = [1, 0, 1];
  const want = expected(halfInputs, "f16", { x: new Float16Array(x), seen });
  const close = (y: readonly number[]) => expect(excess(y, want, 1e-6, 1e-6)).toBeLessThanOrEqual(0);
  close((await call("run", url, { x: { halves: x }, seen })).y!.values);
  close((await call("run", url, { x, seen })).y!.values);
  await page.reload();
  await call("forgetHalves");
  close((await call("run", url, { x, seen })).y!.values);
});

/** A program whose kernel moves words of two halves, which needs no f16 of the device. */
const moving: BundleManifest = {
  format: "heddle-webgpu-2",
  graph: "moving",
  buffers: [32, 32],
  inputs: [{ name: "x", dtype: "f16", axes: [{ name: "i", size: 13 }], buffer: 0 }],
  parameters: [],
  constants: [],
  outputs: [{ name: "y", dtype: "f16", axes: [{ name: "i", size: 13 }], buffer: 1 }],
  shaders: ["move.wgsl"],
  dispatches: [
    { name: "move", shader: 0, grid: [1, 1, 1], bindings: [0, 1].map((buffer) => ({ buffer, offset: 0, size: 28 })) },
  ],
  requires: requirementsOf([], {
    buffers: [32, 32],
    dispatches: [{ bindings: [{ size: 28 }, { size: 28 }] }],
    subgroupSizes: { min: 0, max: 0 },
  }),
};
const move = `@group(0) @binding(0) var<storage, read> x: array<u32, 7>;
@group(0) @binding(1) var<storage, read_write> y: array<u32, 7>;
@compute @workgroup_size(7) fn main(@builtin(local_invocation_index) i: u32) { y[i] = x[i]; }`;

browserTest("outputs in f16, with every kind of half rounded as Float16Array rounds", async ({ chromium }) => {
  const empty = new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]);
  const run = readFileSync("backends/webgpu/bundle/run.js");
  const { url } = await chromium.serve(
    new Map<string, string | Uint8Array>([
      ["manifest.json", JSON.stringify(moving)],
      ["move.wgsl", move],
      ["weights.safetensors", empty],
      ["run.js", run],
    ]),
  );
  const { page, call } = await chromium.open<Page>("bundles");
  const x = [0, -0, 1, -1.0009765, 65504, 65519, 65520, -1e9, 2 ** -14, 3e-5, 2 ** -25, 2 ** -24 * 1.5, Number.NaN];
  const want = Array.from(new Float16Array(x));
  expect(await call("run", url, { x })).toEqual({ y: { kind: "Float16Array", values: want } });
  await page.reload();
  await call("forgetHalves");
  expect(await call("run", url, { x })).toEqual({ y: { kind: "Float32Array", values: want } });
});

browserTest("computing in f16 is refused by name where the adapter has none", async ({ chromium }) => {
  const { url } = await chromium.serve(await compiled("test/browser/tiny-vit.ts", "f16", "f16"));
  const { page, call } = await chromium.open<Page>("bundles");
  const has = await page.evaluate(async () => (await navigator.gpu.requestAdapter())!.features.has("shader-f16"));
  const said = await call("refusal", url);
  if (has) expect(said).toBe("none");
  else
    expect(said).toMatch(
      /^the adapter \(google swiftshader\) does not meet the requirements of the model:\n {2}shader-f16, which it lacks\n {2}hint: a bundle compiled/,
    );
});

test("what a page needs beside its weights and kernels is far below 30 kB", async () => {
  const bundled = await bundleModule("backends/webgpu/bundle/run.js", { minify: true });
  const bytes = [...bundled.values()].reduce((n, text) => n + gzipSync(text).length, 0);
  expect(bytes).toBeLessThan(4_000);
});
