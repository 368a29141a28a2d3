/** The state of one export (nodes in order, constants, names), and the functions that add nodes. */
import { type Graph, inputName, type Node, printType } from "../../../compiler/index.ts";
import { isResident } from "../../feeds.ts";
import type { ExportPlan, InputKind } from "../forms/plan.ts";
import type { EmitOptions } from "../options.ts";
import { toBytes, type WholeType, type WireType, wireCodes } from "../wire/elements.ts";
import { type AttributeProto, attributeTypes, type NodeProto } from "../wire/proto.ts";
import { productFactors, productsUsedOnce } from "./factors.ts";
import type { Wish } from "./hints.ts";
import { type Statistics, wantedStatistics } from "./statistics.ts";
import type { Value, View } from "./value.ts";

/** A constant tensor. */
export interface Constant {
  readonly name: string;
  readonly type: WireType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
}

/** A target that nodes are added to. */
export interface Writer {
  readonly nodes: NodeProto[];
  readonly constants: Map<string, Constant>;
  readonly taken: Set<string>;
  /** Node outputs by node content, for common subexpression elimination. */
  readonly made: Map<string, string>;
  /** The graph node being emitted. */
  at: Node | undefined;
}

export interface Emission extends Writer {
  readonly options: EmitOptions;
  readonly graph: Graph;
  readonly kinds: ReadonlyMap<Node, InputKind>;
  /** Views of stored and bound inputs by placeholder name, in order of first use. */
  readonly views: Map<string, PlacedView>;
  /** Layouts that a node's users prefer, if any. */
  readonly wishes: ReadonlyMap<Node, Wish>;
  /** Elements with one axis outside another, by "outer inner"; guides where new axes are placed. */
  readonly precedence: Map<string, number>;
  /** Products whose only use is multiplication by a constant, and that constant: both can be one operator. */
  readonly factors: ReadonlyMap<Node, number>;
  /** Those whose factor has been folded in. */
  readonly scaled: Set<Node>;
  /** Products with one use. */
  readonly usedOnce: ReadonlySet<Node>;
  /** Gemm nodes of one graph product each, by that product. */
  readonly gemms: Map<Node, Gemm>;
  /** Graph matmuls, and which operand provides the rows, by the name of MatMul's output. */
  readonly products: Map<string, Product[]>;
  /** Row statistics that the graph uses, with their values once a norm has produced them. */
  readonly statistics: Statistics;
}

/** A Gemm without a third operand: what it was made of, so that it can be made again with one. */
export interface Gemm {
  readonly inputs: readonly [string, string];
  readonly attributes: Attributes;
  /** Its result, of [rows, columns]. */
  readonly result: Value;
}

/** A product of the graph, and which of its operands is MatMul's left one. */
export interface Product {
  readonly node: Node;
  readonly operand: number;
}

/** A view with the order and dimensions in which it is used. */
export interface PlacedView extends View {
  readonly order: readonly string[];
  readonly dims: readonly number[];
}

/** The layout that the users of the node being emitted want. */
export const wishOf = (e: Emission): Wish | undefined => e.at && e.wishes.get(e.at);

export type AttributeValue = number | readonly number[] | string | { readonly float: number };
export type Attributes = Readonly<Record<string, AttributeValue>>;

export const emission = ({ graph, kinds, wishes, outputs }: ExportPlan, options: EmitOptions): Emission => ({
  ...{ options, graph, kinds, wishes },
  precedence: new Map(),
  factors: productFactors(graph),
  usedOnce: productsUsedOnce(graph),
  gemms: new Map(),
  scaled: new Set(),
  products: new Map(),
  statistics: wantedStatistics(graph),
  nodes: [],
  constants: new Map(),
  views: new Map(),
  taken: new Set([...graph.inputs.map(inputName), ...Object.values(outputs)]),
  made: new Map(),
  at: undefined,
});

/** The type in which an input is fed. */
export const fedType = ({ ids }: EmitOptions, node: Node): WireType =>
  ids === "int64" && node.type.dtype === "i32" && !isResident(node) ? "i64" : node.type.dtype;

/** Adds a node, or reuses an equal one, and returns the name of its output. */
export function emit(
  w: Writer,
  type: string,
  inputs: readonly string[],
  attributes: Attributes = {},
  domain = "",
): string {
  const key = JSON.stringify([domain, type, inputs, attributes]);
  const known = w.made.get(key);
  if (known !== undefined) return known;
  const name = addNode(w, type, inputs, attributes, domain);
  w.made.set(key, name);
  return name;
}

/** Adds a node, named after its module path and op, and returns the name of its output. */
export const addNode = (
  w: Writer,
  type: string,
  inputs: readonly string[],
  attributes: Attributes = {},
  domain = "",
): string => addNodeWith(w, type, inputs, 1, attributes, domain)[0]!;

/** Like `addNode`, with several outputs. */
export function addNodeWith(
  w: Writer,
  type: string,
  inputs: readonly string[],
  outputs: number,
  attributes: Attributes = {},
  domain = "",
): string[] {
  const names = Array.from({ length: outputs }, () => unique(w, scopeName(w, type)));
  w.nodes.push({
    name: names[0]!,
    opType: type,
    input: [...inputs],
    output: [...names],
    attribute: attributesOf(attributes),
    ...(domain !== "" && { domain }),
    ...(w.at && { docString: `${w.at.op}: ${printType(w.at.type)}` }),
  });
  return names;
}

function scopeName(w: Writer, type: string): string {
  if (!w.at) return type;
  return w.at.path === "" ? w.at.op : `${w.at.path}/${w.at.op}`;
}

/** `base`, or base_2, base_3 ... if it is taken. */
export function unique(w: Writer, base: string): string {
  let name = base;
  for (let i = 2; w.taken.has(name); i++) name = `${base}_${i}`;
  w.taken.add(name);
  return name;
}

/** Attributes as protobuf messages. */
export const attributesOf = (attributes: Attributes): AttributeProto[] =>
  Object.entries(attributes).map(([k, v]) => attribute(k, v));

function attribute(name: string, v: AttributeValue): AttributeProto {
  if (typeof v === "number") return { name, type: attributeTypes.INT, i: v };
  if (typeof v === "string") return { name, type: attributeTypes.STRING, s: new TextEncoder().encode(v) };
  if ("float" in v) return { name, type: attributeTypes.FLOAT, f: v.float };
  return { name, type: attributeTypes.INTS, ints: [...v] };
}

/** A constant tensor; equal short ones are shared. */
export function constant(w: Writer, type: WholeType, dims: readonly number[], values: ArrayLike<number>): string {
  const key = values.length <= sharedLength ? `${type}[${dims}]${Array.from(values, keyOf)}` : `table ${w.taken.size}`;
  return keptConstant(w, key, type, dims, () => values);
}

/** A vector of the same number; equal ones are shared. */
export const filled = (w: Writer, type: WholeType, length: number, v: number): string =>
  keptConstant(w, `${type}[${length}] of ${keyOf(v)}`, type, [length], () => new Float64Array(length).fill(v));

function keptConstant(
  w: Writer,
  key: string,
  type: WholeType,
  dims: readonly number[],
  values: () => ArrayLike<number>,
): string {
  let known = w.constants.get(key);
  if (!known) {
    known = { name: unique(w, "constant"), type, dims, bytes: toBytes(type, values()) };
    w.constants.set(key, known);
  }
  return known.name;
}

/** Longer tables are not deduplicated: their graph nodes are interned already. */
const sharedLength = 4096;

const keyOf = (v: number): string => (Object.is(v, -0) ? "-0" : String(v));

export const scalar = (w: Writer, type: WholeType, v: number): string => constant(w, type, [], [v]);
export const integers = (w: Writer, values: readonly number[]): string => constant(w, "i64", [values.length], values);

/** A Cast, or nothing if the types agree. */
export const castTo = (w: Writer, name: string, from: WireType, to: WireType): string =>
  from === to ? name : emit(w, "Cast", [name], { to: wireCodes[to] });
