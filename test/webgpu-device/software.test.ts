import { afterEach, describe, expect, vi } from "vitest";
import { listAdapters } from "../../backends/webgpu/runtime/adapter.ts";
import { gpuTest as test } from "../support/adapter.ts";

const doubled = `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3u) {
  if (at.x < arrayLength(&y)) { y[at.x] = 2.0 * x[at.x]; }
}`;

describe("the software adapter", () => {
  afterEach(() => void vi.unstubAllEnvs());

  test("runs a kernel", async ({ gpu }) => {
    const { device } = gpu;
    const input = Float32Array.from({ length: 1000 }, (_, i) => i / 4);
    const x = device.createBuffer({ size: input.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    const y = device.createBuffer({ size: input.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
    const back = device.createBuffer({
      size: input.byteLength,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(x, 0, input);
    const module = device.createShaderModule({ code: doubled });
    const pipeline = await gpu.settle(device.createComputePipelineAsync({ layout: "auto", compute: { module } }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [
          { binding: 0, resource: { buffer: x } },
          { binding: 1, resource: { buffer: y } },
        ],
      }),
    );
    pass.dispatchWorkgroups(Math.ceil(input.length / 64));
    pass.end();
    encoder.copyBufferToBuffer(y, 0, back, 0, input.byteLength);
    device.queue.submit([encoder.finish()]);
    await gpu.settle(back.mapAsync(GPUMapMode.READ));
    expect(new Float32Array(back.getMappedRange().slice(0))).toEqual(input.map((v) => 2 * v));
    for (const buffer of [x, y, back]) buffer.destroy();
  });

  test("says that it is software, and why it was taken", ({ gpu }) => {
    expect(gpu.adapter.software).toBe(true);
    expect(gpu.adapter.description).not.toBe("");
    expect(gpu.reason).toMatch(/was requested$/);
  });

  test("is opened with its own limits and features, not with WebGPU's defaults", ({ gpu }) => {
    expect(gpu.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
    expect(gpu.limits.maxComputeWorkgroupStorageSize).toBeGreaterThan(16384);
    expect(gpu.limits.maxStorageBuffersPerShaderStage).toBeGreaterThan(8);
    expect(gpu.features.has("subgroups")).toBe(true);
    expect(gpu.adapter.subgroupSize.max).toBeGreaterThanOrEqual(4);
  });

  test("is listed once", async ({ gpu }) => {
    const listed = await listAdapters();
    expect(listed.filter((adapter) => adapter.description === gpu.adapter.description)).toHaveLength(1);
    expect(listed.map((adapter) => adapter.software)).toEqual(listed.map((a) => a.software).toSorted());
  });

  test("is the only one listed if it is selected, and never by another's name", async ({ gpu }) => {
    vi.stubEnv("HEDDLE_ADAPTER", "swiftshader");
    for (const { source } of await listAdapters()) expect(source).toBe("swiftshader");
    vi.stubEnv("HEDDLE_ADAPTER", "lavapipe");
    const listed = await listAdapters().catch((error: Error) => error.message);
    if (typeof listed === "string") expect(listed).toContain("lavapipe: ");
    else expect(listed.map(({ source }) => source)).toEqual(["lavapipe"]);
    vi.stubEnv("HEDDLE_ADAPTER", gpu.adapter.description);
    await expect(listAdapters()).rejects.toThrow("expected one of system, swiftshader, lavapipe");
  });
});
