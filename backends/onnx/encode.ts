/** Encodes an export as a single model with embedded weights. */
import { UnsupportedError } from "../../compiler/index.ts";
import type { OnnxExport } from "./pipeline.ts";
import { wireCodes } from "./wire/elements.ts";
import { encodeModel, type ModelProto, protobufLimit, type TensorProto } from "./wire/proto.ts";
import { collect, findWeights, partSize, storedParts, type WeightSource } from "./wire/weights.ts";

/** Total bytes of the weights that a model stores. */
export const weightBytes = (model: OnnxExport): number =>
  model.stored.reduce((n, t) => n + t.parts.reduce((k, p) => k + partSize(p), 0), 0);

/** The model with `tensors` added as the initializers of its weights. */
export const withStored = (model: OnnxExport, tensors: readonly TensorProto[]): ModelProto => ({
  ...model.model,
  graph: { ...model.model.graph, initializer: [...tensors, ...(model.model.graph?.initializer ?? [])] },
});

/**
 * The bytes of a model with embedded weights. Throws UnsupportedError above protobuf's limit of 2 GiB (write a file
 * with external data instead), UsageError naming missing weights.
 */
export async function encodeOnnx(model: OnnxExport, weights: WeightSource = () => undefined): Promise<Uint8Array> {
  const size = weightBytes(model);
  if (size > protobufLimit) {
    throw new UnsupportedError(
      `graph @${model.graph.name} stores ${size} bytes of weights, above the limit of 2 GiB for one ONNX file: write it with external data`,
    );
  }
  const tensors: TensorProto[] = [];
  for (const [t, weight] of await findWeights(model.stored, weights)) {
    for await (const [part, pieces] of storedParts(t, weight)) {
      const rawData = await collect(pieces, partSize(part));
      tensors.push({ name: part.name, dims: [...part.dims], dataType: wireCodes[part.type], rawData });
    }
  }
  return encodeModel(withStored(model, tensors));
}
