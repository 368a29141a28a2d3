/** Reading ONNX files as graphs: bytes in, a graph and its weights out; it runs in a page as well. */
export { type ImportOptions, importedOpsets, importOnnx, type OnnxImport } from "./importer.ts";
export { records } from "./ops/index.ts";
export { roundedToBytes } from "./rounding.ts";
export type { ExternalPlace, ExternalReader, ImportedParameter } from "./weights.ts";
