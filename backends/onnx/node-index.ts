/** Node-only ONNX entry point: reading and writing model files. */
export { type WriteOptions, type WrittenModel, writeOnnx } from "./node-file.ts";
export { type OpenOnnxOptions, openOnnx } from "./node-import.ts";
