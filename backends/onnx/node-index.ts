/** What of ONNX only Node has: a model as files, written and read. */
export { type WriteOptions, type WrittenModel, writeOnnx } from "./node-file.ts";
export { type OpenOnnxOptions, openOnnx } from "./node-import.ts";
