/** The state of one export: nodes in order, constants, names; and the one way to add a node. */
import { type Graph, type Node, printType } from "../../../compiler/index.ts";
import { toBytes, type WholeType, type WireType, wireCodes } from "../wire/elements.ts";
import { type AttributeProto, attributeTypes, type NodeProto } from "../wire/proto.ts";
import { productFactors } from "./factors.ts";
import type { Wish } from "./hints.ts";
import { type Statistics, wantedStatistics } from "./statistics.ts";
import type { View } from "./value.ts";

export interface EmitOptions {
  readonly opset: number;
  /** "standard": operators of the ONNX standard. "onnxruntime": also operators that only onnxruntime has. */
  readonly dialect: "standard" | "onnxruntime";
  /** How attention is written: MatMul, Softmax, MatMul; or the Attention operator where it says exactly the same. */
  readonly attention: "primitives" | "operator";
  /** How weight matrices are stored: as they are, or as integers of so many bits. */
  readonly weights: "plain" | 8 | 4;
  /** How inputs of i32 are fed. */
  readonly ids: "int32" | "int64";
}

/** A tensor known while exporting. */
export interface Constant {
  readonly name: string;
  readonly type: WireType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
}

/** How a graph input appears: fed at each run with its own shape, stored in the file, or bound to ranges of device memory. */
export type InputKind = "fed" | "stored" | "bound";

export interface Emission {
  readonly options: EmitOptions;
  readonly graph: Graph;
  readonly kinds: ReadonlyMap<Node, InputKind>;
  readonly nodes: NodeProto[];
  readonly constants: Map<string, Constant>;
  /** Views of stored and bound inputs by their placeholder names, in order of first mention. */
  readonly views: Map<string, PlacedView>;
  /** Layouts that users ask of each node, where they ask. */
  readonly hints: ReadonlyMap<Node, Wish>;
  /** How many elements lie with one axis outside another, by "outer inner": what new axes go by. */
  readonly precedence: Map<string, number>;
  /** Products that are only ever multiplied by one number, and that number: both can be one operator. */
  readonly factors: ReadonlyMap<Node, number>;
  /** Those of them that carry their factor already. */
  readonly scaled: Set<Node>;
  /** Row statistics that the graph asks for, and where they are once a norm has given them. */
  readonly statistics: Statistics;
  readonly taken: Set<string>;
  readonly made: Map<string, string>;
  /** The node being exported. */
  at: Node | undefined;
}

/** A view in the order and the dimensions in which it is used. */
export interface PlacedView extends View {
  readonly order: readonly string[];
  readonly dims: readonly number[];
}

/** What the users of the node being exported ask of its layout. */
export const wishOf = (e: Emission): Wish | undefined => e.at && e.hints.get(e.at);

export type AttributeValue = number | readonly number[] | string | { readonly float: number };
export type Attributes = Readonly<Record<string, AttributeValue>>;

export function emission(
  graph: Graph,
  options: EmitOptions,
  kinds: ReadonlyMap<Node, InputKind>,
  hints: ReadonlyMap<Node, Wish>,
  taken: Iterable<string>,
): Emission {
  return {
    options,
    graph,
    kinds,
    hints,
    precedence: new Map(),
    factors: productFactors(graph),
    scaled: new Set(),
    statistics: wantedStatistics(graph),
    nodes: [],
    constants: new Map(),
    views: new Map(),
    taken: new Set(taken),
    made: new Map(),
    at: undefined,
  };
}

/** Adds a node, or finds an equal one that is there, and gives the name of its output. */
export function emit(
  e: Emission,
  type: string,
  inputs: readonly string[],
  attributes: Attributes = {},
  domain = "",
): string {
  const key = JSON.stringify([domain, type, inputs, attributes]);
  const known = e.made.get(key);
  if (known !== undefined) return known;
  const name = addNode(e, type, inputs, attributes, domain);
  e.made.set(key, name);
  return name;
}

/** Adds a node, named by the module path and the op that it comes from, and gives the name of its output. */
export const addNode = (
  e: Emission,
  type: string,
  inputs: readonly string[],
  attributes: Attributes = {},
  domain = "",
): string => addNodeWith(e, type, inputs, 1, attributes, domain)[0]!;

/** The same with several outputs. */
export function addNodeWith(
  e: Emission,
  type: string,
  inputs: readonly string[],
  outputs: number,
  attributes: Attributes = {},
  domain = "",
): string[] {
  const names = Array.from({ length: outputs }, () => unique(e, scopeName(e, type)));
  e.nodes.push({
    name: names[0]!,
    opType: type,
    input: [...inputs],
    output: [...names],
    attribute: Object.entries(attributes).map(([k, v]) => attribute(k, v)),
    ...(domain !== "" && { domain }),
    ...(e.at && { docString: `${e.at.op}: ${printType(e.at.type)}` }),
  });
  return names;
}

function scopeName(e: Emission, type: string): string {
  if (!e.at) return type;
  return e.at.path === "" ? e.at.op : `${e.at.path}/${e.at.op}`;
}

/** `base`, or base_2, base_3 ... when it is taken. */
export function unique(e: Emission, base: string): string {
  let name = base;
  for (let i = 2; e.taken.has(name); i++) name = `${base}_${i}`;
  e.taken.add(name);
  return name;
}

function attribute(name: string, v: AttributeValue): AttributeProto {
  if (typeof v === "number") return { name, type: attributeTypes.INT, i: v };
  if (typeof v === "string") return { name, type: attributeTypes.STRING, s: new TextEncoder().encode(v) };
  if ("float" in v) return { name, type: attributeTypes.FLOAT, f: v.float };
  return { name, type: attributeTypes.INTS, ints: [...v] };
}

/** A tensor of known values; equal short ones are stored once. */
export function constant(e: Emission, type: WholeType, dims: readonly number[], values: ArrayLike<number>): string {
  const key =
    values.length <= sharedLength ? `${type}[${dims}]${Array.from(values, keyOf)}` : `table ${e.constants.size}`;
  let known = e.constants.get(key);
  if (!known) {
    known = { name: unique(e, "constant"), type, dims, bytes: toBytes(type, values) };
    e.constants.set(key, known);
  }
  return known.name;
}

/** Longer tables are not compared: their nodes in the graph are interned already. */
const sharedLength = 4096;

const keyOf = (v: number): string => (Object.is(v, -0) ? "-0" : String(v));

export const scalar = (e: Emission, type: WholeType, v: number): string => constant(e, type, [], [v]);
export const integers = (e: Emission, values: readonly number[]): string => constant(e, "i64", [values.length], values);

/** A Cast, or nothing when the types agree. */
export const castTo = (e: Emission, name: string, from: WireType, to: WireType): string =>
  from === to ? name : emit(e, "Cast", [name], { to: wireCodes[to] });
