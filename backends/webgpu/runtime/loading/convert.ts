/**
 * Converts stored floats to the kept dtype on the device. Uses integer arithmetic on bits only: WGSL lets an adapter
 * flush subnormals and round in either direction, but weights must be identical on every adapter.
 */
import type { StoredFloat } from "../../../backend.ts";
import type { GpuDevice } from "../device.ts";

/** A conversion kernel reads `from` and writes `to`; if they are equal, it only checks. */
export interface Conversion {
  readonly from: StoredFloat;
  readonly to: "f32" | "f16";
}

/** Words per dispatch, in order: first source word, element count, tensor index, first element in the tensor. */
export const parameterWords = 4;

/** Threads per workgroup; each handles two elements, as a word holds two 16-bit floats. */
const threads = 256;
export const elementsOfGroup = 2 * threads;

const widen: Readonly<Record<StoredFloat, string>> = {
  f32: "",
  bf16: "fn widened(bits: u32) -> u32 { return bits << 16u; }",
  f16: `fn widened(bits: u32) -> u32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 0x1fu;
  let mantissa = bits & 0x3ffu;
  if (exponent == 31u) { return sign | 0x7f800000u | (mantissa << 13u); }
  if (exponent > 0u) { return sign | ((exponent + 112u) << 23u) | (mantissa << 13u); }
  if (mantissa == 0u) { return sign; }
  let lead = firstLeadingBit(mantissa);
  return sign | ((lead + 103u) << 23u) | ((mantissa << (23u - lead)) & 0x7fffffu);
}`,
};

/** Rounds to nearest, ties to even. */
const narrow = `fn narrowed(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return sign | 0x7e00u; }
  if (size >= 0x47800000u) { return sign | 0x7c00u; }
  if (size >= 0x38800000u) {
    let moved = size - 0x38000000u;
    return sign | ((moved + 0xfffu + ((moved >> 13u) & 1u)) >> 13u);
  }
  let exponent = size >> 23u;
  if (exponent < 102u) { return sign; }
  let mantissa = (size & 0x7fffffu) | 0x800000u;
  let shift = 126u - exponent;
  let kept = mantissa >> shift;
  let rest = mantissa & ((1u << shift) - 1u);
  let tie = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, rest > tie || (rest == tie && (kept & 1u) == 1u)));
}`;

/** Reads the bits of source element `i`, widened to f32. */
const readElement = (from: StoredFloat): string =>
  from === "f32" ? "source[p.x + i]" : "widened((source[p.x + (i >> 1u)] >> ((i & 1u) * 16u)) & 0xffffu)";

/** The WGSL of the kernel; if `from` equals `to`, it only checks. */
function conversionWgsl({ from, to }: Conversion): string {
  const copies = from === to;
  const half = to === "f16" && !copies;
  const lines = [
    "@group(0) @binding(0) var<uniform> p: vec4<u32>;",
    "@group(0) @binding(1) var<storage, read_write> faults: array<atomic<u32>>;",
    "@group(0) @binding(2) var<storage, read> source: array<u32>;",
    ...(copies ? [] : ["@group(0) @binding(3) var<storage, read_write> result: array<u32>;"]),
    widen[from],
    ...(half ? [narrow] : []),
    `fn element(i: u32) -> u32 {
  let bits = ${readElement(from)};`,
    ...(half ? ["  let kept = narrowed(bits);", "  let infinite = (kept & 0x7c00u) == 0x7c00u;"] : []),
    ...(half ? [] : ["  let kept = bits;", "  let infinite = (bits & 0x7f800000u) == 0x7f800000u;"]),
    "  if (infinite) { atomicMin(&faults[p.z], p.w + i); }",
    "  return kept;\n}",
    `@compute @workgroup_size(${threads})`,
    "fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {",
    `  let i = 2u * ((group.y * groups.x + group.x) * ${threads}u + lane);`,
    "  if (i >= p.y) { return; }",
    "  let low = element(i);",
    "  var high = 0u;",
    "  if (i + 1u < p.y) { high = element(i + 1u); }",
    ...(copies ? [] : half ? ["  result[i >> 1u] = low | (high << 16u);"] : []),
    ...(copies || half ? [] : ["  result[i] = low;", "  if (i + 1u < p.y) { result[i + 1u] = high; }"]),
    "}",
  ];
  return lines.filter((line) => line !== "").join("\n");
}

/** A device's conversion pipelines, created on first use. */
export class Conversions {
  private readonly gpu: GpuDevice;
  private readonly made = new Map<string, Promise<GPUComputePipeline>>();
  private layouts: { readonly check: GPUBindGroupLayout; readonly convert: GPUBindGroupLayout } | undefined;

  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }

  layoutOf({ from, to }: Conversion): GPUBindGroupLayout {
    this.layouts ??= { check: this.layout(false), convert: this.layout(true) };
    return from === to ? this.layouts.check : this.layouts.convert;
  }

  async pipeline(conversion: Conversion): Promise<GPUComputePipeline> {
    const key = `${conversion.from} ${conversion.to}`;
    let known = this.made.get(key);
    if (!known) {
      known = this.create(conversion);
      this.made.set(key, known);
      known.catch(() => this.made.delete(key));
    }
    return this.gpu.settle(known, `compiling the kernel that loads ${key.replace(" ", " as ")}`);
  }

  private create(conversion: Conversion): Promise<GPUComputePipeline> {
    const { device } = this.gpu;
    const label = `load ${conversion.from} as ${conversion.to}`;
    const module = device.createShaderModule({ label, code: conversionWgsl(conversion) });
    const layout = device.createPipelineLayout({ bindGroupLayouts: [this.layoutOf(conversion)] });
    return device.createComputePipelineAsync({ label, layout, compute: { module, entryPoint: "main" } });
  }

  private layout(converts: boolean): GPUBindGroupLayout {
    const entry = (binding: number, buffer: GPUBufferBindingLayout) => ({ binding, visibility: computeStage, buffer });
    return this.gpu.device.createBindGroupLayout({
      entries: [
        entry(0, { type: "uniform", hasDynamicOffset: true, minBindingSize: 4 * parameterWords }),
        entry(1, { type: "storage" }),
        entry(2, { type: "read-only-storage" }),
        ...(converts ? [entry(3, { type: "storage" })] : []),
      ],
    });
  }
}

/** GPUShaderStage.COMPUTE by its value in the specification. */
const computeStage = 0x4;
