/**
 * Small files with operators of onnxruntime's own: what onnxruntime computes of one, and what is computed of its
 * import.
 */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { type ImportOptions, importOnnx } from "../../../backends/onnx/import/index.ts";
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { inputName } from "../../../compiler/index.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;

/** The file of a graph, with onnxruntime's operators beside ONNX's. */
export const fileOf = (graph: object, opset = 17): Uint8Array =>
  encodeModel({
    irVersion: 8,
    opsetImport: [
      { domain: "", version: opset },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: { name: "g", ...graph },
  } as unknown as ModelProto);

/** An input's dimensions and elements. */
export interface Fed {
  readonly type: "float32" | "int32" | "int64";
  readonly dims: readonly number[];
  readonly values: ArrayLike<number>;
}

const tensorOf = ({ type, dims, values }: Fed): Ort.Tensor => {
  if (type === "float32") return new ort.Tensor(type, Float32Array.from(values), dims);
  if (type === "int32") return new ort.Tensor(type, Int32Array.from(values), dims);
  return new ort.Tensor(type, BigInt64Array.from(Array.from(values, BigInt)), dims);
};

/** The outputs of both, by name; inputs that an import option makes constant are fed to onnxruntime alone. */
export async function computedTwice(
  bytes: Uint8Array,
  given: Readonly<Record<string, Fed>>,
  options: ImportOptions = {},
) {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const want = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, tensorOf(given[name]!)])));
  await session.release();
  const { graph, parameters } = await importOnnx(bytes, options);
  const feeds = new Map<string, Float64Array>();
  for (const [name, { read }] of parameters) feeds.set(name, Float64Array.from((await read()).data));
  for (const name of graph.inputs.map(inputName).filter((n) => !feeds.has(n)))
    feeds.set(name, Float64Array.from(given[name]!.values));
  const made = evaluate(graph, feeds);
  return Object.entries(want).map(([name, tensor]) => ({
    name,
    want: Array.from(tensor.data as Float32Array, Number),
    made: Array.from(made.get(name)!.data),
    axes: made.get(name)!.type.axes,
  }));
}
