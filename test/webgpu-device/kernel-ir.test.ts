/** The WGSL of what the kernel IR can say, checked by Dawn on its null device, which has every feature. */
import { describe, expect, test } from "vitest";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import { adapterInfo } from "../../backends/webgpu/runtime/device.ts";
import { kernelIr, opRecords, parseKernel } from "../../compiler/index.ts";
import { everyHandWritten, product, wideProduct } from "../kernels/hand-written.ts";
import { validatingDevice } from "../support/adapter.ts";

/** What Dawn says against a module and its pipeline; empty where it accepts both. */
async function refusal(code: string): Promise<string> {
  const gpu = await validatingDevice();
  gpu.device.pushErrorScope("validation");
  const module = gpu.device.createShaderModule({ code });
  gpu.device.createComputePipeline({ layout: "auto", compute: { module } });
  return (await gpu.settle(gpu.device.popErrorScope()))?.message ?? "";
}

describe.each([8, 16, 32, 64])("kernels for subgroups of %d", (lanes) => {
  test.each(everyHandWritten(lanes))("%s is valid WGSL", async (_, text) => {
    expect(await refusal(emitWgsl(parseKernel(text)))).toBe("");
  });
});

const types = ["f16", "f16x2", "f16x4", "f32x2", "f32x4"];
const floatOps = opRecords().filter(
  (r) =>
    kernelIr.opResult(
      r.name,
      r.operands.map(() => ({ dtype: "f16" })),
    ) === "f16",
);

test.each(types)("every op of floats is valid WGSL on %s", async (type) => {
  expect(floatOps.length).toBeGreaterThan(20);
  const [dtype, width] = type.split("x");
  const by = width ? ` by ${width}` : "";
  const lines = floatOps.map((r) => `  b1[lid] = @${r.name}(${r.operands.map(() => "x").join(", ")})`);
  const text = `kernel elementwise "ops"
  b0: read ${dtype}[128]${by}
  b1: read_write ${dtype}[128]${by}
  ${dtype === "f16" ? "requires f16" : ""}
  workgroup [32, 1, 1] grid [1, 1, 1]
{
  let x: ${type} = b0[lid]
${lines.join("\n")}
}
`;
  expect(await refusal(emitWgsl(parseKernel(text)))).toBe("");
});

const words = `kernel elementwise "words"
  sizes $rows in 1 .. 65
  b0: read f16[512] by 8
  b1: read_write f16[512] by 8
  b2: read f16[512] by 2
  b3: read_write f32x[64]
  b4: read_write bool[64]
  b5: read u32[64] by 4
  workgroup flags: bool[64]
  workgroup halves: f16[256] by 4
  private own: f16[16] by 8
  private pairs: f32[16] by 2
  requires f16, subgroups
  workgroup [64, 1, 1] grid [$rows, 1, 1]
{
  own[0] = b0[lid]
  let v: f16x8 = (lid < 4) ? own[0] : b1[lid]
  let sum: f16 = v.0 + v.7
  b1[lid] = f16x8(sum, v.1, v.2, v.3, 1:f16, -0.5:f16, 65504:f16, f16(3.25:f32))
  halves[lid] = f16x4(v.0) * f16x4(v.1, v.2, v.3, v.4)
  pairs[0] = f32x2(b2[lid])
  flags[lid] = sum < 1:f16
  barrier
  let all: f16x4 = subgroup_max(halves[lid])
  let least: i32 = subgroup_min(lid)
  let u: u32x4 = b5[lid / 4]
  let before: u32x4 = subgroup_exclusive_add(u)
  b4[lid] = flags[(lid + 1) % 64] & f32(all.x) < pairs[0].y | bool(before.w)
  b3[lid] = (lid < least) ? exp(f32(all.y)) : max(f32(i32(sum)), f32($rows))
}
`.replace("f32x[", "f32[");

describe("words of the language", () => {
  test("that no other kernel here uses are valid WGSL", async () => {
    expect(await refusal(emitWgsl(parseKernel(words)))).toBe("");
  });

  test("halves that are only widened, or moved by sixteen bytes, need no f16", async () => {
    const text = `kernel elementwise "widened"
  b0: read f16[64] by 8
  b1: read f16[64] by 2
  b2: read f16[7]
  b3: read_write f32[64] by 2
  b4: read_write f16[64] by 8
  workgroup [4, 1, 1] grid [1, 1, 1]
{
  let v: f16x8 = b0[lid]
  b4[lid] = v
  b3[lid] = f32x2(b1[lid]) * f32x2(f32(v.3) + f32(b2[lid]))
}
`;
    const wgsl = emitWgsl(parseKernel(text));
    expect(wgsl).not.toMatch(/f16/);
    expect(await refusal(wgsl)).toBe("");
  });
});

test("a name may be any: a type, a function or a keyword of WGSL, or what the emitter calls something", async () => {
  // Lowering counts its names, and an f can become f32: within its scope there would be no cast to that type.
  const names = ["f32", "vec4", "min", "exp", "main", "wid", "local", "sizes", "shared", "return", "half", "x_", "x"];
  const text = `kernel elementwise "names"
  sizes $f16
  b0: read f16[4]
  self: read_write f32[4]
  workgroup array: f32[4]
  workgroup [4, 1, 1] grid [1, 1, 1]
{
${names.map((name, i) => `  let ${name}: f32 = exp(min(f32(lid), ${i}:f32) + f32(b0[lid] * 1:f16))`).join("\n")}
  array[lid] = ${names.join(" + ")} + f32($f16)
  self[lid] = array[lid]
}
`.replaceAll(" * 1:f16", "");
  expect(await refusal(emitWgsl(parseKernel(text)))).toBe("");
});

test("a device with one subgroup size is not asked for it", async () => {
  const kernel = parseKernel(wideProduct(16, 16, 16, 32));
  expect(emitWgsl(kernel)).toMatch(/enable subgroup_size_control;[\s\S]*@subgroup_size\(32\)/);
  expect(emitWgsl(kernel, { subgroupSizes: { min: 32, max: 32 } })).not.toMatch(/subgroup_size/);
  expect(emitWgsl(kernel, { subgroupSizes: { min: 16, max: 32 } })).toMatch(/@subgroup_size\(32\)/);
});

test("bounds that Dawn can prove are spelled out", () => {
  const wgsl = emitWgsl(parseKernel(product({ m: 64, n: 64, k: 64, layout: "NT", lanes: 32 })));
  expect(wgsl).toContain("let subgroup_id = i32(sg_id % 4u);");
  expect(wgsl).toContain("let down_ = i32(u32(subgroup_id) % 2u);");
});

test("the null device refuses what the verifier refuses, were it emitted", async () => {
  const kernel = parseKernel(wideProduct(16, 16, 16, 32));
  const [condition] = [kernelIr.index.lt(kernelIr.variable("lid", "i32"), kernelIr.int(5))];
  const parted = { ...kernel, body: [{ kind: "if", condition, body: kernel.body }] as const };
  expect(() => kernelIr.verifyKernel(parted)).toThrow(/not uniform in the subgroup/);
  const message = await validatingDevice().then(async (gpu) => {
    gpu.device.pushErrorScope("validation");
    gpu.device.createShaderModule({ code: emitWgsl(parted) });
    return (await gpu.settle(gpu.device.popErrorScope()))?.message;
  });
  expect(message).toMatch(/uniform control flow/);
});

test("the matrix shapes of an adapter are read as Dawn names them", () => {
  const config = { componentType: "f16", resultComponentType: "f32", M: 16, N: 8, K: 4 };
  const info = { vendor: "acme", architecture: "", device: "", description: "", subgroupMatrixConfigs: [config] };
  expect(adapterInfo({ info } as unknown as GPUAdapter, "vulkan").subgroupMatrices).toEqual([
    { operands: "f16", result: "f32", m: 16, n: 8, k: 4 },
  ]);
});
