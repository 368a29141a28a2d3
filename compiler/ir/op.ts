/** What an op is: one record that says everything about it once. Records register themselves here; everything else looks them up. */
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { InternalError, UsageError } from "../diagnostics/error.ts";
import type { Fold, IndexMap } from "./algebra.ts";
import type { Dim } from "./dim.ts";
import type { DType } from "./dtype.ts";
import type { Attrs, Node } from "./node.ts";
import type { Axis, TensorType } from "./type.ts";

export type OpKind = "source" | "elementwise" | "reduction" | "contraction" | "movement" | "indexing" | "composite";

/** How an attribute is written in text and which part of it is a size that may be symbolic. */
export type AttrKind =
  | "axis" // an axis name
  | "axes" // a list of axis names: [a, b]
  | "sized_axis" // a=4
  | "sized_axes" // [a=2, b=3]
  | "dim" // a size
  | "number"
  | "numbers"
  | "boolean"
  | "text"
  | "word" // one of a few bare words
  | "dtype"
  | "distribution";

export interface AttrSpec {
  readonly kind: AttrKind;
  readonly optional?: boolean;
}

/** A tensor of the reference interpreter: float64 values for every dtype, row-major in the order of its type's axes. */
export interface RefTensor {
  readonly type: TensorType;
  readonly data: Float64Array;
}

export interface OpDoc {
  readonly summary: string;
  /** Paper section or specification clause. */
  readonly source?: string;
}

/** The largest difference that a fast path may show: an absolute part and a part relative to the reference. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** How the operands of a record's test inputs are drawn. */
export interface SampleRange {
  readonly low: number;
  readonly high: number;
  /** Keep this far from kinks such as 0 in relu, where a finite difference says nothing. */
  readonly avoid?: readonly number[];
  readonly integer?: boolean;
}

/** Concrete operand types and attributes to test a record with. */
export interface OpCase {
  readonly operands: readonly TensorType[];
  readonly attrs: Attrs;
}

/** One row of what an op gives for nan, infinities, zeros and the borders of its domain. */
export interface SpecialValue {
  /** A number for each operand; a reduction has the elements of one row. */
  readonly operands: readonly (number | readonly number[])[];
  readonly attrs?: Attrs;
  readonly result: number;
}

export interface WgslText {
  /** The expression, given the text of each operand; f32, i32, u32 or bool as the node's operands are. */
  readonly call: (...operands: string[]) => string;
  /** A function that `call` needs, emitted once per kernel. */
  readonly helper?: string;
  /** Another text for operands in f32, where nan or infinities ask for more than integers do. */
  readonly float?: WgslText;
}

export interface OnnxMapping {
  /** The operator's name in the default domain. */
  readonly type: string;
  /** The first opset that has it. */
  readonly since: number;
}

/** What an operand is to its op, where passes and kernels treat it by that. */
export type OperandRole =
  | "factor" // multiplied and summed: what a contraction reads again for every result
  | "table" // rows of it are chosen by an index
  | "index"
  | "mask" // a bool per place: true where that place counts
  | "bias" // a number per place, added to what is computed there
  | "weight" // learned: scales or shifts what was normalized
  | "statistic"; // one number a row, kept from another pass

/** What a kernel is built around. An op without a core is an expression inside other kernels, or has none at all. */
export type Core = FoldCore | AttentionCore | { readonly kind: "indexing" };

/** Elements of the operands are folded over some axes; a contraction folds products. */
export interface FoldCore {
  readonly kind: "row_reduction" | "contraction";
  readonly over: (attrs: Attrs) => readonly string[];
  readonly fold: Fold;
}

/** One result of the attention kernels. Those of one pass over the same operands are computed by one kernel. */
export interface AttentionCore {
  readonly kind: "attention";
  readonly pass: "forward" | "backward_q" | "backward_kv" | "backward_bias";
  /** How a row's result is made: mixed values, the row's statistic, a sum with P or the logits' cotangents, or of these alone. */
  readonly part: "values" | "statistic" | "weights" | "logits" | "pairs";
  /** The axes of a result that one thread owns; it has the others in registers. */
  readonly rows: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => readonly Axis[];
}

/**
 * Where floats may be f16 when a graph is computed in f16. Operands that are statistics are f32 in any case. Left out:
 * operands and result are f32, as sums, statistics and exponentials ask.
 */
export type HalfPolicy =
  | "safe" // f16 operands and result: what is summed accumulates in f32 inside, or the result is bounded by the operands
  | "as_operands" // f16 where all operands are
  | "as_operands_but_streams" // the same, but a sum of two computed values is f32: the residual stream grows with depth
  | "as_normalized" // f16 where the first operand is; its statistics are f32 inside
  | "operands"; // f16 operands and an f32 result, as a statistic of rows that are f16

/** Where a source's value comes from. */
export type SourceKind =
  | "parameter" // learned, kept by the store
  | "input" // fed at each run, or a state that the store keeps
  | "random" // drawn at each run
  | "constant" // known when the graph is built
  | "position" // the index along an axis
  | "size"; // a size, known when the graph runs

/** What one application computes. Bytes follow from the types and are not stated. */
export interface Work {
  /** Multiply-accumulates. */
  readonly macs: Dim;
  /** Operations besides: additions, comparisons, functions of an element. */
  readonly others: Dim;
}

export interface OpRecord {
  readonly name: string;
  readonly kind: OpKind;
  readonly doc: OpDoc;
  /** Operand names; the last may end in "..." (any number) or "?" (optional). */
  readonly operands: readonly string[];
  /** Roles by operand name. */
  readonly roles?: Readonly<Record<string, OperandRole>>;
  /** The kernel that computes it, where it is no expression. */
  readonly core?: Core;
  /** Of a source: where its value comes from. */
  readonly source?: SourceKind;
  /** True where two operands may change places. */
  readonly commutative?: boolean;
  readonly half?: HalfPolicy;
  /**
   * Of an elementwise op that makes a number of how memory keeps it: the operand that scales it. Kernels decode what they
   * read as they read it, and may scale a sum instead of its terms.
   */
  readonly decodedBy?: string;
  /** Of a movement: where the elements of its result come from. */
  readonly indexMap?: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => IndexMap;
  /** Operations; default: one for each element of the result where it is elementwise, else none. */
  readonly work?: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => Work;
  readonly attrs: Readonly<Record<string, AttrSpec>>;
  /** Numbered conditions, C1 on; the ids appear in checks, errors and test names. */
  readonly constraints: Readonly<Record<string, string>>;
  /** The result's type; throws OpViolation with a constraint's id. */
  readonly infer: (operands: readonly TensorType[], attrs: Attrs) => TensorType;
  /** The meaning, in float64; sizes are numbers here. */
  readonly reference: (operands: readonly RefTensor[], attrs: Attrs, type: TensorType) => Float64Array;
  /** Scalar meaning of an elementwise op. */
  readonly scalar?: (...operands: number[]) => number;
  /** How the result of an elementwise op moves as each operand grows, where it always moves so: 1 up or not at all, -1 down or not at all. */
  readonly grows?: readonly (1 | -1)[];
  /** Cotangents of the operands, in their order, from the result's; undefined where none flows. Absent: not differentiable, or through decompose. */
  readonly gradient?: (node: Node, cotangent: Node) => readonly (Node | undefined)[];
  /** True where no cotangent flows to any operand (comparisons, argmax, floor). */
  readonly flat?: boolean;
  /**
   * Of an op whose result is an operand but for a range along its attribute `axis`: the names of its operands. Where nothing
   * else needs what was there, kernels store the range alone, over the operand.
   */
  readonly overwrites?: { readonly kept: string; readonly range: string; readonly start: string };
  readonly decompose?: (operands: readonly Node[], attrs: Attrs, type: TensorType) => Node;
  readonly wgsl?: WgslText;
  readonly onnx?: OnnxMapping;
  readonly samples: readonly SampleRange[];
  readonly cases: readonly OpCase[];
  /**
   * What nan, infinities and zeros give. Every executor is held to each row; where one cannot keep it,
   * docs/special-values.md says what it gives instead.
   */
  readonly special?: readonly SpecialValue[];
  readonly tolerance: Readonly<Partial<Record<DType, Tolerance>>>;
}

/** A broken constraint, raised by `infer`; `build` turns it into a ShapeError that names operands and lines. */
export class OpViolation extends Error {
  readonly constraint: string;
  readonly hint: string | undefined;
  constructor(constraint: string, message: string, hint?: string) {
    super(message);
    this.constraint = constraint;
    this.hint = hint;
  }
}

const registry = new Map<string, OpRecord>();

/** Adds a record; throws InternalError when the name is taken by another. */
export function registerOp(record: OpRecord): OpRecord {
  if (registry.has(record.name)) throw new InternalError(`op "${record.name}" is registered twice`);
  registry.set(record.name, record);
  return record;
}

export function opRecord(name: string): OpRecord {
  const record = registry.get(name);
  if (!record) throw new UsageError(`there is no op "${name}"${didYouMean(name, registry.keys())}`);
  return record;
}

export const findOp = (name: string): OpRecord | undefined => registry.get(name);

/** All records, by name. */
export const opRecords = (): OpRecord[] => [...registry.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

/** The position of an operand by its name in the record; undefined where the record has none of that name. */
function positionOf(record: OpRecord, name: string): number | undefined {
  const at = record.operands.findIndex((o) => o.replace(/[?.]+$/, "") === name);
  return at < 0 ? undefined : at;
}

/** The operand of that name; undefined where the op has none, or this node leaves it out. */
export function operandNamed(node: Node, name: string): Node | undefined {
  const at = positionOf(opRecord(node.op), name);
  return at === undefined ? undefined : node.operands[at];
}

/** The role of the operand at a position. */
export function roleOf(node: Node, position: number): OperandRole | undefined {
  const { operands, roles } = opRecord(node.op);
  const name = operands[Math.min(position, operands.length - 1)];
  return name === undefined ? undefined : roles?.[name.replace(/[?.]+$/, "")];
}

/** Whether an operand is a value per place of what a kernel computes: an expression of positions costs no tensor. */
export function isPerPlace(node: Node, position: number): boolean {
  const role = roleOf(node, position);
  return role === "mask" || role === "bias";
}

/** The operands that have a role, in their order. */
export const operandsAs = (node: Node, role: OperandRole): Node[] =>
  node.operands.filter((_, i) => roleOf(node, i) === role);

/** The fold of a reduction or a contraction. */
export function foldOf(node: Node): FoldCore | undefined {
  const { core } = opRecord(node.op);
  return core?.kind === "row_reduction" || core?.kind === "contraction" ? core : undefined;
}

/** True for what joins its operands along an axis: kernels can store each part in its place. */
export const isConcatenation = (node: Node): boolean => indexMapOf(node)?.consecutive !== undefined;

const indexMaps = new WeakMap<Node, IndexMap>();

/** The index map of a movement, made once a node. */
export function indexMapOf(node: Node): IndexMap | undefined {
  const known = indexMaps.get(node);
  if (known) return known;
  const made = opRecord(node.op).indexMap?.(
    node.operands.map((o) => o.type),
    node.attrs,
    node.type,
  );
  if (made) indexMaps.set(node, made);
  return made;
}

/** True for the movements whose result has each element of the operand exactly once. */
export const isBijective = (node: Node): boolean => indexMapOf(node)?.inverse !== undefined;

/** True for the movements that read one operand, at one index for each element of the result. */
export function isAffine(node: Node): boolean {
  const sources = indexMapOf(node)?.sources;
  return sources?.length === 1 && !sources[0]!.inside;
}

/** A value that is another, `kept`, but for a range along an axis from `start` on. */
export interface Overwriting {
  readonly kept: Node;
  readonly range: Node;
  readonly start: Node;
  readonly axis: string;
}

/** The parts of a value that is another but for a range. */
export function overwritingOf(node: Node): Overwriting | undefined {
  const { overwrites } = opRecord(node.op);
  if (!overwrites) return undefined;
  const [kept, range, start] = [overwrites.kept, overwrites.range, overwrites.start].map((n) => operandNamed(node, n)!);
  return { kept: kept!, range: range!, start: start!, axis: node.attrs.axis as string };
}

/** Whether a value is decoded from how memory keeps it, which costs little more than a load. */
export const isDecoded = (node: Node): boolean => opRecord(node.op).decodedBy !== undefined;

/** The place of the operand that scales what an op decodes. */
export function scaleOf(op: string): number | undefined {
  const record = opRecord(op);
  return record.decodedBy === undefined ? undefined : positionOf(record, record.decodedBy);
}

export const sourceOf = (node: Node): SourceKind | undefined => opRecord(node.op).source;
/** Whether a node is a learned tensor, or a buffer kept with those. */
export const isParameter = (node: Node): boolean => sourceOf(node) === "parameter";
/** Kept with the parameters and not learned, such as running statistics. */
export const isBuffer = (node: Node): boolean => isParameter(node) && node.attrs.role === "buffer";
export const isConstant = (node: Node): boolean => sourceOf(node) === "constant";
/** A tensor that the store keeps between runs, besides parameters. */
export const isState = (node: Node): boolean => sourceOf(node) === "input" && node.attrs.role === "state";
/** A tensor that is given anew at each run. */
export const isFeed = (node: Node): boolean => sourceOf(node) === "input" && node.attrs.role !== "state";
export const coreOf = (node: Node): Core | undefined => opRecord(node.op).core;
export const isReduction = (node: Node): boolean => opRecord(node.op).kind === "reduction";
export const isElementwise = (node: Node): boolean => opRecord(node.op).kind === "elementwise";
