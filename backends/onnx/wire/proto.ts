/// <reference types="long" preserve="true" />
/**
 * ONNX protobuf messages and their encoding. Schema: onnx-proto (ONNX 1.10), whose fields suffice for every later
 * opset.
 */
import onnxProto from "onnx-proto";
import { FileError } from "../../../compiler/index.ts";

type Wire = (typeof onnxProto)["onnx"];
export type AttributeProto = NonNullable<ConstructorParameters<Wire["AttributeProto"]>[0]>;
export type GraphProto = NonNullable<ConstructorParameters<Wire["GraphProto"]>[0]>;
export type ModelProto = NonNullable<ConstructorParameters<Wire["ModelProto"]>[0]>;
export type NodeProto = NonNullable<ConstructorParameters<Wire["NodeProto"]>[0]>;
export type TensorProto = NonNullable<ConstructorParameters<Wire["TensorProto"]>[0]>;
export type ValueInfoProto = NonNullable<ConstructorParameters<Wire["ValueInfoProto"]>[0]>;

const { ModelProto } = onnxProto.onnx;

/** The largest model file: protobuf's own limit, beyond which weights must be external. */
export const protobufLimit = 2 ** 31 - 1;

/** Encodes a model. */
export const encodeModel = (model: ModelProto): Uint8Array => ModelProto.encode(model).finish();

/** Decodes a model; throws FileError if `bytes` are not an ONNX model. */
export function decodeModel(bytes: Uint8Array, name = "the model"): ModelProto {
  try {
    const model = ModelProto.decode(bytes);
    if (model.graph) return model;
  } catch (cause) {
    throw new FileError(`${name} is not an ONNX model: ${(cause as Error).message}`, { cause });
  }
  throw new FileError(`${name} is not an ONNX model: it has no graph`);
}

/** AttributeProto.type */
export const attributeTypes = { FLOAT: 1, INT: 2, STRING: 3, FLOATS: 6, INTS: 7 } as const;

/** TensorProto.data_location of weights in another file. */
export const externalLocation = 1;

/** The IR version that came with an opset, by onnx/helper.py's VERSION_TABLE. */
export function irVersionOf(opset: number): number {
  const first: readonly (readonly [opset: number, ir: number])[] = [
    [25, 13],
    [24, 12],
    [23, 11],
    [21, 10],
    [19, 9],
  ];
  return first.find(([since]) => opset >= since)?.[1] ?? 8;
}
