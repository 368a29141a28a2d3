/** heddle's forward passes: a transformer block, and a matrix product. */
import { type WebgpuExecutable, webgpuBackend } from "../../backends/webgpu/index.ts";
import { tunedOptions } from "../../cli/index.ts";
import { type Graph, type HostTensor, hostTensor, makeGraph, type SizedAxis } from "../../compiler/index.ts";
import { axis, contract, input, trace } from "../../dsl/index.ts";
import { openDevice } from "../device.ts";
import { drawWeights, normals } from "../model/values.ts";
import { type BlockConfig, blockModel } from "../model/vit.ts";
import type { Subject } from "../subject.ts";
import { kernelFigures } from "./kernels.ts";

export const block = (c: BlockConfig): Promise<Subject> => forward(() => trace(blockModel(c)));

/** [size, size] times [size, size] */
export const matmul = (size: number): Promise<Subject> => forward(() => matmulGraph(size));

export function matmulGraph(size: number): Graph {
  const [row, inner, column] = [axis("row", size), axis("inner", size), axis("column", size)];
  const y = contract(input("a", "f32", [row, inner]), input("b", "f32", [inner, column]), inner);
  return makeGraph("matmul", [{ name: "y", node: y }]);
}

/** A graph of weights and inputs, all inputs standard normal and named as for the peers, with one output "y". */
async function forward(build: () => Graph): Promise<Subject> {
  const gpu = await openDevice();
  const backend = webgpuBackend(gpu, await tunedOptions(gpu));
  const store = backend.createStore();
  const { inputs } = build();
  const weights = drawWeights(inputs.filter((n) => n.op === "parameter"));
  const feeds: Record<string, HostTensor> = {};
  for (const { attrs, type } of inputs.filter((n) => n.op === "input")) {
    const axes = type.axes as readonly SizedAxis[];
    const count = axes.reduce((n, a) => n * a.size, 1);
    feeds[String(attrs.name)] = hostTensor("f32", axes, normals(String(attrs.name), count));
  }
  let executable: WebgpuExecutable;
  return {
    gpu,
    build: async () => {
      executable = await backend.compile(build());
      for (const [name, value] of weights) await store.write(name, value);
      return async () => (await executable.run(feeds, store)).y!.data as Float32Array;
    },
    profile: () => kernelFigures(executable, feeds, store),
  };
}
