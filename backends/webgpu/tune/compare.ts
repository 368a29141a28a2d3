/** Compares buffers on the device, to avoid reading back gigabytes of outputs. */
import { type DType, UnsupportedError } from "../../../compiler/index.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { mapModeRead, storageBuffer, uniformBuffer, usage } from "../runtime/memory.ts";

const groups = 256;

/**
 * Finds the largest difference and the largest value, as float bits, whose order is that of nonnegative floats, and
 * counts elements that are non-finite in different ways. NaN and infinities are detected by their bits, since WGSL may
 * assume there are none. f16 is unpacked from words, which needs no feature.
 */
const shader = (perWord: string) => /* wgsl */ `
@group(0) @binding(0) var<storage, read> got: array<u32>;
@group(0) @binding(1) var<storage, read> want: array<u32>;
@group(0) @binding(2) var<storage, read_write> found: array<atomic<u32>, 3>;
@group(0) @binding(3) var<uniform> words: vec4<u32>;
var<private> apart: f32;
var<private> largest: f32;
var<private> unlike: u32;

fn kindOf(bits: u32, exponent: u32, sign: u32) -> u32 {
  if ((bits & exponent) != exponent) { return 0u; }
  if ((bits & (sign - 1u) & ~exponent) != 0u) { return 1u; } // NaN
  return select(2u, 3u, (bits & sign) != 0u);
}

fn differ(a: f32, b: f32, kindA: u32, kindB: u32) {
  if (kindA != kindB) { unlike += 1u; }
  if (kindA == 0u && kindB == 0u) {
    apart = max(apart, abs(a - b));
    largest = max(largest, abs(b));
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  for (var i = id.x; i < words.x; i += ${64 * groups}u) {
    let a = got[i];
    let b = want[i];
    ${perWord}
  }
  atomicMax(&found[0], bitcast<u32>(apart));
  atomicMax(&found[1], bitcast<u32>(largest));
  atomicAdd(&found[2], unlike);
}`;

const half = (word: string, part: "x" | "y") =>
  `kindOf(${part === "x" ? `${word} & 0xffffu` : `${word} >> 16u`}, 0x7c00u, 0x8000u)`;

const bodies = {
  float:
    "differ(bitcast<f32>(a), bitcast<f32>(b), kindOf(a, 0x7f800000u, 0x80000000u), kindOf(b, 0x7f800000u, 0x80000000u));",
  half: (["x", "y"] as const)
    .map((p) => `differ(unpack2x16float(a).${p}, unpack2x16float(b).${p}, ${half("a", p)}, ${half("b", p)});`)
    .join("\n    "),
  whole: "if (a != b) { unlike += 1u; }",
} as const;

const bodyOf = (dtype: DType): keyof typeof bodies => (dtype === "f32" ? "float" : dtype === "f16" ? "half" : "whole");

export class Comparison {
  private readonly gpu: GpuDevice;
  private readonly pipelines = new Map<string, GPUComputePipeline>();

  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }

  /**
   * The largest difference relative to the largest expected value; infinite if only one side has a NaN or an infinity,
   * or if integers differ.
   */
  async difference(got: GPUBuffer, want: GPUBuffer, dtype: DType): Promise<number> {
    const { device, limits } = this.gpu;
    if (want.size > limits.maxStorageBufferBindingSize)
      throw new UnsupportedError(`results of ${want.size} bytes are too large to compare`);
    const pipeline = this.pipeline(bodyOf(dtype));
    const [found, words] = [storageBuffer(this.gpu, 12, "differences"), uniformBuffer(this.gpu, 16, "words")];
    device.queue.writeBuffer(words, 0, Uint32Array.of(want.size / 4, 0, 0, 0));
    const staging = device.createBuffer({ size: 16, usage: usage.mapRead | usage.copyDst });
    const entries = [got, want, found, words].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(groups);
    pass.end();
    encoder.copyBufferToBuffer(found, 0, staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await this.gpu.settle(staging.mapAsync(mapModeRead));
    const bits = staging.getMappedRange().slice(0);
    for (const b of [found, words, staging]) b.destroy();
    const [apart, largest] = new Float32Array(bits) as unknown as [number, number];
    if (new Uint32Array(bits)[2] !== 0) return Number.POSITIVE_INFINITY;
    return apart === 0 ? 0 : apart / largest;
  }

  private pipeline(body: keyof typeof bodies): GPUComputePipeline {
    const known = this.pipelines.get(body);
    if (known) return known;
    const { device } = this.gpu;
    const module = device.createShaderModule({ label: "compare", code: shader(bodies[body]) });
    const pipeline = device.createComputePipeline({
      label: "compare",
      layout: "auto",
      compute: { module, entryPoint: "main" },
    });
    this.pipelines.set(body, pipeline);
    return pipeline;
  }
}
