/** ONNX owns how a graph is written as an ONNX model: operators and layouts, the protobuf encoding, the file with its external data. */
export { type ExportOptions, exportOnnx, type OnnxExport, opsets } from "./emit/export.ts";
export type { BoundInput, StoredPart, StoredTensor } from "./emit/placement.ts";
export { encodeOnnx, weightBytes } from "./encode.ts";
export { type WriteOptions, type WrittenModel, writeOnnx } from "./node-file.ts";
export { printOnnx } from "./print.ts";
export { decodeModel, type ModelProto } from "./wire/proto.ts";
export { storedValue, type WeightChunks, type WeightSource } from "./wire/weights.ts";
