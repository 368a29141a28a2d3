/** Runs graphs through ONNX and onnxruntime, for comparison with the reference interpreter. */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import type { Backend } from "../../backends/backend.ts";
import { isResident } from "../../backends/feeds.ts";
import { type ExportOptions, encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";
import { evaluate } from "../../backends/reference/index.ts";
import {
  bindSizes,
  type DType,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  type SizedAxis,
  type Sizes,
} from "../../compiler/index.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;
const ortTypes = { f32: "float32", f16: "float16", i32: "int32", u32: "uint32", bool: "bool" } as const;

/** A host tensor of the graph input's type with the values given. */
export const tensorFor = (dtype: DType, axes: readonly SizedAxis[], values: ArrayLike<number>): HostTensor =>
  hostTensor(dtype, axes, Array.from(values));

/** Exports with parameters stored and runs the bytes, as any other program would. */
export async function throughOnnx(
  graph: Graph,
  values: ReadonlyMap<string, Float64Array>,
  options: ExportOptions = {},
  sizes: Sizes = {},
): Promise<Map<string, ArrayLike<number>>> {
  const model = exportOnnx(graph, options);
  const bound = bindSizes(graph, sizes);
  const typed = new Map(
    bound.inputs.map((n) => [
      inputName(n),
      tensorFor(n.type.dtype, n.type.axes as SizedAxis[], values.get(inputName(n))!),
    ]),
  );
  const bytes = await encodeOnnx(model, (p) => typed.get(inputName(p)));
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const stored = new Set(model.stored.map((t) => inputName(t.parameter)));
  const feeds = Object.fromEntries(
    [...typed]
      .filter(([name]) => !stored.has(name) && session.inputNames.includes(name))
      .map(([name, t]) => [
        name,
        new ort.Tensor(
          ortTypes[t.dtype] as "float32",
          t.data as Float32Array,
          t.axes.map((a) => a.size),
        ),
      ]),
  );
  const made = await session.run(feeds);
  await session.release();
  return new Map(graph.outputs.map((o) => [o.name, made[model.outputs[o.name]!]!.data as Float32Array]));
}

/** What the interpreter says of the same values. */
export const reference = (graph: Graph, values: ReadonlyMap<string, Float64Array>, sizes: Sizes = {}) =>
  new Map([...evaluate(bindSizes(graph, sizes), values)].map(([name, t]) => [name, t.data]));

/** Runs a graph on the cpu device, everything that a store keeps written to one. */
export async function throughCpu(
  backend: Backend,
  graph: Graph,
  values: ReadonlyMap<string, Float64Array>,
  sizes: Sizes = {},
): Promise<Map<string, ArrayLike<number>>> {
  const executable = await backend.compile(graph);
  const store = backend.createStore();
  const feeds: Record<string, HostTensor> = {};
  for (const n of bindSizes(graph, sizes).inputs) {
    const value = tensorFor(n.type.dtype, n.type.axes as SizedAxis[], values.get(inputName(n))!);
    if (isResident(n)) await store.write(inputName(n), value);
    else feeds[inputName(n)] = value;
  }
  const made = await executable.run(feeds, store);
  executable.dispose();
  store.dispose();
  return new Map(Object.entries(made).map(([name, t]) => [name, t.data as Float32Array]));
}
