/** Helpers that define ops: each asks only for what it cannot infer, and supplies the rest, builder included. */
import { UsageError } from "../diagnostics/error.ts";
import { assertTensors, brokenConstraint, build } from "../ir/build.ts";
import { printApart } from "../ir/dim.ts";
import { type DType, misfit } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import { intern } from "../ir/node.ts";
import {
  type HalfPolicy,
  type OnnxMapping,
  type OpCase,
  type OpDoc,
  type OpRecord,
  OpViolation,
  type RefTensor,
  registerOp,
  type SampleRange,
  type Tolerance,
  type WgslText,
} from "../ir/op.ts";
import { type Axis, printAxes, type TensorType, tensorType } from "../ir/type.ts";
import type { Typed } from "../ir/typed.ts";
import { broadcastStrides, strides } from "./reference-tools.ts";

/** A node, or a number that becomes a constant of the other operands' dtype. */
export type Operand = Node | number;

type ByName<N extends readonly string[]> = Readonly<Record<N[number], Node>>;
type Operands<N extends readonly string[]> = { readonly [K in keyof N]: Operand };

/** Something that carries an op record. */
export interface Recorded {
  readonly record: OpRecord;
}

export type Builder<F> = F & Recorded;

/** True for a node of the builder's op. */
export const is = (op: Recorded, node: Node | undefined): boolean => node?.op === op.record.name;
type Row<N extends readonly string[]> = readonly [...{ readonly [K in keyof N]: number }, number];

export const [nan, inf] = [Number.NaN, Number.POSITIVE_INFINITY];

/** Rows of special values: the operands, then the result. */
export const rows = <R extends readonly [number, ...number[]]>(...all: R[]): R[] => all;

/** A builder that carries its record. */
export type OpBuilder<A extends readonly unknown[]> = ((...args: A) => Node) & { readonly record: OpRecord };

/** Builders of elementwise ops: on typed operands the result has the union of their axes. */
export interface Unary {
  <A extends string>(x: Typed<A>): Typed<A>;
  (x: Operand): Node;
  readonly record: OpRecord;
}
export interface Binary {
  // NoInfer: the axes of a number would be inferred from where the result is used.
  <A extends string = never, B extends string = never>(
    a: Typed<A> | number,
    b: Typed<B> | number,
  ): Typed<NoInfer<A | B>>;
  (a: Operand, b: Operand): Node;
  readonly record: OpRecord;
}
export interface Ternary {
  <A extends string = never, B extends string = never, C extends string = never>(
    a: Typed<A> | number,
    b: Typed<B> | number,
    c: Typed<C> | number,
  ): Typed<NoInfer<A | B | C>>;
  (a: Operand, b: Operand, c: Operand): Node;
  readonly record: OpRecord;
}

/** The builder of an elementwise op with these operands. */
export type Elementwise<N extends readonly string[]> = N extends readonly [string]
  ? Unary
  : N extends readonly [string, string]
    ? Binary
    : N extends readonly [string, string, string]
      ? Ternary
      : OpBuilder<Operands<N>>;

export interface ElementwiseSpec<N extends readonly string[]> {
  readonly name: string;
  readonly doc: OpDoc;
  readonly inputs: N;
  /** Accepted dtypes; all operands share one, except those in `boolInputs` and `inputDtypes`. */
  readonly dtypes: readonly DType[];
  readonly boolInputs?: readonly N[number][];
  /** Operands with a fixed dtype of their own. */
  readonly inputDtypes?: Readonly<Partial<Record<N[number], DType>>>;
  /** The result's dtype; default "same". */
  readonly result?: "same" | "bool";
  readonly reference: (...values: number[]) => number;
  readonly gradient?: (args: ByName<N>, cotangent: Node, result: Node) => Partial<Record<N[number], Node>>;
  /** True if the derivative is 0 almost everywhere. */
  readonly flat?: boolean;
  /** True if `gradient` is an estimate; see `OpRecord.estimated`. */
  readonly estimated?: boolean;
  /** True if the operands may be swapped. */
  readonly commutative?: boolean;
  /** Monotonicity in each operand; see `OpRecord.grows`. */
  readonly grows?: readonly (1 | -1)[];
  readonly half?: HalfPolicy;
  /** The scale operand of a decoding op; see `OpRecord.decodedBy`. */
  readonly decodedBy?: N[number];
  readonly decompose?: (args: ByName<N>) => Node;
  readonly wgsl: WgslText;
  readonly onnx?: OnnxMapping;
  /** Results for nan, infinities and zeros: rows of operands, then the result. None for bool. */
  readonly special: readonly Row<N>[];
  readonly samples: Readonly<Record<N[number], SampleRange>>;
  readonly tolerance?: Readonly<Partial<Record<DType, Tolerance>>>;
}

/** f32 has 24 significant bits and f16 11; each allows for a few roundings. */
const usualTolerance: Readonly<Partial<Record<DType, Tolerance>>> = {
  f32: { absolute: 1e-6, relative: 1e-5 },
  f16: { absolute: 1e-3, relative: 4e-3 },
  i32: { absolute: 0, relative: 0 },
  u32: { absolute: 0, relative: 0 },
  bool: { absolute: 0, relative: 0 },
};

/** Defines an elementwise op; operands broadcast by axis name. */
export function elementwise<const N extends readonly string[]>(spec: ElementwiseSpec<N>): Elementwise<N> {
  const { gradient, decompose } = spec;
  const named = (operands: readonly Node[]) =>
    Object.fromEntries(spec.inputs.map((n, i) => [n, operands[i]!])) as ByName<N>;
  const record = registerOp({
    name: spec.name,
    kind: "elementwise",
    doc: spec.doc,
    operands: spec.inputs,
    attrs: {},
    constraints: {
      C1: "an axis shared by operands has the same size in all of them",
      C2: dtypesText(spec),
    },
    infer: (operands) => inferElementwise(spec, operands),
    reference: (operands, _attrs, type) => mapElements(spec.reference, operands, type),
    scalar: spec.reference,
    ...(gradient && {
      gradient: (node: Node, dy: Node) => {
        const cotangents = gradient(named(node.operands), dy, node) as Partial<Record<string, Node>>;
        return spec.inputs.map((n) => cotangents[n]);
      },
    }),
    ...(spec.flat && { flat: true }),
    ...(spec.estimated && { estimated: true }),
    ...(spec.commutative && { commutative: true }),
    ...(spec.grows && { grows: spec.grows }),
    ...(spec.half && { half: spec.half }),
    ...(spec.decodedBy && { decodedBy: spec.decodedBy }),
    ...(decompose && { decompose: (operands: readonly Node[]) => decompose(named(operands)) }),
    wgsl: spec.wgsl,
    ...(spec.onnx && { onnx: spec.onnx }),
    samples: spec.inputs.map((n) => spec.samples[n as N[number]]),
    special: spec.special.map((row) => ({ operands: row.slice(0, -1) as number[], result: row.at(-1)! })),
    cases: elementwiseCases(spec),
    tolerance: { ...usualTolerance, ...spec.tolerance },
  });
  const conditions = (spec.boolInputs ?? []).map((name) => spec.inputs.indexOf(name));
  const builder = (...operands: Operands<N>) =>
    build(spec.name, asNodes(spec.name, operands as readonly Operand[], conditions), {});
  return Object.assign(builder, { record }) as unknown as Elementwise<N>;
}

/** The fixed dtype of an operand, if it has one. */
const ownDtype = <N extends readonly string[]>(spec: ElementwiseSpec<N>, name: N[number]): DType | undefined =>
  spec.boolInputs?.includes(name) ? "bool" : spec.inputDtypes?.[name];

/** Constraint C2 in words: "condition is bool; a and b share a dtype; allowed: f32, f16". */
function dtypesText<N extends readonly string[]>(spec: ElementwiseSpec<N>): string {
  const own = Map.groupBy(spec.inputs, (name) => ownDtype(spec, name));
  const shared = own.get(undefined)!;
  const fixed = [...own].flatMap(([dtype, names]) =>
    dtype ? [`${names.join(" and ")} ${names.length > 1 ? "are" : "is"} ${dtype}`] : [],
  );
  const allowed = spec.dtypes.join(", ");
  if (fixed.length === 0) return `operands share a dtype; allowed: ${allowed}`;
  const rest = shared.length > 1 ? `${shared.join(" and ")} share a dtype; allowed: ` : `${shared[0]} is one of `;
  return `${fixed.join("; ")}; ${rest}${allowed}`;
}

function inferElementwise<N extends readonly string[]>(spec: ElementwiseSpec<N>, operands: readonly TensorType[]) {
  const own = spec.inputs.map((name) => ownDtype(spec, name));
  const dtype = operands.find((_, i) => !own[i])!.dtype;
  operands.forEach((o, i) => {
    const expected = own[i] ?? dtype;
    if (o.dtype !== expected) {
      throw new OpViolation(
        "C2",
        `${spec.inputs[i]} is ${o.dtype} where ${expected} is needed`,
        `convert it with cast(${spec.inputs[i]}, "${expected}")`,
      );
    }
  });
  if (!spec.dtypes.includes(dtype)) {
    throw new OpViolation("C2", `${dtype} is not a dtype of ${spec.name}, which takes ${spec.dtypes.join(", ")}`);
  }
  return tensorType(spec.result === "bool" ? "bool" : dtype, unionAxes(operands, spec.inputs));
}

/**
 * The axes of all operands: those of the operand with the most axes (the first on a tie), then any others.
 * Throws OpViolation C1 when an axis has two sizes.
 */
function unionAxes(operands: readonly TensorType[], names: readonly string[]): Axis[] {
  const longest = operands.reduce((a, b) => (b.axes.length > a.axes.length ? b : a));
  const axes = [...longest.axes];
  operands.forEach((operand, i) => {
    for (const axis of operand.axes) {
      const known = axes.find((a) => a.name === axis.name);
      if (!known) axes.push(axis);
      else if (known.size !== axis.size) throw sizeClash(axis.name, operands, names, i);
    }
  });
  return axes;
}

/** "axis embed is 768 in x and 1024 in weight", for operand `i` and the first that disagrees with it. */
export function sizeClash(
  axis: string,
  operands: readonly TensorType[],
  names: readonly string[],
  i: number,
): OpViolation {
  const size = (t: TensorType) => t.axes.find((a) => a.name === axis)?.size;
  const mine = size(operands[i]!);
  const j = operands.findIndex((o) => size(o) !== undefined && size(o) !== mine);
  const [first, second] = j < i ? [j, i] : [i, j];
  const name = (k: number) => (names[k] ?? `operand ${k + 1}`).replace(/[?.]+$/, "");
  const [one, other] = printApart(size(operands[first]!)!, size(operands[second]!)!);
  return new OpViolation(
    "C1",
    `axis "${axis}" is ${one} in ${name(first)} and ${other} in ${name(second)}`,
    `an axis name stands for one size: rename one of the two, or make the sizes equal`,
  );
}

/**
 * Turns numbers among the operands into constants of the other operands' dtype, or f32 if those are all conditions
 * (operands at the positions `conditions`). Throws ShapeError for a number that the dtype cannot represent.
 */
export function asNodes(op: string, operands: readonly Operand[], conditions: readonly number[] = []): Node[] {
  const tensors = operands.filter((o): o is Node => typeof o !== "number");
  assertTensors(
    op,
    operands.map((o) => (typeof o === "number" ? { type: { axes: [] } } : o)),
  );
  if (tensors.length === 0) throw new UsageError(`${op} needs at least one tensor among its operands`);
  const values = tensors.filter((o) => !conditions.includes(operands.indexOf(o)));
  const dtype = (values.find((o) => o.type.dtype !== "bool") ?? values[0])?.type.dtype ?? "f32";
  const nodes = operands.map((o) => (typeof o === "number" ? scalarConstant(o, dtype) : o));
  for (const o of operands) {
    const wrong = typeof o === "number" ? misfit(dtype, o) : undefined;
    if (wrong) throw brokenConstraint(op, nodes, new OpViolation("C2", wrong.message, wrong.hint));
  }
  return nodes;
}

/** A scalar constant node; see ops/sources.ts for the record. */
export const scalarConstant = (value: number, dtype: DType): Node =>
  intern("constant", [], { value, dtype }, tensorType(dtype, []));

function mapElements(f: (...v: number[]) => number, operands: readonly RefTensor[], type: TensorType): Float64Array {
  const sizes = type.axes.map((a) => a.size as number);
  const total = sizes.reduce((n, s) => n * s, 1);
  const steps = operands.map((o) => broadcastStrides(o.type, type));
  const index = new Array<number>(sizes.length).fill(0);
  const at = operands.map(() => 0);
  const values = operands.map(() => 0);
  const out = new Float64Array(total);
  for (let i = 0; i < total; i++) {
    for (let k = 0; k < operands.length; k++) values[k] = operands[k]!.data[at[k]!]!;
    out[i] = f(...values);
    for (let d = sizes.length - 1; d >= 0; d--) {
      index[d]!++;
      for (let k = 0; k < at.length; k++) at[k]! += steps[k]![d]!;
      if (index[d]! < sizes[d]!) break;
      for (let k = 0; k < at.length; k++) at[k]! -= steps[k]![d]! * sizes[d]!;
      index[d] = 0;
    }
  }
  return out;
}

/** Test cases for any operand count: equal axes, and broadcasting. */
function elementwiseCases<N extends readonly string[]>(spec: ElementwiseSpec<N>): OpCase[] {
  const of = (i: number, axes: Axis[]) => tensorType(ownDtype(spec, spec.inputs[i]!) ?? spec.dtypes[0]!, axes);
  const [a, b] = [
    { name: "a", size: 3 },
    { name: "b", size: 5 },
  ];
  const shapes = [[a, b], [b], [a]];
  return [
    { operands: spec.inputs.map((_, i) => of(i, [a, b])), attrs: {} },
    { operands: spec.inputs.map((_, i) => of(i, shapes[i % 3]!)), attrs: {} },
  ];
}

/** The record of any other kind of op; tolerance, samples and constraints have defaults. */
export type RecordSpec = Omit<OpRecord, "tolerance" | "samples" | "constraints"> &
  Partial<Pick<OpRecord, "tolerance" | "samples" | "constraints">>;

export const record = (spec: RecordSpec): OpRecord =>
  registerOp({ samples: [], constraints: {}, ...spec, tolerance: { ...usualTolerance, ...spec.tolerance } });

/** The named axes of a type, in the given order; throws OpViolation `constraint` when one is missing. */
export function requireAxes(type: TensorType, names: readonly string[], constraint: string, operand: string): Axis[] {
  return names.map((name) => {
    const axis = type.axes.find((a) => a.name === name);
    if (axis) return axis;
    throw new OpViolation(constraint, `${operand} has no axis "${name}": it has ${printAxes(type.axes)}`);
  });
}

/** Evaluates `f` at every index of `type`, in row-major order. */
export function tabulate(type: TensorType, f: (index: readonly number[]) => number): Float64Array {
  const sizes = type.axes.map((a) => a.size as number);
  const total = sizes.reduce((n, s) => n * s, 1);
  const step = strides(type);
  const out = new Float64Array(total);
  const index = new Array<number>(sizes.length).fill(0);
  for (let i = 0; i < total; i++) {
    for (let d = 0; d < sizes.length; d++) index[d] = Math.floor(i / step[d]!) % sizes[d]!;
    out[i] = f(index);
  }
  return out;
}
