/**
 * Constant folding: ops on constants, and sizes that are numbers. Values are rounded to their dtype as a device would;
 * results outside its finite range, such as an infinity, are left to the device.
 */

import { build } from "../ir/build.ts";
import type { DType } from "../ir/dtype.ts";
import { isFloat } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import { isConstant, opRecord, type RefTensor } from "../ir/op.ts";
import { elementsOf, type TensorType } from "../ir/type.ts";
import { add, constant, table } from "../ops/index.ts";
import { nodeRule, type Refusal, refuse, rewritePass } from "../rewrite/index.ts";

/** The most elements of a folded table: a larger one is data and belongs in a parameter. */
export const mostFoldedElements = 1024;

/** The value rounded to the dtype; undefined if it is not representable. */
function roundTo(dtype: DType, value: number): number | undefined {
  if (dtype === "bool") return value !== 0 ? 1 : 0;
  if (isFloat(dtype)) {
    const rounded = dtype === "f32" ? Math.fround(value) : Math.f16round(value);
    return Number.isFinite(rounded) ? rounded : undefined;
  }
  const whole = Number.isInteger(value);
  const [low, high] = dtype === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  return whole && value >= low && value <= high ? value + 0 : undefined;
}

function foldNode(node: Node): Node | Refusal | undefined {
  if (node.operands.length === 0 || node.operands.some((o) => !isConstant(o))) return undefined;
  const elements = elementsOf(node.type);
  const given = node.operands.reduce((n, o) => n + Number(elementsOf(o.type)), 0);
  if (typeof elements !== "number" || elements > mostFoldedElements)
    return refuse(`${elements} elements are too many to fold`);
  if (elements > given) return refuse("the result would be larger than what it is made of");
  const values = foldValues(node);
  return values ? constantOf(values, node.type) : refuse(`a result is no value of ${node.type.dtype}`);
}

function foldValues(node: Node): number[] | undefined {
  const operands = node.operands.map(constantValue);
  if (operands.includes(undefined)) return undefined;
  const exact = opRecord(node.op).reference(operands as RefTensor[], node.attrs, node.type);
  const rounded = Array.from(exact, (v) => roundTo(node.type.dtype, v));
  return rounded.includes(undefined) ? undefined : (rounded as number[]);
}

/** A constant's values, rounded to its dtype. */
function constantValue(node: Node): RefTensor | undefined {
  const values = (node.attrs.values as number[] | undefined) ?? [node.attrs.value as number];
  const rounded = values.map((v) => roundTo(node.type.dtype, v));
  if (rounded.includes(undefined)) return undefined;
  return { type: node.type, data: Float64Array.from(rounded as number[]) };
}

function constantOf(values: readonly number[], type: TensorType): Node {
  return type.axes.length === 0 ? constant(values[0]!, type.dtype) : table(values, type.axes, type.dtype);
}

export const fold = rewritePass("fold", [
  nodeRule("constant-operands", { example: () => add(constant(1), constant(2)), rewrite: foldNode }),
  nodeRule("known-size", {
    kind: "source",
    example: () => build("size", [], { of: 12, dtype: "f32" }),
    rewrite: ({ attrs, type }) => (typeof attrs.of === "number" ? constant(attrs.of, type.dtype) : undefined),
  }),
]);
