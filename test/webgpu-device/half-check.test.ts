/** The check of a driver's f16 at device start: what passes, what does not, and what becomes of a device that fails. */
import { describe, expect, it } from "vitest";
import { factsOf, pathOn } from "../../backends/webgpu/runtime/backend.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import {
  type HalfResults,
  halfCheckWgsl,
  halfFault,
  rightHalves,
  wrongHalf,
} from "../../backends/webgpu/runtime/half-check.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";

/** What the check computes, on words of two halves: for devices without f16. `sum` is how two numbers are added. */
const onWords = (sum: string) => `
@group(0) @binding(0) var<storage, read> fours: array<vec2<u32>, 16>;
@group(0) @binding(1) var<storage, read> words: array<vec4<u32>, 8>;
@group(0) @binding(2) var<storage, read> singles: array<u32, 32>;
@group(0) @binding(3) var<storage, read> floats: array<vec2<f32>, 32>;
@group(0) @binding(4) var<storage, read_write> sums: array<u32, 64>;
@group(0) @binding(5) var<storage, read_write> products: array<vec2<u32>, 16>;
@group(0) @binding(6) var<storage, read_write> moved: array<vec4<u32>, 8>;
@group(0) @binding(7) var<storage, read_write> widened: array<vec2<f32>, 64>;
fn product(a: u32, b: u32) -> u32 { return pack2x16float(unpack2x16float(a) * unpack2x16float(b)); }
@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lid: u32) {
  for (var i = 0u; i < 4u; i++) {
    let at = 4u * lid + i;
    let a = unpack2x16float(singles[at]);
    let b = unpack2x16float(singles[31u - at]).yx;
    sums[at] = pack2x16float(${sum});
    sums[32u + at] = pack2x16float(floats[at]);
    widened[at] = a;
    widened[32u + at] = a;
  }
  for (var i = 0u; i < 2u; i++) {
    let at = 2u * lid + i;
    let other = fours[15u - at];
    products[at] = vec2(product(fours[at].x, other.x), product(fours[at].y, other.y));
  }
  moved[lid] = words[lid];
}`;

/** The results with some changed. */
const changed = (change: (r: HalfResults) => void): HalfResults => {
  const results = rightHalves();
  change(results);
  return results;
};

/** Towards zero, where the other rounds to the nearest. */
const truncated = (x: number): number => {
  const half = Math.f16round(x);
  return Math.abs(half) > Math.abs(x) ? half - Math.sign(x) * 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10) : half;
};

describe("results of the f16 check", () => {
  it("that are rounded to the nearest pass", () => expect(wrongHalf(rightHalves())).toBeUndefined());

  it("that are truncated pass: WGSL grants either neighbour", () => {
    const results = changed(({ sums }) => {
      sums[64] = truncated(2049);
      sums[64 + 1] = truncated(2051);
      sums[64 + 11] = truncated(1 / 3);
    });
    expect(results.sums[65]).toBe(2050);
    expect(wrongHalf(results)).toBeUndefined();
  });

  it("in which subnormals are 0 pass, and so does the largest half for what is beyond", () => {
    const flushed = changed(({ moved, widened, sums }) => {
      moved[4] = 0; // 2^-24
      widened[64 + 5] = 0; // -(2^-15)
      sums[64 + 7] = 65504; // of 1e6
    });
    expect(wrongHalf(flushed)).toBeUndefined();
  });

  it.each<readonly [string, (r: HalfResults) => void, string]>([
    ["a sum", (r) => r.sums.fill(3, 8, 9), "1 + "],
    ["a sum that is NaN", (r) => r.sums.fill(Number.NaN, 20, 21), " is NaN"],
    ["a product", (r) => r.products.fill(0.5, 8, 9), "1 * "],
    ["two products in each other's place", (r) => r.products.copyWithin(9, 8, 9), "-1 * "],
    ["a conversion that is two halves off", (r) => r.sums.fill(2052, 64, 65), "f16(2049) is 2052"],
    ["the largest half as an infinity", (r) => r.widened.fill(Number.POSITIVE_INFINITY, 0, 1), "65504 is read as Infi"],
    ["a half in its neighbour's place", (r) => r.moved.copyWithin(11, 10, 11), "2048 is read as 2047"],
    ["a zero for what is normal", (r) => r.widened.fill(0, 2, 3), "is read as 0"],
    ["an overflow of the other sign", (r) => r.sums.fill(-65504, 64 + 7, 64 + 8), "f16(1000000) is -65504"],
  ])("with %s do not", (_, change, text) => expect(wrongHalf(changed(change))).toContain(text));
});

describe("a device", () => {
  it("is given a kernel that Dawn takes", async () => {
    const gpu = await validatingDevice();
    const module = gpu.device.createShaderModule({ code: halfCheckWgsl });
    const pipeline = { layout: "auto", compute: { module, entryPoint: "main" } } as const;
    await gpu.settle(gpu.device.createComputePipelineAsync(pipeline));
  });

  gpuTest("that refuses the kernel fails the check, and no error is left behind", async ({ gpu }) => {
    if (gpu.features.has("shader-f16")) {
      expect(gpu.distrusted.size).toBe(0); // it was checked when it was opened
      return;
    }
    expect(await halfFault(gpu.device, (pending) => gpu.settle(pending))).toMatch(/rejected|fail/);
  });

  gpuTest("that computes rightly passes, and one that adds wrongly does not", async ({ gpu }) => {
    const check = (sum: string) => halfFault(gpu.device, (pending) => gpu.settle(pending), onWords(sum));
    expect(await check("a + b")).toBeUndefined();
    expect(await check("a + b * 1.01")).toMatch(/^\S+ \+ \S+ is \S+$/);
  });

  it("that fails it has no f16, and is said to", async () => {
    const open = await validatingDevice();
    const fault = "the driver failed the f16 check: 1 + 1 is 3";
    const gpu: GpuDevice = {
      ...open,
      features: new Set([...open.features].filter((f) => f !== "shader-f16")),
      distrusted: new Map([["shader-f16", fault]]),
    };
    expect(factsOf(gpu).features.has("f16")).toBe(false);
    expect(pathOn(gpu, { precision: "f16" })).toEqual({
      computes: "f32",
      path: "f16 storage only, f32 compute",
      why: fault,
    });
  });
});
