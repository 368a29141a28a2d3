/** ONNX owns how a graph is written as an ONNX model: operators and layouts, the protobuf encoding, the file with its external data. */
export { type ExportOptions, exportOnnx, type OnnxExport, opsets } from "./emit/export.ts";
export type { BoundInput, StoredTensor } from "./emit/placement.ts";
export { encodeOnnx, weightBytes } from "./encode.ts";
export type { WeightChunks, WeightSource } from "./wire/weights.ts";
