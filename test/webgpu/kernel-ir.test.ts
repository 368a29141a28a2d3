/** Kernels written by hand, on the software adapter against the interpreter at the adapter's subgroup size. */
import { describe, expect } from "vitest";
import { emitWgsl, factsOf } from "../../backends/webgpu/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import { type Kernel, kernelIr, parseKernel } from "../../compiler/index.ts";
import { shuffleReduce, softmax } from "../kernels/hand-written.ts";
import { gpuTest } from "../support/adapter.ts";

/** Every f32 buffer of a kernel after its run on a device. */
async function dispatch(gpu: GpuDevice, kernel: Kernel, buffers: readonly Float32Array[], sizes: readonly number[]) {
  const { device } = gpu;
  const module = device.createShaderModule({ code: emitWgsl(kernel, { subgroupSizes: gpu.adapter.subgroupSize }) });
  // A size may be read by the grid alone: the layout has it all the same.
  const types = [
    ...kernel.buffers.map((b) => (b.access === "read" ? "read-only-storage" : "storage") as GPUBufferBindingType),
    ...(sizes.length > 0 ? ["uniform" as const] : []),
  ];
  const layout = device.createBindGroupLayout({
    entries: types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
  });
  const pipeline = device.createComputePipeline({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module },
  });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ, UNIFORM } = GPUBufferUsage;
  const upload = (data: ArrayBufferView<ArrayBuffer>, usage: number) => {
    const buffer = device.createBuffer({ size: data.byteLength, usage: usage | COPY_DST });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const bound = buffers.map((b) => upload(b as Float32Array<ArrayBuffer>, STORAGE | COPY_SRC));
  const uniform = sizes.length > 0 ? [upload(Int32Array.of(...sizes, 0, 0, 0).slice(0, 4), UNIFORM)] : [];
  const entries = [...bound, ...uniform].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
  const named = Object.fromEntries(kernel.sizes.map((name, i) => [name, sizes[i]!]));
  const grid = kernel.grid.map((g) => kernelIr.evaluateIndex(g, named));
  pass.dispatchWorkgroups(grid[0]!, grid[1], grid[2]);
  pass.end();
  const readable = buffers.map((b) => device.createBuffer({ size: b.byteLength, usage: MAP_READ | COPY_DST }));
  for (const [i, b] of bound.entries()) encoder.copyBufferToBuffer(b, 0, readable[i]!, 0, buffers[i]!.byteLength);
  device.queue.submit([encoder.finish()]);
  const results = [];
  for (const r of readable) {
    await gpu.settle(r.mapAsync(GPUMapMode.READ));
    results.push(new Float32Array(r.getMappedRange().slice(0)));
  }
  for (const b of [...bound, ...uniform, ...readable]) b.destroy();
  return results;
}

const vectors = `kernel elementwise "vectors"
  b0: read f32[64] by 4
  b1: read_write f32[64] by 4
  b2: read_write f32[64] by 2
  workgroup shared: f32[64] by 4
  private own: f32[8] by 2
  workgroup [16, 1, 1] grid [1, 1, 1]
{
  let v: f32x4 = b0[lid]
  var w: f32x4 = @gelu(v) * f32x4(2:f32) + max(v, f32x4(v.w, v.z, v.y, v.x))
  for k in 0 .. 3 {
    w = (k < 1) ? w : w - v / f32x4(3:f32)
    own[k] = f32x2(w.x, f32(k))
  }
  shared[lid] = w
  barrier
  b1[lid] = shared[(lid + 5) % 16]
  b2[2 * lid] = own[2]
  b2[2 * lid + 1] = f32x2(f32(i32(w.y)), f32(lid / 3 - lid % 3))
}
`;

const cases = [
  ["softmax", softmax(77, 0.125), [5 * 77, 5 * 77], [5]],
  ["a reduction by shuffles", shuffleReduce(3), [192, 3, 192], []],
  ["vectors in registers and memory", vectors, [64, 64, 64], []],
] as const;

describe("a kernel written by hand computes the same on the device", () => {
  gpuTest.for(cases)("%s", async ([, text, lengths, sizes], { gpu }) => {
    const kernel = parseKernel(text);
    expect(kernelIr.checkFeasible(kernel, factsOf(gpu))).toEqual([]);
    const inputs = lengths.map((n, b) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 7.3 + b) * 2));
    const got = await dispatch(gpu, kernel, inputs, sizes);
    const want = Object.fromEntries(inputs.map((v, i) => [`b${i}`, Float64Array.from(v)]));
    const named = Object.fromEntries(kernel.sizes.map((name, i) => [name, sizes[i]!]));
    kernelIr.interpretKernel(kernel, want, named, { subgroupSize: gpu.adapter.subgroupSize.max });
    for (const [b, values] of got.entries())
      for (const [i, value] of values.entries()) {
        const expected = want[`b${b}`]![i]!;
        expect(Math.abs(value - expected), `b${b}[${i}] is ${value}, not ${expected}`).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(expected)),
        );
      }
  });
});
