/** Exports: a model as an ONNX file, or as text. */
import { type ExportOptions, encodeOnnx, exportOnnx as exportGraph } from "../backends/onnx/index.ts";
import { inputName, type Node, printGraph } from "../compiler/index.ts";
import type { Config } from "../dsl/index.ts";
import { sizedByWeights } from "./config-beside.ts";
import { graphOf, type Modelled, type ModelledOptions, modelledOptions, modelOf } from "./modelled.ts";
import { kinds, type OptionTable, oneOf, requireOptions } from "./options.ts";
import { type OpenParameters, openParameters, type WeightsFrom, weightsKind } from "./weights.ts";

/** Options of `exportOnnx`. */
export interface OnnxOptions<C extends Config = Config> extends ModelledOptions<C> {
  readonly weights?: WeightsFrom;
  /** Storage type of the weights; with "f16", most computation is in f16 too. Default "f32". */
  readonly dtype?: "f32" | "f16" | "int8" | "int4";
  /** "int8", with int8 weights: activations are dynamically quantized too. Default "float". */
  readonly activations?: "float" | "int8";
  /** The ONNX opset version. */
  readonly opset?: number;
  /** The type of id inputs. Default "int32". */
  readonly ids?: "int32" | "int64";
}

const onnxOptions: OptionTable<OnnxOptions> = {
  ...modelledOptions,
  weights: weightsKind,
  dtype: oneOf(["f32", "f16", "int8", "int4"]),
  activations: oneOf(["float", "int8"]),
  opset: kinds.number,
  ids: oneOf(["int32", "int64"]),
};

/**
 * A model as the bytes of one ONNX file, weights included. Symbolic sizes stay dynamic. Throws UnsupportedError naming
 * every op that the opset cannot express, and above the 2 GiB limit of one file: `heddle export` writes larger models.
 */
export async function exportOnnx<C extends Config>(what: Modelled<C>, given: OnnxOptions<C> = {}): Promise<Uint8Array> {
  requireOptions<OnnxOptions>("exportOnnx", given, onnxOptions);
  const { weights = new Map(), dtype = "f32", activations = "float", opset, ids = "int32", ...options } = given;
  const graph = graphOf(await sizedByWeights(what, weights), options);
  const asked: ExportOptions = { dtype, activations, ids, ...(opset !== undefined && { opset }) };
  const model = exportGraph(graph, asked);
  const parameters = await openParameters(weights, graph, modelOf(what));
  try {
    const source = (node: Node) => ({ dtype: "f32" as const, chunks: floatBytes(parameters, inputName(node)) });
    return await encodeOnnx(model, source);
  } finally {
    await parameters.dispose();
  }
}

/** A parameter as the ONNX writer takes it; read lazily, so that only one at a time is in memory as floats. */
async function* floatBytes(parameters: OpenParameters, name: string): AsyncGenerator<Uint8Array> {
  const { data } = await parameters.read(name);
  const floats = data instanceof Float32Array ? data : Float32Array.from(data);
  yield new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
}

/** A model's graph as text, as `heddle inspect` prints it: inputs with their axes, one line per op, outputs. */
export function inspect<C extends Config>(what: Modelled<C>, options: ModelledOptions<C> = {}): string {
  requireOptions<ModelledOptions>("inspect", options, modelledOptions);
  return printGraph(graphOf(what, options));
}
