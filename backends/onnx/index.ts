/** ONNX export and import: operators and layouts, the protobuf encoding, model files with external data. */

export { encodeOnnx, weightBytes } from "./encode.ts";
export type { BoundInput, StoredPart, StoredTensor } from "./forms/stored.ts";
export {
  type ImportedParameter,
  type ImportOptions,
  importedOpsets,
  importOnnx,
  type OnnxImport,
} from "./import/index.ts";
export {
  type Activations,
  activationTypes,
  type Dialect,
  dialects,
  type EmitOptions,
  type ExportOptions,
  exportDtypes,
  opsets,
  settledOptions,
} from "./options.ts";
export { exportOnnx, type OnnxExport, onnxStages } from "./pipeline.ts";
export { printOnnx } from "./print.ts";
export { decodeModel, encodeModel, type ModelProto } from "./wire/proto.ts";
export { storedValue, type WeightChunks, type WeightSource } from "./wire/weights.ts";
