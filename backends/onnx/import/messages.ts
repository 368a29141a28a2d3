/** Protobuf message specs that the import reads, by field number in onnx.proto. */
import { FileError } from "../../../compiler/index.ts";
import { type MessageOf, type MessageSpec, readMessage } from "./wire.ts";

const operatorSet = { 1: ["domain", "text"], 2: ["version", "int"] } as const satisfies MessageSpec;
const entry = { 1: ["key", "text"], 2: ["value", "text"] } as const satisfies MessageSpec;
const tensor = {
  1: ["dims", "ints"],
  2: ["dataType", "int"],
  4: ["floatData", "floats"],
  5: ["int32Data", "ints"],
  6: ["stringData", "bytes*"],
  7: ["int64Data", "ints"],
  8: ["name", "text"],
  9: ["rawData", "bytes"],
  10: ["doubleData", "doubles"],
  11: ["uint64Data", "ints"],
  13: ["externalData", [entry]],
  14: ["dataLocation", "int"],
} as const satisfies MessageSpec;
const dim = {
  1: ["dimValue", "int?"],
  2: ["dimParam", "text"],
  3: ["denotation", "text"],
} as const satisfies MessageSpec;
const shape = { 1: ["dim", [dim]] } as const satisfies MessageSpec;
const tensorType = { 1: ["elemType", "int"], 2: ["shape", shape] } as const satisfies MessageSpec;
const type = { 1: ["tensorType", tensorType] } as const satisfies MessageSpec;
const valueInfo = { 1: ["name", "text"], 2: ["type", type] } as const satisfies MessageSpec;
const attribute = {
  1: ["name", "text"],
  2: ["f", "float?"],
  3: ["i", "int?"],
  4: ["s", "bytes"],
  5: ["t", tensor],
  6: ["g", (): MessageSpec => graph],
  7: ["floats", "floats"],
  8: ["ints", "ints"],
  9: ["strings", "bytes*"],
  20: ["type", "int"],
  /** Inside a function: the function's attribute that this one refers to. */
  21: ["refAttrName", "text"],
} as const satisfies MessageSpec;
const node = {
  1: ["input", "text*"],
  2: ["output", "text*"],
  3: ["name", "text"],
  4: ["opType", "text"],
  5: ["attribute", [attribute]],
  7: ["domain", "text"],
  /** Which of several functions of one name. */
  8: ["overload", "text"],
  9: ["metadataProps", [entry]],
} as const satisfies MessageSpec;
const graph = {
  1: ["node", [node]],
  2: ["name", "text"],
  5: ["initializer", [tensor]],
  11: ["input", [valueInfo]],
  12: ["output", [valueInfo]],
  13: ["valueInfo", [valueInfo]],
  15: ["sparseInitializer", "bytes*"],
} as const satisfies MessageSpec;
const functionSpec = {
  1: ["name", "text"],
  4: ["input", "text*"],
  5: ["output", "text*"],
  7: ["node", [node]],
  9: ["opsetImport", [operatorSet]],
  10: ["domain", "text"],
  11: ["attributeProto", [attribute]],
  13: ["overload", "text"],
} as const satisfies MessageSpec;
const model = {
  1: ["irVersion", "int"],
  2: ["producerName", "text"],
  3: ["producerVersion", "text"],
  7: ["graph", graph],
  8: ["opsetImport", [operatorSet]],
  25: ["functions", [functionSpec]],
} as const satisfies MessageSpec;

export type Entry = MessageOf<typeof entry>;
export type TensorMessage = MessageOf<typeof tensor>;
export type DimMessage = MessageOf<typeof dim>;
export type ValueInfo = MessageOf<typeof valueInfo>;

// Graphs contain nodes, nodes attributes, and attributes graphs: TypeScript needs interfaces for the recursion.
export interface Attribute extends MessageOf<typeof attribute> {
  readonly g?: GraphMessage;
}

export interface NodeMessage extends MessageOf<typeof node> {
  readonly attribute: readonly Attribute[];
  /** The opset of its domain that its function imports; undefined for a node of the model itself. */
  readonly opset?: number;
}

export interface GraphMessage extends MessageOf<typeof graph> {
  readonly node: readonly NodeMessage[];
}

export interface FunctionMessage extends MessageOf<typeof functionSpec> {
  readonly attributeProto: readonly Attribute[];
  readonly node: readonly NodeMessage[];
}

export interface ModelMessage extends MessageOf<typeof model> {
  readonly graph: GraphMessage;
  readonly functions: readonly FunctionMessage[];
}

/** Parses a model; tensor data are views of `bytes`. Throws FileError if it is not an ONNX model. */
export function readModel(bytes: Uint8Array, name: string): ModelMessage {
  const read = readMessage(bytes, model, name) as unknown as Partial<ModelMessage>;
  if (!read.graph) throw new FileError(`${name} is not an ONNX model: it has no graph`);
  return read as ModelMessage;
}

/** Parses a single TensorProto, as in test data files. */
export const readTensor = (bytes: Uint8Array, name: string): TensorMessage =>
  readMessage(bytes, tensor, name) as unknown as TensorMessage;
