/** Fused kernels on a real device against the reference: every op, and random graphs at odd sizes. */
import fc from "fast-check";
import { describe, expect, vi } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { build, hostTensor, makeGraph, opRecords, ops, symbol } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";
import { graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";
import { asHardware, mistakes } from "./support.ts";

const records = opRecords().filter((r) => r.kind !== "source");

describe.each(["software", "hardware"])("with the schedules of %s", (family) => {
  gpuTest.for(records)("$name computes what the reference does", async (record, { gpu }) => {
    const device = family === "software" ? gpu : asHardware(gpu);
    for (const c of record.cases) {
      const inputs = inputsOf(c);
      const graph = graphOf(record.name, inputs, build(record.name, inputs, c.attrs));
      expect(await mistakes(device, graph, inputMap(operandsOf(record, c, 7)))).toEqual([]);
    }
  });

  gpuTest("random graphs compute what the reference does", async ({ gpu }) => {
    const device = family === "software" ? gpu : asHardware(gpu);
    const graphs = graphArbitrary({ sizes: [1, 3, 17, 65, 257] });
    const property = fc.asyncProperty(graphs, fc.nat(1000), async (graph, seed) => {
      expect(await mistakes(device, graph, inputValues(graph, seed))).toEqual([]);
    });
    await fc.assert(property, { numRuns: 40, seed: 7 });
  });
});

gpuTest("backends on one device compile a kernel once", async ({ gpu }) => {
  const compile = vi.spyOn(gpu.device, "createComputePipelineAsync");
  const x = ops.input("x", "f32", [{ name: "a", size: 5 }]);
  const graph = makeGraph("tripled", [{ name: "y", node: ops.mul(x, 3.25) }]);
  const backends = [webgpuBackend(gpu), webgpuBackend(gpu)] as const;
  for (const backend of backends) await backend.compile(graph);
  expect(backends.map((backend) => backend.pipelines())).toEqual([1, 1]);
  expect(compile).toHaveBeenCalledTimes(1);
});

gpuTest("a program whose kernels failed to compile is built again by the next run", async ({ gpu }) => {
  const x = ops.input("x", "f32", [{ name: "a", size: symbol("n") }]);
  const graph = makeGraph("doubled", [{ name: "y", node: ops.mul(x, 2) }]);
  const compile = gpu.device.createComputePipelineAsync.bind(gpu.device);
  let failures = 1;
  const failing = async (descriptor: GPUComputePipelineDescriptor) => {
    if (failures-- > 0) throw new Error("no memory for code");
    return compile(descriptor);
  };
  const device = new Proxy(gpu.device, {
    get(target, name) {
      if (name === "createComputePipelineAsync") return failing;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const backend = webgpuBackend({ ...gpu, device });
  const executable = await backend.compile(graph, { fixed: true });
  const run = () => executable.run({ x: hostTensor("f32", [{ name: "a", size: 2 }], [1, 3]) }, backend.createStore());
  await expect(run()).rejects.toThrow("no memory for code");
  expect([...(await run()).y!.data]).toEqual([2, 6]);
});
