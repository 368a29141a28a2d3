/** `heddle inspect --target --pass`: any stage of any target, before and after. */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { onnxStages, settledOptions } from "../../backends/onnx/index.ts";
import { heddle, scratch } from "./support.ts";

const folder = scratch("stages");
const file = folder.at("layer.graph");
beforeAll(() =>
  writeFileSync(
    file,
    `graph @layer(%x: f32[batch=batch, embed=64]) {
  %w = parameter "fc.weight" init normal(mean=0, std=0.02) : f32[hidden=64, embed=64]
  %0 = contract %x, %w over [embed]
  %1 = relu %0
  return %1 as y
}
`,
  ),
);
afterAll(() => folder.remove());

describe("inspect --pass", () => {
  it("shows a stage of the pipeline to ONNX as text, before and after", async () => {
    const { out, status } = await heddle("inspect", file, "--target", "onnx", "--pass", "place-inputs");
    expect(status).toBe(0);
    expect(out).toMatch(
      /^\/\/ before place-inputs\nmodel ir 9, onnx 20, by heddle\n[\s\S]*\n\/\/ after place-inputs\nmodel/,
    );
    expect(out).toContain("  fc.weight = f32[64, 64]\n");
  });

  it("shows what a dtype changes", async () => {
    const shown = async (dtype: string, stage: string) =>
      (await heddle("inspect", file, "--target", "onnx", "--dtype", dtype, "--pass", stage)).out;
    expect(await shown("int8", "quantize-weights")).toContain("DequantizeLinear(fc.weight, fc.weight.scale)");
    expect(await shown("int4", "quantize-weights")).toContain("fc.weight = i4[64, 64]");
    expect(await shown("f16", "half-precision")).toContain("f16[hidden=64, embed=64]");
    expect(await shown("f32", "half-precision")).toMatch(/^\/\/ half-precision \(unchanged\)\n/);
  });

  it("shows the interpreter's one stage, and those of webgpu where no target is named", async () => {
    const reference = await heddle("inspect", file, "--target", "reference", "--pass", "bind-sizes", "--batch", "3");
    expect(reference.out).toContain("// after bind-sizes\ngraph @layer(%x: f32[batch=3, embed=64])");
    const webgpu = await heddle("inspect", file, "--pass", "split-reductions");
    expect(webgpu.out).toMatch(/^\/\/ split-reductions \(unchanged\)\ngraph @layer\(/);
  });

  it("tells an unknown stage all that there are, and an unknown target likewise", async () => {
    const all = onnxStages(settledOptions()).map((s) => s.name);
    expect(await heddle("inspect", file, "--target", "onnx", "--pass", "emti")).toMatchObject({
      status: 1,
      err: `UsageError: the pipeline to onnx has no stage "emti"; did you mean "emit"? Its stages are ${all.join(", ")}.\n`,
    });
    expect((await heddle("inspect", file, "--target", "wgpu", "--pass", "emit")).err).toBe(
      'UsageError: unknown target "wgpu"; did you mean "webgpu"? Known targets: webgpu, onnx, reference.\n',
    );
    expect((await heddle("inspect", file, "--target", "onnx", "--dtype", "f15", "--pass", "emit")).err).toBe(
      'UsageError: --dtype must be one of f32, f16, int8, int4; got "f15"\n',
    );
  });

  it("refuses a target of which nothing is shown", async () => {
    expect((await heddle("inspect", file, "--target", "onnx", "--text")).err).toBe(
      "UsageError: --target onnx needs --pass or --html, which show the stages of a target\n",
    );
  });

  it.each([
    ["resnet50", 'did you mean "resnet-50"?'],
    ["LLaVA", 'did you mean "llava-1.5-7b" or "llava-1.5-13b"?'],
    ["zzz", 'unknown model "zzz". Give'],
  ])("tells a model named %s the nearest, and how to list the others", async (name, told) => {
    const { err, status } = await heddle("inspect", name);
    expect([status, err.length < 250]).toEqual([1, true]);
    expect(err).toContain(told);
    expect(err).toContain("the name of a bundled model: heddle models lists them.");
  });

  it("writes a page of all stages", async () => {
    const page = folder.at("stages.html");
    expect((await heddle("inspect", file, "--target", "onnx", "--html", page)).status).toBe(0);
    const text = readFileSync(page, "utf8");
    for (const { name } of onnxStages(settledOptions())) expect(text).toContain(`>${name} <small>`);
  });
});

describe("switches", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("dump and time the stages of a target", async () => {
    vi.stubEnv("DUMP", "ir:plan-*");
    vi.stubEnv("TIME", "passes:emit");
    vi.stubEnv("CHECK", "all");
    const { err, status } = await heddle("inspect", file, "--target", "onnx", "--dtype", "f16");
    expect(status).toBe(0);
    expect(err).toContain('// after plan-export\nexport @layer {\n  fed input "x" : f32[batch=batch, embed=64]\n');
    expect(err).toMatch(/^emit +[\d.]+ ms {3}4 nodes$/m);
    expect(err).not.toContain("// after emit");
  });

  it.each([
    [{ DUMP: "ir:fusing-*" }, [], /the pipeline to webgpu has no stage "fusing-\*"/],
    [
      { TIME: "passes:emitt" },
      ["--target", "onnx"],
      /the pipeline to onnx has no stage "emitt"; did you mean "emit"\?/,
    ],
    [{ DUMP: "wgsl:*conv*" }, [], /no kernel of layer is called "\*conv\*"/],
    [{ DUMP: "kernel" }, ["--kernels"], /DUMP, TRACE and TIME print nothing beside --kernels/],
  ])("that would print nothing are an error: %j %j", async (switches, args, message) => {
    for (const [name, value] of Object.entries(switches)) vi.stubEnv(name, value);
    const { err, status } = await heddle("inspect", file, ...args);
    expect(status).not.toBe(0);
    expect(err).toMatch(message);
  });
});
