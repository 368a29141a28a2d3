/** Exports: a model as an ONNX file, or as text. */
import { type ExportOptions, encodeOnnx, exportOnnx as exportGraph } from "../backends/onnx/index.ts";
import { inputName, printGraph } from "../compiler/index.ts";
import type { Config } from "../dsl/index.ts";
import { graphOf, type Modelled, type ModelledOptions, modelledOptions, modelOf } from "./modelled.ts";
import { kinds, type OptionTable, oneOf, requireOptions } from "./options.ts";
import { openParameters, type WeightsFrom, weightsKind } from "./weights.ts";

/** What an ONNX file is made of, and how. */
export interface OnnxOptions<C extends Config = Config> extends ModelledOptions<C> {
  readonly weights?: WeightsFrom;
  /** What weights are stored as; with "f16", most of the work is done in f16 too. Default "f32". */
  readonly dtype?: "f32" | "f16" | "int8" | "int4";
  /** The version of ONNX's operators. */
  readonly opset?: number;
  /** The type of inputs that are ids. Default "int32". */
  readonly ids?: "int32" | "int64";
}

const onnxOptions: OptionTable<OnnxOptions> = {
  ...modelledOptions,
  weights: weightsKind,
  dtype: oneOf(["f32", "f16", "int8", "int4"]),
  opset: kinds.number,
  ids: oneOf(["int32", "int64"]),
};

/**
 * A model as the bytes of one ONNX file, its weights inside. Open sizes stay open. Throws UnsupportedError naming every op
 * that the opset cannot say, and above the 2 GiB of one file: `heddle export` writes larger ones.
 */
export async function exportOnnx<C extends Config>(what: Modelled<C>, given: OnnxOptions<C> = {}): Promise<Uint8Array> {
  requireOptions<OnnxOptions>("exportOnnx", given, onnxOptions);
  const { weights = new Map(), dtype = "f32", opset, ids = "int32", ...options } = given;
  const graph = graphOf(what, options);
  const asked: ExportOptions = { dtype, ids, ...(opset !== undefined && { opset }) };
  const model = exportGraph(graph, asked);
  const parameters = await openParameters(weights, graph, modelOf(what));
  try {
    const read = new Map<string, Uint8Array>();
    for (const { parameter } of model.stored) {
      const name = inputName(parameter);
      if (!read.has(name)) read.set(name, await floatBytes(() => parameters.read(name)));
    }
    return await encodeOnnx(model, (node) => ({ dtype: "f32" as const, chunks: [read.get(inputName(node))!] }));
  } finally {
    await parameters.dispose();
  }
}

async function floatBytes(read: () => Promise<{ readonly data: ArrayLike<number> }>): Promise<Uint8Array> {
  const { data } = await read();
  const floats = data instanceof Float32Array ? data : Float32Array.from(data);
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
}

/** A model's graph as text, as `heddle inspect` prints it: inputs with their axes, one line an op, outputs. */
export function inspect<C extends Config>(what: Modelled<C>, options: ModelledOptions<C> = {}): string {
  requireOptions<ModelledOptions>("inspect", options, modelledOptions);
  return printGraph(graphOf(what, options));
}
