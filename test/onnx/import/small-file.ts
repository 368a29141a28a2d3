/** ONNX files of a few nodes, for tests of the importer. */
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";

export type Dims = readonly (number | string)[];
export type NodeSpec = readonly [
  type: string,
  inputs: readonly string[],
  output: string | readonly string[],
  attributes?: Record<string, AttributeValue>,
];
type AttributeValue = number | string | readonly number[];

export const info = (name: string, dims: Dims, elemType = 1) => ({
  name,
  type: {
    tensorType: {
      elemType,
      shape: { dim: dims.map((d) => (typeof d === "number" ? { dimValue: d } : { dimParam: d })) },
    },
  },
});
export function attribute([name, value]: [string, AttributeValue]) {
  if (typeof value === "number") return { name, type: 2, i: value };
  if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
  return { name, type: 7, ints: [...value] };
}
export const floats = (name: string, dims: readonly number[], values?: readonly number[]) => {
  const count = dims.reduce((n, d) => n * d, 1);
  return {
    name,
    dims: [...dims],
    dataType: 1,
    floatData: values ? [...values] : Array.from({ length: count }, (_, i) => i / count - 0.3),
  };
};
export const whole = (name: string, values: readonly number[]) => ({
  name,
  dims: [values.length],
  dataType: 7,
  int64Data: [...values],
});

/** A file of nodes, each as type, operands, result and attributes. */
export function file(
  inputs: Record<string, Dims>,
  initializer: object[],
  nodes: readonly NodeSpec[],
  outputs: Record<string, Dims>,
): Uint8Array {
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: "small",
      input: Object.entries(inputs).map(([n, d]) => info(n, d)),
      output: Object.entries(outputs).map(([n, d]) => info(n, d)),
      initializer,
      node: nodes.map(([opType, input, output, attributes = {}]) => ({
        ...{ opType, input: [...input], output: [output].flat(), name: `${opType}/${[output].flat()[0]}` },
        attribute: Object.entries(attributes).map(attribute),
      })),
    },
  } as ModelProto);
}
