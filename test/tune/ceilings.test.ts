/** What an adapter can do at most: measured where it can be, and only where the kernels computed what they should. */
import { describe, expect, test } from "vitest";
import { measureCeilings } from "../../backends/webgpu/index.ts";
import { matrixShader, scalarShader, shapeOf } from "../../backends/webgpu/tune/ceilings.ts";
import { kernelIr } from "../../compiler/index.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";

gpuTest("an adapter's ceilings are measured, and what it lacks is told", async ({ gpu }) => {
  const { ceilings, missing } = await measureCeilings(gpu);
  for (const name of ["copy", "f32", "product", "dispatch", "submission"] as const) {
    expect(ceilings[name]).toBeGreaterThan(0);
    expect(ceilings[name]).toBeLessThan(Number.POSITIVE_INFINITY);
  }
  expect("f16" in ceilings).toBe(gpu.features.has("shader-f16"));
  expect("f16" in missing).toBe(!gpu.features.has("shader-f16"));
  if (gpu.adapter.subgroupMatrices.length === 0)
    for (const name of ["matrices", "matrixProduct"] as const)
      expect(missing[name]).toBe("the adapter exposes no matrix units through WebGPU");
});

describe("the kernels for what this machine may lack are valid WGSL", () => {
  const amount = { groups: 16, steps: 8 };
  const shapes = Object.entries(kernelIr.recordedAdapters)
    .filter(([, { facts }]) => facts.matrices.length > 0)
    .map(([name, { facts }]) => [name, shapeOf(facts.matrices)] as const);

  test("halves", async () => {
    for (const sums of [{ chains: 8, width: 4 } as const, { chains: 16, width: 1 } as const])
      await expect(messages(scalarShader("f16", sums, amount))).resolves.toEqual([]);
  });

  test.each(shapes)("matrices of %s", async (_, shape) => {
    expect(shape).toBeDefined();
    await expect(messages(matrixShader(shape!, 32, false, amount))).resolves.toEqual([]);
    await expect(messages(matrixShader(shape!, 32, true, amount))).resolves.toEqual([]);
  });

  test("and a mistake in one is told", async () => {
    const code = scalarShader("f16", { chains: 8, width: 4 }, amount).replace("enable f16;", "");
    expect((await messages(code)).join()).toContain("f16");
  });
});

/** What Dawn says of a module. */
async function messages(code: string): Promise<string[]> {
  const { device } = await validatingDevice();
  device.pushErrorScope("validation");
  const info = await device.createShaderModule({ code }).getCompilationInfo();
  await device.popErrorScope();
  return info.messages.filter((m) => m.type === "error").map((m) => m.message);
}

test("sums in f32 come before sums in f16", () => {
  const shape = (result: "f32" | "f16", m: number) => ({ m, n: 8, k: 8, operands: "f16", result }) as const;
  expect(shapeOf([shape("f16", 1), shape("f32", 2), shape("f32", 3)])?.m).toBe(2);
  expect(shapeOf([shape("f16", 1)])?.m).toBe(1);
  expect(shapeOf([])).toBeUndefined();
});
