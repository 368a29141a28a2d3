/** ONNX import: model bytes in, a graph and its weights out; also runs in a browser. */
export { importOnnx } from "./importer.ts";
export { importedOpsets } from "./operators.ts";
export { records } from "./ops/index.ts";
export type { ImportOptions, OnnxImport } from "./options.ts";
export { roundedToBytes } from "./rounding.ts";
export type { ExternalPlace, ExternalReader, ImportedParameter } from "./weights.ts";
