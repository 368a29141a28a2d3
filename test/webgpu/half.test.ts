/** f16 tensors: valid WGSL where the adapter has the type, one clear error where it has not. */
import { expect, test } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { makeGraph, ops, UnsupportedError } from "../../compiler/index.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";

function halfGraph() {
  const x = ops.input("x", "f16", [
    { name: "m", size: 24 },
    { name: "k", size: 16 },
  ]);
  const w = ops.input("w", "f16", [
    { name: "n", size: 12 },
    { name: "k", size: 16 },
  ]);
  return makeGraph("half", [{ name: "y", node: ops.softmax(ops.contract(x, w, ["k"]), "n") }]);
}

test("f16 kernels are valid on a device with the type", async () => {
  const device = await validatingDevice();
  expect(device.features.has("shader-f16")).toBe(true);
  const executable = await webgpuBackend(device).compile(halfGraph());
  expect(executable.program().kernels.every((k) => k.kernel.buffers.every((b) => b.dtype === "f16"))).toBe(true);
  device.check();
});

gpuTest("f16 is refused by name on a device without it", async ({ gpu }) => {
  if (gpu.features.has("shader-f16")) return;
  const compiling = webgpuBackend(gpu).compile(halfGraph());
  await expect(compiling).rejects.toThrow(UnsupportedError);
  await expect(compiling).rejects.toThrow(/has no f16 .* kernel "contract"/);
});
