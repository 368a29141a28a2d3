/** Devices that stop no access beyond its memory: what kernels are given of indices and sizes does no harm there. */
import { describe, expect, test } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { emitWgsl, webgpuBackend } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/runtime/adapter.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import { usage } from "../../backends/webgpu/runtime/memory.ts";
import {
  type HostTensor,
  hostTensor,
  makeGraph,
  ops,
  parseKernel,
  type SizedAxis,
  symbol,
  UsageError,
} from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";

/**
 * Runs a WGSL kernel with one thread over 16 bytes in the middle of a buffer of 768: nothing it reaches is not ours.
 */
async function probe(gpu: GpuDevice, code: string): Promise<Uint32Array> {
  const { device } = gpu;
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const make = (size: number, flags: number) => device.createBuffer({ size, usage: flags });
  const buffer = make(768, usage.storage | usage.copyDst | usage.copySrc);
  const staging = make(768, usage.copyDst | usage.mapRead);
  device.queue.writeBuffer(
    buffer,
    0,
    Uint32Array.from({ length: 192 }, (_, i) => i),
  );
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer, offset: 256, size: 16 } }],
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, 768);
  device.queue.submit([encoder.finish()]);
  await gpu.settle(staging.mapAsync(1));
  const result = new Uint32Array(staging.getMappedRange().slice(0));
  for (const b of [buffer, staging]) b.destroy();
  return result;
}

const storing = `@group(0) @binding(0) var<storage, read_write> b: array<u32>;
@compute @workgroup_size(1) fn main() { b[b[0]] = 7777u; }`; // the first element is 64, the index beyond the end

describe("a device", () => {
  gpuTest("that is opened for heddle's kernels does not stop what leaves its memory, and says so", async ({ gpu }) => {
    expect(gpu.robust).toBe(false);
    expect((await probe(gpu, storing))[64 + 64]).toBe(7777);
  });

  gpuTest("that is asked to stop it does", async ({ gpu: _ }) => {
    const gpu = await requestDevice({ prefer: "software", robust: true });
    expect(gpu.robust).toBe(true);
    const memory = await probe(gpu, storing);
    expect(memory[64 + 64]).toBe(128);
    expect(memory.slice(64, 68)).toContain(7777);
    gpu.dispose();
  });

  gpuTest.for([
    ["beyond the end", "b0[0]"],
    ["below 0", "b0[0] - 90"],
  ] as const)("is given kernels that clamp what is not proven: an index %s", async ([, index], { gpu }) => {
    const text = `
kernel elementwise "k"
  b0: read_write i32[4]
  workgroup [1, 1, 1] grid [1, 1, 1]
{
  b0[${index}] = 7777
}`;
    const kernel = parseKernel(text);
    const memory = await probe(gpu, emitWgsl(kernel, { robust: gpu.robust }));
    expect(Array.from(memory.slice(64, 68))).toEqual([64, 65, 66, 7777]);
    expect(memory.filter((v) => v === 7777)).toHaveLength(1);
    expect(emitWgsl(kernel)).not.toContain("min(");
  });
});

test("all kinds of memory are clamped", () => {
  const text = `
kernel elementwise "k"
  sizes $n
  b0: read i32[$n]
  b1: read f16[10]
  b2: read f16[8] by 4
  b3: read_write f32[16]
  workgroup s: f32[8] by 4
  workgroup [4, 1, 1] grid [1, 1, 1]
{
  let i: i32 = b0[lid]
  let v: f32x4 = s[i]
  let h: f32 = f32(b1[i])
  let w: f32x4 = f32x4(b2[i])
  s[i] = w
  b3[i] = h + v.x
}`;
  const wgsl = emitWgsl(parseKernel(text), { robust: false });
  expect(wgsl).toContain("b0[min(u32(lid), arrayLength(&b0) - 1u)]");
  expect(wgsl).toContain("s_[min(u32(i_), 1u)]");
  expect(wgsl).toContain("half(b1[min(u32(i_) >> 1u, 4u)], i_)");
  expect(wgsl).toContain("halves(b2[min(u32(i_), 1u)])");
  expect(wgsl).toContain("b3[min(u32(i_), 15u)] =");
});

const axis = (name: string, size: number) => ({ name, size });
const wild = [-1, -(2 ** 31), 2 ** 31 - 1, 5, 6, 1_000_000, 0, 3, -7, 123_456_789];

/** Both executors on the same feeds; the reference says what clamping gives. */
async function expectSame(gpu: GpuDevice, graph: ReturnType<typeof makeGraph>, feeds: Record<string, HostTensor>) {
  const [backend, reference] = [webgpuBackend(gpu), referenceBackend()];
  const got = await (await backend.compile(graph)).run(feeds, backend.createStore());
  const want = await (await reference.compile(graph)).run(feeds, reference.createStore());
  for (const [name, { data }] of Object.entries(want)) expect(Array.from(got[name]!.data)).toEqual(Array.from(data));
}

describe("indices that are anything", () => {
  const index = hostTensor("i32", [axis("at", wild.length)], Int32Array.from(wild));
  const table = hostTensor(
    "f32",
    [axis("row", 6), axis("c", 5)],
    Float32Array.from({ length: 30 }, (_, i) => i),
  );

  gpuTest("are gathered from the nearest row", async ({ gpu }) => {
    const t = ops.input("table", "f32", table.axes as SizedAxis[]);
    const i = ops.input("index", "i32", index.axes as SizedAxis[]);
    const rows = ops.gather(t, i, "row");
    const graph = makeGraph("g", [
      { name: "rows", node: rows },
      { name: "twice", node: ops.mul(ops.gather(ops.add(t, 1), i, "row"), 2) },
    ]);
    await expectSame(gpu, graph, { table, index });
  });

  gpuTest("are added to the nearest row", async ({ gpu }) => {
    const updates = hostTensor(
      "f32",
      [axis("at", wild.length), axis("c", 5)],
      Float32Array.from({ length: 50 }, (_, i) => i),
    );
    const i = ops.input("index", "i32", index.axes as SizedAxis[]);
    const u = ops.input("updates", "f32", updates.axes as SizedAxis[]);
    const graph = makeGraph("g", [{ name: "sums", node: ops.scatterAdd(i, u, axis("row", 6)) }]);
    await expectSame(gpu, graph, { updates, index });
  });
});

gpuTest("sizes beyond what is declared are refused before anything is dispatched", async ({ gpu }) => {
  const rows = symbol("rows", { min: 1, max: 8 });
  const x = ops.input("x", "f32", [{ name: "row", size: rows }, axis("c", 3)]);
  const graph = makeGraph("g", [{ name: "y", node: ops.softmax(ops.mul(x, 2), "row") }]);
  const feed = (n: number) => ({
    x: hostTensor("f32", [axis("row", n), axis("c", 3)], new Float32Array(3 * n).fill(1)),
  });
  await expectSame(gpu, graph, feed(8));
  await expectSame(gpu, graph, feed(1));
  const backend = webgpuBackend(gpu);
  const executable = await backend.compile(graph);
  await executable.run(feed(2), backend.createStore());
  const run = executable.run(feed(9), backend.createStore());
  await expect(run).rejects.toThrow(UsageError);
  await expect(run).rejects.toThrow('the size "rows" is 9, but it may be 1 to 8');
});
