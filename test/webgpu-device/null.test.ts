import { describe, expect, test } from "vitest";
import { validatingDevice } from "../support/adapter.ts";

const matrices = `
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(128) fn main() {
  subgroupMatrixStore<row_major>(&out, 0u, subgroup_matrix_result<f32, 16, 16>(1.0), 16u);
}`;

describe("the validating device", () => {
  test("accepts tensor-core kernels, which no software adapter does", async () => {
    const gpu = await validatingDevice();
    expect([...gpu.features]).toEqual(expect.arrayContaining(["shader-f16", "chromium-experimental-subgroup-matrix"]));
    const module = gpu.device.createShaderModule({ code: matrices });
    const info = await gpu.settle(module.getCompilationInfo());
    expect(info.messages.filter((message) => message.type === "error")).toEqual([]);
  });

  test("refuses a kernel with a mistake", async () => {
    const gpu = await validatingDevice();
    gpu.device.pushErrorScope("validation");
    gpu.device.createShaderModule({ code: "@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }" });
    const error = await gpu.settle(gpu.device.popErrorScope());
    expect(error?.message).toContain("cannot");
  });
});
