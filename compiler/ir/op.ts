/** Op definitions: one record states everything about an op. Records are registered here; other code looks them up. */
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { InternalError, UsageError } from "../diagnostics/error.ts";
import type { Fold, IndexMap } from "./algebra.ts";
import type { Dim } from "./dim.ts";
import type { DType } from "./dtype.ts";
import type { Attrs, Node } from "./node.ts";
import type { Axis, TensorType } from "./type.ts";

export type OpKind = "source" | "elementwise" | "reduction" | "contraction" | "movement" | "indexing" | "composite";

/** How an attribute is written in the text form, and which part of it is a possibly symbolic size. */
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

/** A tensor of the reference interpreter: float64 for every dtype, row-major in its type's axis order. */
export interface RefTensor {
  readonly type: TensorType;
  readonly data: Float64Array;
}

export interface OpDoc {
  readonly summary: string;
  /** Paper section or specification clause. */
  readonly source?: string;
}

/** The largest allowed difference between an executor and the reference: absolute plus relative to the reference. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** The range from which test values of an operand are drawn. */
export interface SampleRange {
  readonly low: number;
  readonly high: number;
  /** Points to stay away from: kinks, such as 0 for relu, where a finite difference is meaningless. */
  readonly avoid?: readonly number[];
  readonly integer?: boolean;
}

/** Concrete operand types and attributes to test a record with. */
export interface OpCase {
  readonly operands: readonly TensorType[];
  readonly attrs: Attrs;
}

/** One expected result of an op for nan, infinities, zeros or the edges of its domain. */
export interface SpecialValue {
  /** One number per operand; for a reduction, the elements of one row. */
  readonly operands: readonly (number | readonly number[])[];
  readonly attrs?: Attrs;
  readonly result: number;
}

export interface WgslText {
  /** The expression, given each operand's text; f32, i32, u32 or bool like the node's operands. */
  readonly call: (...operands: string[]) => string;
  /** A function that `call` needs, emitted once per kernel. */
  readonly helper?: string;
  /** Used instead for f32 operands, where nan or infinities need more care than integers. */
  readonly float?: WgslText;
}

export interface OnnxMapping {
  /** The operator's name in the default domain. */
  readonly type: string;
  /** The first opset that has it. */
  readonly since: number;
}

/** The role of an operand in its op, for passes and kernels that depend on it. */
export type OperandRole =
  | "factor" // multiplied and summed: a contraction rereads it for every result
  | "table" // its rows are gathered by an index
  | "index"
  | "mask" // a bool per position: true where it counts
  | "bias" // a number per position, added to what is computed there
  | "weight" // learned: scales or shifts a normalized value
  | "statistic"; // one number per row, saved by another pass

/** What a kernel is built around. An op without a core is an expression inside other kernels, or needs no kernel. */
export type Core = FoldCore | AttentionCore | { readonly kind: "indexing" };

/** Folds the operands' elements over some axes; a contraction folds products. */
export interface FoldCore {
  readonly kind: "row_reduction" | "contraction";
  readonly over: (attrs: Attrs) => readonly string[];
  readonly fold: Fold;
}

/** One result of the attention kernels. One kernel computes all results of the same pass over the same operands. */
export interface AttentionCore {
  readonly kind: "attention";
  readonly pass: "forward" | "backward_q" | "backward_kv" | "backward_bias";
  /**
   * A row's result: weighted values, its statistic, a sum weighted by P or the logits' cotangents, or those cotangents.
   */
  readonly part: "values" | "statistic" | "weights" | "logits" | "pairs";
  /** The axes that index threads: each thread holds the result's other axes in registers. */
  readonly rows: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => readonly Axis[];
}

/**
 * Where floats may be f16 when a graph is computed in f16. Operands that are statistics are always f32. If absent,
 * operands and result are f32, as sums, statistics and exponentials need.
 */
export type HalfPolicy =
  | "safe" // f16 operands and result: sums accumulate in f32, or the operands bound the result
  | "as_operands" // f16 if all operands are
  | "as_operands_but_streams" // the same, but a sum of two computed values is f32: the residual stream grows with depth
  | "as_normalized" // f16 if the first operand is; its statistics are computed in f32
  | "operands"; // f16 operands and an f32 result, such as a statistic of f16 rows

/** Where a source's value comes from. */
export type SourceKind =
  | "parameter" // kept by the parameter store
  | "input" // fed at each run, or state that the store keeps
  | "random" // drawn at each run
  | "constant" // known when the graph is built
  | "position" // the index along an axis
  | "size"; // a size, known when the graph runs

/** What one node computes. Bytes follow from the types. */
export interface Work {
  /** Multiply-accumulates. */
  readonly macs: Dim;
  /** Other operations: additions, comparisons, elementwise functions. */
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
  /** The kernel that computes it; absent for ops that are expressions. */
  readonly core?: Core;
  /** For a source: where its value comes from. */
  readonly source?: SourceKind;
  /** True if its two operands may be swapped. */
  readonly commutative?: boolean;
  readonly half?: HalfPolicy;
  /**
   * For an elementwise op that decodes a number from its storage format (dequantization): the name of the scale
   * operand. Kernels decode as they load, and may scale a sum instead of its terms.
   */
  readonly decodedBy?: string;
  /** For a movement: where the elements of its result come from. */
  readonly indexMap?: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => IndexMap;
  /** Operation counts; default: one per result element for an elementwise op, else none. */
  readonly work?: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => Work;
  readonly attrs: Readonly<Record<string, AttrSpec>>;
  /** Numbered conditions, from C1; the ids appear in checks, errors and test names. */
  readonly constraints: Readonly<Record<string, string>>;
  /** The result's type; throws OpViolation with the id of a violated constraint. */
  readonly infer: (operands: readonly TensorType[], attrs: Attrs) => TensorType;
  /** The op's semantics, in float64; all sizes are numbers here. */
  readonly reference: (operands: readonly RefTensor[], attrs: Attrs, type: TensorType) => Float64Array;
  /** The scalar semantics of an elementwise op. */
  readonly scalar?: (...operands: number[]) => number;
  /** For an elementwise op monotonic in every operand: per operand, 1 if nondecreasing, -1 if nonincreasing. */
  readonly grows?: readonly (1 | -1)[];
  /**
   * The operands' cotangents, in order, from the result's; undefined where none flows. Absent: not differentiable, or
   * differentiated through `decompose`.
   */
  readonly gradient?: (node: Node, cotangent: Node) => readonly (Node | undefined)[];
  /** True where no cotangent flows to any operand (comparisons, argmax, floor). */
  readonly flat?: boolean;
  /** True where `gradient` is an estimate, as of a straight-through estimator, and not the derivative. */
  readonly estimated?: boolean;
  /**
   * For an op whose result is an operand with a range along attribute `axis` replaced: its operand names. If nothing
   * else needs the old contents, kernels store only the range, in place.
   */
  readonly overwrites?: { readonly kept: string; readonly range: string; readonly start: string };
  readonly decompose?: (operands: readonly Node[], attrs: Attrs, type: TensorType) => Node;
  readonly wgsl?: WgslText;
  readonly onnx?: OnnxMapping;
  readonly samples: readonly SampleRange[];
  readonly cases: readonly OpCase[];
  /**
   * Results for nan, infinities and zeros, which every executor must give; docs/special-values.md lists the exceptions.
   */
  readonly special?: readonly SpecialValue[];
  readonly tolerance: Readonly<Partial<Record<DType, Tolerance>>>;
}

/** A violated constraint, thrown by `infer`; `build` turns it into a ShapeError that names operands and lines. */
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

/** Adds a record; throws InternalError if the name is taken. */
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

/** The position of the operand with this name; undefined if the record has none. */
function positionOf(record: OpRecord, name: string): number | undefined {
  const at = record.operands.findIndex((o) => o.replace(/[?.]+$/, "") === name);
  return at < 0 ? undefined : at;
}

/** The operand with this name; undefined if the op has none or this node omits it. */
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

/** Whether an operand is a mask or bias: if it depends only on positions, kernels compute it without a tensor. */
export function isPerPlace(node: Node, position: number): boolean {
  const role = roleOf(node, position);
  return role === "mask" || role === "bias";
}

/** The operands with this role, in order. */
export const operandsAs = (node: Node, role: OperandRole): Node[] =>
  node.operands.filter((_, i) => roleOf(node, i) === role);

/** The fold of a reduction or a contraction. */
export function foldOf(node: Node): FoldCore | undefined {
  const { core } = opRecord(node.op);
  return core?.kind === "row_reduction" || core?.kind === "contraction" ? core : undefined;
}

/** True for a concatenation of operands along an axis: kernels can store each part directly in the result. */
export const isConcatenation = (node: Node): boolean => indexMapOf(node)?.consecutive !== undefined;

const indexMaps = new WeakMap<Node, IndexMap>();

/** The index map of a movement, cached per node. */
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

/** True for movements whose result has each element of the operand exactly once. */
export const isBijective = (node: Node): boolean => indexMapOf(node)?.inverse !== undefined;

/** True for movements that read each element of the result from one operand, without a bounds condition. */
export function isAffine(node: Node): boolean {
  const sources = indexMapOf(node)?.sources;
  return sources?.length === 1 && !sources[0]!.inside;
}

/** The value `kept` with `range` written over it along an axis, from `start` on. */
export interface Overwriting {
  readonly kept: Node;
  readonly range: Node;
  readonly start: Node;
  readonly axis: string;
}

/** The parts of an op that overwrites a range (`OpRecord.overwrites`). */
export function overwritingOf(node: Node): Overwriting | undefined {
  const { overwrites } = opRecord(node.op);
  if (!overwrites) return undefined;
  const [kept, range, start] = [overwrites.kept, overwrites.range, overwrites.start].map((n) => operandNamed(node, n)!);
  return { kept: kept!, range: range!, start: start!, axis: node.attrs.axis as string };
}

/** Whether a value is decoded from its storage format, which costs little more than a load. */
export const isDecoded = (node: Node): boolean => opRecord(node.op).decodedBy !== undefined;

/** The position of a decoding op's scale operand. */
export function scaleOf(op: string): number | undefined {
  const record = opRecord(op);
  return record.decodedBy === undefined ? undefined : positionOf(record, record.decodedBy);
}

export const sourceOf = (node: Node): SourceKind | undefined => opRecord(node.op).source;
/** Whether a node is a learned tensor, or a buffer stored with them. */
export const isParameter = (node: Node): boolean => sourceOf(node) === "parameter";
/** Stored with the parameters but not learned, such as running statistics. */
export const isBuffer = (node: Node): boolean => isParameter(node) && node.attrs.role === "buffer";
export const isConstant = (node: Node): boolean => sourceOf(node) === "constant";
/** A tensor other than a parameter that the store keeps between runs. */
export const isState = (node: Node): boolean => sourceOf(node) === "input" && node.attrs.role === "state";
/** A tensor fed at each run. */
export const isFeed = (node: Node): boolean => sourceOf(node) === "input" && node.attrs.role !== "state";
export const coreOf = (node: Node): Core | undefined => opRecord(node.op).core;
export const isReduction = (node: Node): boolean => opRecord(node.op).kind === "reduction";
export const isElementwise = (node: Node): boolean => opRecord(node.op).kind === "elementwise";
