/**
 * Emitters for ops that need more than an operator name. Elementwise ops and reductions are emitted from their records.
 */
import {
  type Axis,
  type Dim,
  type DType,
  foldOf,
  hasAxis,
  isConstant,
  isReduction,
  type Node,
  opRecord,
  ops,
  sourceOf,
  symbolsOf,
} from "../../../compiler/index.ts";
import type { EmitOptions } from "../options.ts";
import { wireCodes } from "../wire/elements.ts";
import { attentionOperator, type Norm, normalize, softmax } from "./composites.ts";
import { addIntoProduct, contract } from "./contraction.ts";
import { elementwise } from "./elementwise.ts";
import { castTo, constant, type Emission, emit, scalar } from "./emission.ts";
import { gather, scatterAdd } from "./indexing.ts";
import { concat, merge, pad, rename, slice, split, window } from "./movement.ts";
import { argmax, reduction } from "./reduction.ts";
import { scalarDim } from "./sizes.ts";
import { rootMeanSquareOf, statisticKey } from "./statistics.ts";
import { first, realAxes, separate, type Tensor, tensor, value } from "./value.ts";

export interface Emitter {
  readonly emit: (e: Emission, node: Node, operands: readonly Tensor[]) => Tensor;
  /** False if this node must be decomposed instead at this opset; default true. */
  readonly when?: (node: Node, options: EmitOptions) => boolean;
}

const axis = (node: Node, name: unknown): Axis => node.type.axes.find((a) => a.name === name)!;
const operandAxis = (node: Node, name: unknown, i = 0): Axis =>
  node.operands[i]!.type.axes.find((a) => a.name === name)!;
const operandAxes = (node: Node, names: unknown): Axis[] => (names as string[]).map((n) => operandAxis(node, n));

const emitters: Readonly<Record<string, Emitter>> = {
  constant: {
    emit: (e, node) => {
      const values = (node.attrs.values as number[] | undefined) ?? [node.attrs.value as number];
      const dims = node.type.axes.map((a) => a.size as number);
      return tensor(value(constant(e, node.type.dtype, dims, values), node.type.dtype, separate(node.type.axes)));
    },
  },
  iota: {
    emit: (e, node) => {
      const length = scalarDim(e, node.type.axes[0]!.size);
      const counted = emit(e, "Range", [scalar(e, "i64", 0), length, scalar(e, "i64", 1)]);
      return tensor(value(castTo(e, counted, "i64", node.type.dtype), node.type.dtype, separate(node.type.axes)));
    },
  },
  size: {
    emit: (e, node) => {
      const dtype = node.type.dtype;
      return tensor(value(castTo(e, scalarDim(e, node.attrs.of as Dim), "i64", dtype), dtype, []));
    },
  },
  cast: { emit: (e, node, [x]) => convert(e, x!, node.type.dtype) },
  select: { emit: (e, node, operands) => whereFor(e, operands, node.type.dtype) },
  neg: {
    emit: (e, node, [x]) =>
      node.type.dtype === "u32" // ONNX Neg is signed only; 0 - x wraps the same
        ? elementwise(e, "Sub", [tensor(value(scalar(e, "u32", 0), "u32", [])), x!], "u32")
        : elementwise(e, "Neg", [x!], node.type.dtype),
  },
  add: { emit: (e, node, operands) => addIntoProduct(e, operands) ?? elementwise(e, "Add", operands, node.type.dtype) },
  mul: {
    emit: (e, node, operands) => {
      const done = node.operands.findIndex((o) => e.scaled.has(o));
      return done >= 0 ? operands[done]! : elementwise(e, "Mul", operands, node.type.dtype);
    },
  },
  rsqrt: {
    emit: (e, node, [x]) => {
      const statistic = rootMeanSquareOf(node);
      const known = statistic && e.statistics.get(statisticKey(statistic));
      if (known) return tensor(known);
      return elementwise(e, "Reciprocal", [elementwise(e, "Sqrt", [x!], node.type.dtype)], node.type.dtype);
    },
  },
  idiv: { emit: (e, node, [a, b]) => elementwise(e, "Div", [a!, divisor(e, node, b!)], node.type.dtype) },
  mod: {
    emit: (e, node, [a, b]) => elementwise(e, "Mod", [a!, divisor(e, node, b!)], node.type.dtype, { fmod: 1 }),
  },
  argmax: { emit: (e, node, [x]) => argmax(e, x!, node.attrs.axis as string) },
  contract: { emit: (e, node, [a, b]) => contract(e, a!, b!, operandAxes(node, node.attrs.over)) },
  // No-ops: missing axes broadcast implicitly, and axis order is only layout.
  broadcast: { emit: (_e, _node, [x]) => x! },
  transpose: { emit: (_e, _node, [x]) => x! },
  rename: { emit: (_e, node, [x]) => rename(x!, node.attrs.axis as string, node.attrs.to as string) },
  split: { emit: (_e, node, [x]) => split(x!, node.attrs.axis as string, node.attrs.into as unknown as Axis[]) },
  merge: { emit: (e, node, [x]) => merge(e, x!, operandAxes(node, node.attrs.axes), axis(node, node.attrs.into)) },
  slice: {
    emit: (e, node, [x]) =>
      slice(e, x!, operandAxis(node, node.attrs.axis), node.attrs.start as Dim, node.attrs.length as Dim),
  },
  pad: {
    emit: (e, node, [x]) =>
      pad(
        e,
        x!,
        operandAxis(node, node.attrs.axis),
        node.attrs.low as Dim,
        node.attrs.high as Dim,
        (node.attrs.value as number | undefined) ?? 0,
      ),
  },
  concat: {
    emit: (e, node, operands) =>
      concat(
        e,
        operands,
        node.operands.map((o) => o.type),
        node.attrs.axis as string,
      ),
  },
  window: {
    emit: (e, node, [x]) =>
      window(
        e,
        x!,
        operandAxis(node, node.attrs.axis),
        axis(node, node.attrs.out),
        ops.kernelOf(node),
        ops.stepsOf(node.attrs),
      ),
    when: (node) =>
      node.attrs.axis === ops.kernelOf(node).name || !hasAxis(node.operands[0]!.type, ops.kernelOf(node).name),
  },
  gather: { emit: (e, node, [table, index]) => gather(e, table!, index!, operandAxis(node, node.attrs.axis)) },
  scatter_add: {
    emit: (e, node, [index, updates]) => {
      const [at, from] = [node.operands[0]!.type, node.operands[1]!.type];
      const batched = node.attrs.batched as string[];
      return scatterAdd(e, index!, updates!, {
        axis: node.attrs.axis as unknown as Axis,
        batch: realAxes(at.axes.filter((a) => batched.includes(a.name))),
        asked: realAxes(at.axes.filter((a) => !batched.includes(a.name))),
        rest: realAxes(from.axes.filter((a) => !hasAxis(at, a.name))),
      });
    },
  },
  softmax: { emit: (e, node, [x]) => softmax(e, x!, operandAxis(node, node.attrs.axis)) },
  rms_norm: { emit: norm("RMSNormalization"), when: normalizes },
  layer_norm: { emit: norm("LayerNormalization"), when: normalizes },
  attention: {
    emit: (e, node, [q, k, v]) =>
      attentionOperator(e, q!, k!, v!, {
        dot: node.attrs.dot as string,
        over: node.attrs.over as string,
        scale: node.attrs.scale as number,
      }),
    when: (node, o) =>
      o.attention === "operator" &&
      o.opset >= 23 &&
      node.operands.length === 3 &&
      node.attrs.softcap === undefined && // onnxruntime's operators differ in where they cap
      pairs(node),
  },
};

function norm(type: Norm["type"]) {
  return (e: Emission, node: Node, [x, weight, bias]: readonly Tensor[]): Tensor =>
    normalize(e, x!, weight, bias, {
      type,
      x: node.operands[0]!,
      over: operandAxes(node, node.attrs.over),
      epsilon: node.attrs.epsilon as number,
    });
}

function normalizes(node: Node): boolean {
  const over = operandAxes(node, node.attrs.over);
  return over.every((a) => symbolsOf(a.size).length === 0) && over.some((a) => a.size !== 1);
}

/** True if q, k and v have the same batch axes, as the Attention operator requires. */
function pairs(node: Node): boolean {
  const { dot, over } = node.attrs;
  const [q, k, v] = node.operands.map((o) => realAxes(o.type.axes).map((a) => a.name)) as [
    string[],
    string[],
    string[],
  ];
  const shared = q.filter((n) => k.includes(n) && n !== dot);
  const batchOf = (names: string[]) => names.filter((n) => n !== dot && n !== over);
  return batchOf(k).every((n) => shared.includes(n)) && shared.every((n) => v.includes(n)) && shared.length > 0;
}

function convert(e: Emission, x: Tensor, to: DType): Tensor {
  const v = first(x);
  const unsigned = to === "u32" && (x.dtype === "f32" || x.dtype === "f16");
  // Clamp at 0; go through i64, since i32 cannot represent values from 2^31 up.
  const source = unsigned ? emit(e, "Max", [v.name, scalar(e, x.dtype, 0)]) : v.name;
  const through = unsigned ? "i64" : x.dtype;
  return tensor(value(castTo(e, castTo(e, source, x.dtype, through), through, to), to, v.groups));
}

/** A divisor with 0 replaced by 1, so that a / 0 is a and a mod 0 is 0: integer division by 0 crashes the process. */
function divisor(e: Emission, { operands: [, b], type: { dtype } }: Node, t: Tensor): Tensor {
  const known = (b!.attrs.values as readonly number[] | undefined) ?? [b!.attrs.value as number];
  if (sourceOf(b!) === "size" || (isConstant(b!) && !known.includes(0))) return t;
  const number = (n: number) => tensor(value(scalar(e, dtype, n), dtype, []));
  if (dtype === "u32") return elementwise(e, "Max", [t, number(1)], dtype);
  return elementwise(e, "Where", [elementwise(e, "Equal", [t, number(0)], "bool"), number(1), t], dtype);
}

/** onnxruntime has no Where for u32, but has it for i64. */
function whereFor(e: Emission, operands: readonly Tensor[], dtype: DType): Tensor {
  if (dtype !== "u32") return elementwise(e, "Where", operands, dtype);
  const widened = operands.map((t) => (t.dtype === "u32" ? recast(e, t, "i64") : t));
  return recast(e, elementwise(e, "Where", widened, dtype), "u32");
}

function recast(e: Emission, t: Tensor, to: "u32" | "i64"): Tensor {
  const v = first(t);
  return tensor(value(emit(e, "Cast", [v.name], { to: wireCodes[to] }), t.dtype, v.groups));
}

/** Standard elementwise operators that onnxruntime 1.30 lacks from the given opset on. */
const brokenFrom: Readonly<Record<string, number>> = { Swish: 25 };

/** True if an op has an ONNX operator at this opset; others are decomposed or rejected. */
export function isExpressible(node: Node, options: EmitOptions): boolean {
  const special = emitters[node.op];
  if (special) return special.when?.(node, options) ?? true;
  const { kind, onnx } = opRecord(node.op);
  if ((kind !== "elementwise" && kind !== "reduction") || !onnx) return false;
  return options.opset >= onnx.since && options.opset < (brokenFrom[onnx.type] ?? Number.POSITIVE_INFINITY);
}

/** Emits one node, given its emitted operands. */
export function emitNode(e: Emission, node: Node, operands: readonly Tensor[]): Tensor {
  const special = emitters[node.op];
  if (special) return special.emit(e, node, operands);
  const { type } = opRecord(node.op).onnx!;
  if (!isReduction(node)) return elementwise(e, type, operands, node.type.dtype);
  return reduction(e, type, operands[0]!, operandAxes(node, node.attrs.over), foldOf(node)!.fold.repeated);
}
