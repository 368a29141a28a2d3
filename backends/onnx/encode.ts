/** An export as the bytes of one model, its weights inside. */
import { UnsupportedError } from "../../compiler/index.ts";
import type { OnnxExport } from "./emit/export.ts";
import { wireCodes } from "./wire/elements.ts";
import { encodeModel, type ModelProto, protobufLimit, type TensorProto } from "./wire/proto.ts";
import { concatBytes, storedBytes, storedSize, type WeightSource } from "./wire/weights.ts";

/** Bytes of all weights that a model stores. */
export const weightBytes = (model: OnnxExport): number => model.stored.reduce((n, t) => n + storedSize(t), 0);

/** The model with its stored tensors described as `describe` says. */
export const withStored = (model: OnnxExport, tensors: readonly TensorProto[]): ModelProto => ({
  ...model.model,
  graph: { ...model.model.graph, initializer: [...tensors, ...(model.model.graph?.initializer ?? [])] },
});

/**
 * The bytes of a model with its weights in it. Throws UnsupportedError above protobuf's limit of 2 GiB (write a file with
 * external data instead), UsageError for a missing weight.
 */
export async function encodeOnnx(model: OnnxExport, weights: WeightSource = () => undefined): Promise<Uint8Array> {
  const size = weightBytes(model);
  if (size > protobufLimit) {
    throw new UnsupportedError(
      `graph @${model.graph.name} stores ${size} bytes of weights, above the 2 GiB of one ONNX file: write it with external data`,
    );
  }
  const tensors: TensorProto[] = [];
  for (const t of model.stored) {
    const parts: Uint8Array[] = [];
    for await (const part of storedBytes(t, weights)) parts.push(part);
    tensors.push({ name: t.name, dims: [...t.dims], dataType: wireCodes[t.type], rawData: concatBytes(parts) });
  }
  return encodeModel(withStored(model, tensors));
}
