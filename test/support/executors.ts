/** All executors of graphs, by name, behind a common function, for tests that require them to agree. */
import { evaluate } from "../../backends/reference/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import type { Graph } from "../../compiler/index.ts";
import { adapters, compileFor, interpretProgram } from "../kernels/support.ts";
import { throughOnnx } from "../onnx/support.ts";
import { runOn } from "../webgpu/support.ts";

/**
 * reference: the float64 interpreter of graphs. kernels: the interpreter of compiled kernels.
 * webgpu: those kernels on the software adapter. onnxruntime: the exported graph on its CPU provider.
 */
export const executorNames = ["reference", "kernels", "webgpu", "onnxruntime"] as const;
export type ExecutorName = (typeof executorNames)[number];

type Values = ReadonlyMap<string, Float64Array>;
type Results = ReadonlyMap<string, ArrayLike<number>>;

/** Values of the outputs by name. */
export async function execute(name: ExecutorName, gpu: GpuDevice, graph: Graph, values: Values): Promise<Results> {
  if (name === "reference") return new Map([...evaluate(graph, values)].map(([n, t]) => [n, t.data]));
  if (name === "kernels") return interpretProgram(compileFor(graph, adapters.gpu!), values);
  if (name === "onnxruntime") return throughOnnx(graph, values);
  return new Map(Object.entries(await runOn(gpu, graph, values)).map(([n, t]) => [n, t.data as Float32Array]));
}
