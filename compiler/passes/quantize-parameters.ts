/** Weight-only quantization: matrices stored as small integers with scales, and computed with in f32. */
import { type Graph, inputName, isGraphInput, makeGraph, nodesOf, rewriteNodes } from "../ir/graph.ts";
import type { SizedAxis } from "../ir/host-tensor.ts";
import { zeros } from "../ir/initializer.ts";
import type { Node } from "../ir/node.ts";
import { foldOf, isParameter, roleOf } from "../ir/op.ts";
import {
  cast,
  dequantizeInt4,
  dequantizeInt8,
  type IntegerBits,
  iota,
  merge,
  parameter,
  slice,
  split,
  transpose,
} from "../ops/index.ts";
import { keepParametersAs } from "./parameter-dtype.ts";

/** A quantized parameter: two stored parameters replace it. */
export interface QuantizedParameter {
  readonly parameter: string;
  /** u32 [kept..., block, word]; each word packs the integers of adjacent elements. */
  readonly words: { readonly name: string; readonly axes: readonly SizedAxis[] };
  /** f16 [kept..., block] */
  readonly scales: { readonly name: string; readonly axes: readonly SizedAxis[] };
  readonly bits: IntegerBits;
  /** Its axes in packing order: those that results keep, then those that are summed over. */
  readonly order: readonly string[];
  /** The number of elements summed over, and how many adjacent ones share a scale. */
  readonly depth: number;
  readonly block: number;
}

/** Elements per scale for 4-bit integers, as in exported files; 8-bit integers have one scale per row. */
const blockOf4 = 32;

/** Smaller weights are not quantized: norms, biases and the like, where precision costs nothing. */
const fewestElements = 2048;

/**
 * The graph with its f32 matrices stored as symmetric 8-bit or 4-bit integers, with one scale per row or per 32
 * adjacent elements, and decoded at their uses, so that only the integers are read from memory. Eligible are the
 * matrices allowed by `which` whose users all contract them over the same axes, or gather rows of them.
 *
 *     parameter w : f32[out=64, in=64]   becomes   (integer of a word - 8) * scale, from
 *     parameter w:int4 : u32[out=64, block=2, word=4] and parameter w:int4.scale : f16[out=64, block=2]
 */
function quantizeParameters(
  graph: Graph,
  bits: IntegerBits,
  which: (parameter: Node) => boolean = () => true,
): { readonly graph: Graph; readonly quantized: readonly QuantizedParameter[] } {
  const over = summedAxes(graph, which);
  const made = new Map<Node, Decoded>();
  for (const [node, axes] of over) if (axes) made.set(node, decoded(node, axes, bits));
  const roots = graph.outputs.map((o) => o.node);
  const result = rewriteNodes(roots, (node, original) => made.get(original)?.value ?? node);
  const outputs = graph.outputs.map(({ name, node }) => ({ name, node: result.get(node)! }));
  const declared = graph.inputs.flatMap((n) => made.get(n)?.stored ?? [n]).filter(isGraphInput);
  return {
    graph: makeGraph(graph.name, outputs, declared, graph.updates),
    quantized: [...made.values()].map((d) => d.quantized),
  };
}

/** The storage formats of weights. */
export const weightDtypes = ["f32", "f16", "int8", "int4"] as const;
export type WeightDType = (typeof weightDtypes)[number];

/**
 * The graph with its weights, or `which` of them, stored as `dtype`, and the list of quantized ones. With int8 or int4,
 * matrices that cannot be quantized are stored as f16.
 */
export function keepWeightsAs(
  graph: Graph,
  dtype: WeightDType,
  which: (parameter: Node) => boolean = () => true,
): { readonly graph: Graph; readonly quantized: readonly QuantizedParameter[] } {
  if (dtype === "f32" || dtype === "f16") return { graph: keepParametersAs(graph, dtype, which), quantized: [] };
  const { graph: made, quantized } = quantizeParameters(graph, dtype === "int8" ? 8 : 4, which);
  return { graph: keepParametersAs(made, "f16", which), quantized };
}

interface Decoded {
  readonly quantized: QuantizedParameter;
  readonly stored: readonly Node[];
  readonly value: Node;
}

/** The axes that each parameter's users sum over; undefined if a user does something else, or they disagree. */
function summedAxes(graph: Graph, which: (parameter: Node) => boolean): Map<Node, readonly string[] | undefined> {
  const updated = new Set(Object.values(graph.updates));
  const found = new Map<Node, readonly string[] | undefined>();
  for (const node of graph.inputs)
    if (isMatrix(node) && !updated.has(inputName(node)) && which(node)) found.set(node, []);
  const note = (node: Node, axes: readonly string[] | undefined) => {
    if (!found.has(node)) return;
    const known = found.get(node);
    const same = axes && known && (known.length === 0 || axes.length === 0 || `${known}` === `${axes}`);
    found.set(node, same ? (axes.length > 0 ? axes : known) : undefined);
  };
  for (const node of nodesOf(graph)) for (const [i, o] of node.operands.entries()) note(o, usedOver(node, i));
  for (const { node } of graph.outputs) note(node, undefined);
  // A table that is only gathered from: quantized along its rows, which are read whole.
  for (const [node, axes] of found) if (axes?.length === 0) found.set(node, [node.type.axes.at(-1)!.name]);
  return found;
}

const isMatrix = (node: Node): boolean =>
  isParameter(node) &&
  node.type.dtype === "f32" &&
  node.type.axes.length > 1 &&
  node.type.axes.every((a) => typeof a.size === "number") &&
  (node.type.axes as readonly SizedAxis[]).reduce((n, a) => n * a.size, 1) >= fewestElements;

/** The axes of an operand that a node sums over; empty if it gathers rows, undefined if it does something else. */
function usedOver(node: Node, operand: number): readonly string[] | undefined {
  const role = roleOf(node, operand);
  if (role === "factor") {
    const over = foldOf(node)?.over(node.attrs) ?? [];
    // In the parameter's order, so that users that list them in different orders agree.
    return node.operands[operand]!.type.axes.map((a) => a.name).filter((name) => over.includes(name));
  }
  const last = node.operands[operand]!.type.axes.at(-1)?.name;
  return role === "table" && node.attrs.axis !== last ? [] : undefined;
}

/** The decoded value of a quantized parameter. */
export const decodedParameter = (node: Node, { order, scales, bits }: QuantizedParameter): Node =>
  decoded(node, order.slice(scales.axes.length - 1), bits).value;

/** The stored parameters for `node`, and the value decoded from them, in `node`'s axis order. */
function decoded(node: Node, over: readonly string[], bits: IntegerBits): Decoded {
  const axes = node.type.axes as readonly SizedAxis[];
  const [kept, summed] = [axes.filter((a) => !over.includes(a.name)), axes.filter((a) => over.includes(a.name))];
  const depth = summed.reduce((n, a) => n * a.size, 1);
  const each = 32 / bits;
  const block = bits === 4 ? blockOf4 : Math.ceil(depth / each) * each;
  const names = new Set(axes.map((a) => a.name));
  const fresh = (name: string): string => (names.has(name) ? fresh(`${name}_`) : name);
  const blocks = { name: fresh("block"), size: Math.ceil(depth / block) };
  const word = { name: fresh("word"), size: block / each };
  const place = { name: fresh("place"), size: each };
  const packed = fresh("packed");
  const name = inputName(node);
  const stored = {
    words: { name: `${name}:int${bits}`, axes: [...kept, blocks, word] },
    scales: { name: `${name}:int${bits}.scale`, axes: [...kept, blocks] },
  };
  const words = parameter(stored.words.name, "u32", stored.words.axes, zeros);
  const scales = parameter(stored.scales.name, "f16", stored.scales.axes, zeros);
  const decode = bits === 4 ? dequantizeInt4 : dequantizeInt8;
  const value = decode(words, iota(place, "u32"), cast(scales, "f32"));
  const flat = slice(merge(value, [blocks.name, word.name, place.name], packed), packed, 0, depth);
  const own = split(flat, packed, summed);
  return {
    quantized: {
      parameter: name,
      ...stored,
      bits,
      order: [...kept, ...summed].map((a) => a.name),
      depth,
      block,
    },
    stored: [words, scales],
    value: transpose(
      own,
      axes.map((a) => a.name),
    ),
  };
}
