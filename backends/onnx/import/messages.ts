/** The messages of an ONNX file that an import reads, by their field numbers in onnx.proto. */
import { FileError } from "../../../compiler/index.ts";
import { type MessageSpec, readMessage } from "./wire.ts";

export interface Entry {
  readonly key: string;
  readonly value: string;
}

export interface TensorMessage {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly floatData: readonly number[];
  readonly int32Data: readonly number[];
  readonly int64Data: readonly number[];
  readonly doubleData: readonly number[];
  readonly uint64Data: readonly number[];
  readonly stringData: readonly Uint8Array[];
  readonly rawData?: Uint8Array;
  readonly externalData: readonly Entry[];
  readonly dataLocation: number;
}

export interface Attribute {
  readonly name: string;
  /** The attribute of the function around it that it stands for. */
  readonly refAttrName: string;
  readonly type: number;
  readonly f?: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly t?: TensorMessage;
  readonly g?: GraphMessage;
  readonly floats: readonly number[];
  readonly ints: readonly number[];
  readonly strings: readonly Uint8Array[];
}

export interface NodeMessage {
  readonly name: string;
  readonly opType: string;
  readonly domain: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly Attribute[];
}

export interface DimMessage {
  readonly dimValue?: number;
  readonly dimParam: string;
  readonly denotation: string;
}

export interface ValueInfo {
  readonly name: string;
  readonly type?: {
    readonly tensorType?: { readonly elemType: number; readonly shape?: { readonly dim: readonly DimMessage[] } };
  };
}

export interface GraphMessage {
  readonly name: string;
  readonly node: readonly NodeMessage[];
  readonly initializer: readonly TensorMessage[];
  readonly sparseInitializer: readonly unknown[];
  readonly input: readonly ValueInfo[];
  readonly output: readonly ValueInfo[];
  readonly valueInfo: readonly ValueInfo[];
}

export interface OperatorSet {
  readonly domain: string;
  readonly version: number;
}

export interface FunctionMessage {
  readonly name: string;
  readonly domain: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attributeProto: readonly Attribute[];
  readonly node: readonly NodeMessage[];
  readonly opsetImport: readonly OperatorSet[];
}

export interface ModelMessage {
  readonly irVersion: number;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly opsetImport: readonly OperatorSet[];
  readonly graph: GraphMessage;
  readonly functions: readonly FunctionMessage[];
}

const operatorSet: MessageSpec = { 1: ["domain", "text"], 2: ["version", "int"] };
const entry: MessageSpec = { 1: ["key", "text"], 2: ["value", "text"] };
const tensor: MessageSpec = {
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
};
const dim: MessageSpec = { 1: ["dimValue", "int?"], 2: ["dimParam", "text"], 3: ["denotation", "text"] };
const shape: MessageSpec = { 1: ["dim", [dim]] };
const tensorType: MessageSpec = { 1: ["elemType", "int"], 2: ["shape", shape] };
const type: MessageSpec = { 1: ["tensorType", tensorType] };
const valueInfo: MessageSpec = { 1: ["name", "text"], 2: ["type", type] };
const attribute: MessageSpec = {
  1: ["name", "text"],
  2: ["f", "float?"],
  3: ["i", "int?"],
  4: ["s", "bytes"],
  5: ["t", tensor],
  6: ["g", () => graph],
  7: ["floats", "floats"],
  8: ["ints", "ints"],
  9: ["strings", "bytes*"],
  20: ["type", "int"],
  21: ["refAttrName", "text"],
};
const node: MessageSpec = {
  1: ["input", "text*"],
  2: ["output", "text*"],
  3: ["name", "text"],
  4: ["opType", "text"],
  5: ["attribute", [attribute]],
  7: ["domain", "text"],
};
const graph: MessageSpec = {
  1: ["node", [node]],
  2: ["name", "text"],
  5: ["initializer", [tensor]],
  11: ["input", [valueInfo]],
  12: ["output", [valueInfo]],
  13: ["valueInfo", [valueInfo]],
  15: ["sparseInitializer", "bytes*"],
};
const functionSpec: MessageSpec = {
  1: ["name", "text"],
  4: ["input", "text*"],
  5: ["output", "text*"],
  7: ["node", [node]],
  9: ["opsetImport", [operatorSet]],
  10: ["domain", "text"],
  11: ["attributeProto", [attribute]],
};
const model: MessageSpec = {
  1: ["irVersion", "int"],
  2: ["producerName", "text"],
  3: ["producerVersion", "text"],
  7: ["graph", graph],
  8: ["opsetImport", [operatorSet]],
  25: ["functions", [functionSpec]],
};

/** The model in `bytes`, whose tensors are views of them. Throws FileError where they are none. */
export function readModel(bytes: Uint8Array, name: string): ModelMessage {
  const read = readMessage(bytes, model, name) as unknown as Partial<ModelMessage>;
  if (!read.graph) throw new FileError(`${name} is no ONNX model: it holds no graph`);
  return read as ModelMessage;
}

/** A tensor by itself, as test data are kept. */
export const readTensor = (bytes: Uint8Array, name: string): TensorMessage =>
  readMessage(bytes, tensor, name) as unknown as TensorMessage;
