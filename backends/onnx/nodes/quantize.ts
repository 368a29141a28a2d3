/** Weight quantization: selects weights and their scale granularity, and rewrites the nodes that read them. */
import { type Attributes, addNode, unique, type Writer } from "../emit/emission.ts";
import type { Body } from "../forms/body.ts";
import { type Quantization, type StoredPart, type StoredTensor, scaleDims } from "../forms/stored.ts";
import { blockBytes } from "../wire/integers.ts";
import {
  asTable,
  type IntegerWeight,
  packedProduct,
  packedRows,
  pickedRows,
  type ReadIntegers,
  roundedProducts,
} from "./integer-nodes.ts";
import { renameValues } from "./rename-values.ts";
import { type Use, weightUses } from "./weight-uses.ts";
import { writerOn } from "./writer.ts";

/** Block size of 4-bit quantization; as in ggml's Q4_0, for which kernels exist. */
const blockOf4 = 32;

/**
 * Stores weight matrices as integers with scales, if the options request it. A matmul reads a matrix through
 * DequantizeLinear, or reads the integers directly: by the standard's integer matmul if activations are quantized, or
 * by onnxruntime's own. For a table, only the gathered rows are dequantized.
 */
export function quantizeWeights(body: Body): Body {
  if (body.options.weights === "plain") return body;
  const reading = newReading(body);
  const useOf = weightUses(body);
  const stored = body.stored.map((t) => {
    const use = useOf(t);
    return use ? asIntegers(reading, t, use) : t;
  });
  if (stored.every((t, i) => t === body.stored[i])) return body;
  const { writer, names, dropped, rows, products, rounded } = reading;
  const needed = body.nodes.filter((n) => !dropped.has(n.output![0]!));
  for (const node of renameValues(needed, names)) {
    const [first, second] = node.input!;
    const write = (node.opType === "Gather" && rows.get(first!)) || (node.opType === "MatMul" && products.get(second!));
    if (write) write(node);
    else writer.nodes.push(node);
  }
  const { nodes, constants, taken } = writer;
  return { ...body, nodes, stored, constants, taken, ...(rounded.length > 0 && { rounded }) };
}

/** Accumulates the replacements of nodes that read weights. */
interface Reading {
  readonly body: Body;
  readonly writer: Writer;
  /** Replaced values. */
  readonly names: Map<string, string>;
  /** Outputs of nodes that are no longer needed. */
  readonly dropped: Set<string>;
  /** Writers of row gathers, by table name. */
  readonly rows: Map<string, ReadIntegers>;
  /** Writers of matmuls, by the name of the right operand. */
  readonly products: Map<string, ReadIntegers>;
  readonly rounded: NonNullable<Body["rounded"]>[number][];
  /** Writer of integer matmuls. */
  readonly roundedProduct: ReturnType<typeof roundedProducts>;
}

function newReading(body: Body): Reading {
  const writer = writerOn(body);
  const maps = { names: new Map(), dropped: new Set<string>(), rows: new Map(), products: new Map(), rounded: [] };
  return { body, writer, ...maps, roundedProduct: roundedProducts(writer, body.products) };
}

/** Quantizes a weight and registers the writers for its readers. */
function asIntegers(reading: Reading, t: StoredTensor, use: Use): StoredTensor {
  const { body, writer } = reading;
  const [part] = t.parts as [StoredPart];
  const type = part.type as "f32" | "f16";
  writer.at = t.parameter;
  const weight = { name: part.name, scale: unique(writer, `${part.name}.scale`), type, at: t.parameter };
  if (use.rights.length === 0 && use.rows) return asRows(reading, t, weight);
  if (use.rows) for (const right of use.rights) reading.dropped.add(right); // transposes of the float weight
  const isRounded = type === "f32" && hasRoundedProducts(body, use);
  const isPacked = use.rights.length > 0 && !isRounded && body.options.dialect === "onnxruntime";
  return isPacked ? inBlocks(reading, t, use, weight) : asMatrix(reading, t, use, weight, isRounded);
}

/** A table that only gathers read. */
function asRows({ writer, rows }: Reading, t: StoredTensor, weight: IntegerWeight): StoredTensor {
  const [part] = t.parts as [StoredPart];
  const q = quantizationOf(sizesOf(part), 0, 8);
  rows.set(part.name, pickedRows(writer, weight));
  return { ...t, quantization: q, parts: partsOf(part, weight, "i8", part.dims, [q.dims[0], 1]) };
}

/** A matrix, possibly also a table, in the block layout of onnxruntime's own matmul. */
function inBlocks({ body, writer, rows, products }: Reading, t: StoredTensor, use: Use, weight: IntegerWeight) {
  const [part] = t.parts as [StoredPart];
  const { dims, perm } = use.rows ? { dims: sizesOf(part), perm: t.perm } : turned(t, part);
  const q: Quantization = { dims, bits: bitsOf(body, use), channel: 0, block: blockOf4, packed: true };
  for (const right of use.rights) products.set(right, packedProduct(writer, weight, q));
  if (use.rows) rows.set(part.name, packedRows(writer, weight, q));
  const blocks = scaleDims(q);
  return { ...t, perm, quantization: q, parts: partsOf(part, weight, "u8", [...blocks, blockBytes(q)], blocks) };
}

/** A matrix, possibly also a table, for integer matmuls, or for float matmuls after a shared DequantizeLinear. */
function asMatrix(
  reading: Reading,
  t: StoredTensor,
  use: Use,
  weight: IntegerWeight,
  isRounded: boolean,
): StoredTensor {
  const { body, writer, names, rows } = reading;
  const [part] = t.parts as [StoredPart];
  const { dims, perm } = use.rows ? turned(t, part) : { dims: sizesOf(part), perm: t.perm };
  const q = quantizationOf(dims, use.rows ? 1 : use.channel, bitsOf(body, use), isRounded);
  if (use.rows) rows.set(part.name, pickedRows(writer, asTable(writer, { ...weight, unsigned: isRounded })));
  if (isRounded) roundProducts(reading, weight, use);
  else {
    const floats = addNode(writer, "DequantizeLinear", [weight.name, weight.scale], dequantization(q));
    for (const name of use.rows ? use.rights : [part.name]) names.set(name, floats);
  }
  const stored = q.unsigned ? "u8" : q.bits === 8 ? "i8" : "i4";
  return { ...t, perm, quantization: q, parts: partsOf(part, weight, stored, dims, scaleDims(q)) };
}

/** Tables always use 8 bits: their rows are used as they are, so that errors do not average out in a sum. */
const bitsOf = ({ options }: Body, { rows }: Use): 8 | 4 => (rows ? 8 : (options.weights as 8 | 4));

function roundProducts({ body, products, rounded, roundedProduct }: Reading, weight: IntegerWeight, use: Use): void {
  for (const right of use.rights) products.set(right, roundedProduct(weight));
  rounded.push(...productsOf(body, use).flatMap((name) => body.products.get(name)!));
}

/** The integers of a weight and its scales, each with its dimensions in the file. */
const partsOf = (
  part: StoredPart,
  { scale }: IntegerWeight,
  type: "i8" | "u8" | "i4",
  dims: readonly number[],
  scales: readonly number[],
): StoredPart[] => [
  { ...part, type, dims },
  { name: scale, type: part.type, dims: scales },
];

/** Outputs of the MatMuls whose right operand is the weight. */
const productsOf = ({ nodes }: Body, { rights }: Use): string[] =>
  nodes.filter((n) => n.opType === "MatMul" && rights.includes(n.input![1]!)).map((n) => n.output![0]!);

/**
 * True if activation quantization is on and every MatMul with the weight maps to a graph product, as verification
 * needs.
 */
const hasRoundedProducts = (body: Body, use: Use): boolean =>
  body.options.activations === "int8" &&
  use.rights.length > 0 &&
  productsOf(body, use).every((name) => body.products.has(name));

const sizesOf = ({ dims }: StoredPart) => dims as readonly [rows: number, columns: number];

/** The dimensions and axis permutation of the transposed matrix. */
function turned({ from, perm }: StoredTensor, part: StoredPart) {
  const [rows, columns] = sizesOf(part);
  let [at, product] = [0, 1];
  while (product < rows) product *= from[perm[at++]!]!;
  return { dims: [columns, rows] as const, perm: [...perm.slice(at), ...perm.slice(0, at)] };
}

/** DequantizeLinear's attributes. */
const dequantization = (q: Quantization): Attributes =>
  q.bits === 8 ? { axis: q.channel } : { axis: 1 - q.channel, block_size: q.block };

/** Quantization parameters: scales per index of the dimension that results keep for matrices, per row for tables. */
const quantizationOf = (dims: Quantization["dims"], channel: 0 | 1, bits: 8 | 4, unsigned = false): Quantization => ({
  ...{ dims, bits, channel, ...(unsigned && { unsigned }) },
  block: bits === 8 ? dims[1 - channel]! : blockOf4,
});
