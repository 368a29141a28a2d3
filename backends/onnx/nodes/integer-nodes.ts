/** Nodes that read quantized weights directly, replacing nodes that would read floats. */
import type { Node } from "../../../compiler/index.ts";
import {
  addNodeWith,
  attributesOf,
  castTo,
  constant,
  emit,
  integers,
  type Product,
  type Writer,
} from "../emit/emission.ts";
import type { Quantization } from "../forms/stored.ts";
import type { NodeProto } from "../wire/proto.ts";

/** Writes the replacement for a node that would read floats; its output keeps the name. */
export type ReadIntegers = (node: NodeProto) => void;

/** A quantized weight in the file. */
export interface IntegerWeight {
  readonly name: string;
  readonly scale: string;
  /** The dequantized type. */
  readonly type: "f32" | "f16";
  /** The parameter of the graph. */
  readonly at: Node;
  /** True if the integers have zero point 128. */
  readonly unsigned?: boolean;
}

/** Gathers rows of a table and their scales, stored as a column, and multiplies them. */
export const pickedRows =
  (writer: Writer, { name, scale, type, at, unsigned = false }: IntegerWeight): ReadIntegers =>
  (node) => {
    const ids = node.input![1]!;
    writer.at = at;
    const picked = castTo(writer, emit(writer, "Gather", [name, ids]), unsigned ? "u8" : "i8", type);
    const rows = unsigned ? emit(writer, "Sub", [picked, constant(writer, type, [], [128])]) : picked;
    const scales = emit(writer, "Gather", [scale, ids]);
    writer.nodes.push({ ...node, opType: "Mul", input: [rows, scales], attribute: [] });
  };

/**
 * A matmul weight with per-column scales, transposed for use as a table: runtimes fold the Transpose when they open the
 * file. onnxruntime fuses a matmul with DequantizeLinear only if nothing else reads the integers or their scales.
 */
export function asTable(writer: Writer, { name, scale, ...rest }: IntegerWeight): IntegerWeight {
  writer.at = rest.at;
  const table = emit(writer, "Transpose", [name], { perm: [1, 0] });
  return { ...rest, name: table, scale: emit(writer, "Unsqueeze", [scale, integers(writer, [-1])]) };
}

/** Like `pickedRows`, for a table stored in blocks as bytes with zero point 128. */
export const packedRows =
  (writer: Writer, { scale, type, at }: IntegerWeight, { dims: [, width], block }: Quantization): ReadIntegers =>
  (node) => {
    const [table, ids] = node.input as [string, string];
    writer.at = at;
    const bytes = castTo(writer, emit(writer, "Gather", [table, ids]), "u8", type);
    const units = emit(writer, "Sub", [bytes, constant(writer, type, [], [128])]);
    const scales = emit(writer, "Unsqueeze", [emit(writer, "Gather", [scale, ids]), integers(writer, [-1])]);
    const blocks = emit(writer, "Mul", [units, scales]);
    const filled = Math.ceil(width / block) * block;
    const flat = [blocks, shapeOfRows(writer, ids, filled)];
    if (filled === width) return void writer.nodes.push({ ...node, opType: "Reshape", input: flat, attribute: [] });
    const ends = [[0], [width], [-1]].map((v) => integers(writer, v));
    const input = [emit(writer, "Reshape", flat), ...ends];
    writer.nodes.push({ ...node, opType: "Slice", input, attribute: [] });
  };

/** The shape of gathered rows: the dimensions of the ids, then the row width. */
const shapeOfRows = (writer: Writer, ids: string, width: number): string =>
  emit(writer, "Concat", [emit(writer, "Shape", [ids]), integers(writer, [width])], { axis: 0 });

/**
 * onnxruntime's matmul with packed integer weights; it quantizes the inputs to 8 bits, as it also does for the
 * standard's operators.
 * Source: MatMulNBits in onnxruntime's docs/ContribOperators.md.
 */
export const packedProduct =
  (
    writer: Writer,
    { name, scale }: IntegerWeight,
    { dims: [columns, rows], bits, block }: Quantization,
  ): ReadIntegers =>
  (node) => {
    const attribute = attributesOf({ K: rows, N: columns, bits, block_size: block, accuracy_level: 4 });
    const input = [node.input![0]!, name, scale];
    writer.nodes.push({ ...node, opType: "MatMulNBits", domain: "com.microsoft", input, attribute });
  };

/**
 * Matmuls of dynamically quantized inputs with unsigned 8-bit weights; an input is quantized once for all its matmuls.
 * onnxruntime fuses this node order into one operator, apart from the quantization. Of signed weights it saturates sums
 * of two products at 16 bits on x86-64 processors without VNNI (U8S8 in its quantization guide).
 */
export function roundedProducts(writer: Writer, products: ReadonlyMap<string, readonly Product[]>) {
  const rounded = new Map<string, readonly [string, string, string]>();
  const roundedOnce = (x: string) => {
    const known = rounded.get(x) ?? (addNodeWith(writer, "DynamicQuantizeLinear", [x], 3) as [string, string, string]);
    rounded.set(x, known);
    return known;
  };
  return ({ name, scale }: IntegerWeight): ReadIntegers =>
    (node) => {
      writer.at = products.get(node.output![0]!)![0]!.node;
      const [units, step, zero] = roundedOnce(node.input![0]!);
      const sums = castTo(
        writer,
        emit(writer, "MatMulInteger", [units, name, zero, constant(writer, "u8", [], [128])]),
        "i32",
        "f32",
      );
      const scales = emit(writer, "Mul", [step, scale]);
      writer.nodes.push({ ...node, opType: "Mul", input: [sums, scales], attribute: [] });
    };
}
