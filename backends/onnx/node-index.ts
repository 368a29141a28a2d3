/** What of ONNX only Node has: writing a model as files. */
export { type WriteOptions, type WrittenModel, writeOnnx } from "./node-file.ts";
