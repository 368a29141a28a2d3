/** Elementwise algebra: neutral operands, signs, merged scalings, redundant casts. */

import { build } from "../../ir/build.ts";
import type { DType } from "../../ir/dtype.ts";
import { isFloat } from "../../ir/dtype.ts";
import type { Node } from "../../ir/node.ts";
import { isConstant } from "../../ir/op.ts";
import { sameType } from "../../ir/type.ts";
import {
  abs,
  add,
  and,
  broadcastLike,
  cast,
  constant,
  div,
  floor,
  idiv,
  max,
  min,
  mod,
  mul,
  neg,
  not,
  or,
  pow,
  relu,
  round,
  roundStraightThrough,
  select,
  stopGradient,
  sub,
} from "../../ops/index.ts";
import { nodeRule, number, type Rule, refuse, rule, sampleTensor, tensor } from "../../rewrite/index.ts";

const x = tensor({ a: 3, b: 2 });
const y = tensor({ b: 2 });
const flag = tensor({ a: 3 }, "bool");
const some = (): Node => sampleTensor("x", { a: 3, b: 2 });
const someFlag = (): Node => sampleTensor("flag", { a: 3 }, "bool");

/** A scalar constant's value; undefined for anything else. */
export const scalarValue = (node: Node): number | undefined =>
  isConstant(node) && node.type.axes.length === 0 ? (node.attrs.value as number | undefined) : undefined;

const isInteger = (node: Node): boolean => !isFloat(node.type.dtype);

/** x + 0, x · 1 and the like: at most the sign of a zero may change. */
const neutral: Rule[] = [
  // Differentiation comes before this pass: a stop_gradient is now the identity and must not block fusion.
  rule("stopped-gradient", { given: { x }, match: ({ x }) => stopGradient(x), replace: ({ x }) => x }),
  rule("straight-through", {
    given: { x },
    match: ({ x }) => roundStraightThrough(x),
    replace: ({ x }) => round(x),
  }),
  rule("add-zero", { given: { x }, match: ({ x }) => add(x, 0), replace: ({ x }) => x }),
  rule("sub-zero", { given: { x }, match: ({ x }) => sub(x, 0), replace: ({ x }) => x }),
  rule("zero-sub", {
    given: { x },
    match: ({ x }) => sub(0, x),
    when: ({ x }) => x.type.dtype !== "u32" || "u32 has no negatives",
    replace: ({ x }) => neg(x),
  }),
  rule("mul-one", { given: { x }, match: ({ x }) => mul(x, 1), replace: ({ x }) => x }),
  rule("div-one", { given: { x }, match: ({ x }) => div(x, 1), replace: ({ x }) => x }),
  rule("pow-one", { given: { x }, match: ({ x }) => pow(x, 1), replace: ({ x }) => x }),
  // Products are correctly rounded; pow may not be.
  rule("pow-two", { given: { x }, match: ({ x }) => pow(x, 2), replace: ({ x }) => mul(x, x) }),
  rule("pow-three", { given: { x }, match: ({ x }) => pow(x, 3), replace: ({ x }) => mul(mul(x, x), x) }),
  rule("mul-zero", {
    given: { x: tensor({ a: 3 }, "i32") },
    match: ({ x }) => mul(x, 0),
    when: ({ x }) => isInteger(x) || "a float may be infinite or nan, and 0 · inf is nan",
    replace: ({ x }) => broadcastLike(constant(0, x.type.dtype), x),
  }),
  // As the ops define it: WGSL rejects a constant zero divisor.
  rule("idiv-zero", {
    given: { x: tensor({ a: 3 }, "i32") },
    match: ({ x }) => idiv(x, 0),
    replace: ({ x }) => x,
  }),
  rule("mod-zero", {
    given: { x: tensor({ a: 3 }, "i32") },
    match: ({ x }) => mod(x, 0),
    replace: ({ x }) => broadcastLike(constant(0, x.type.dtype), x),
  }),
  rule("sub-self", {
    given: { x: tensor({ a: 3 }, "i32") },
    match: ({ x }) => sub(x, x),
    when: ({ x }) => isInteger(x) || "a float may be infinite or nan, and inf - inf is nan",
    replace: ({ x }) => broadcastLike(constant(0, x.type.dtype), x),
  }),
];

const signs: Rule[] = [
  rule("neg-neg", { given: { x }, match: ({ x }) => neg(neg(x)), replace: ({ x }) => x }),
  rule("add-neg", { given: { x, y }, match: ({ x, y }) => add(x, neg(y)), replace: ({ x, y }) => sub(x, y) }),
  rule("sub-neg", { given: { x, y }, match: ({ x, y }) => sub(x, neg(y)), replace: ({ x, y }) => add(x, y) }),
  rule("mul-minus-one", {
    given: { x },
    match: ({ x }) => mul(x, -1),
    replace: ({ x }) => neg(x),
  }),
  rule("mul-neg-neg", { given: { x, y }, match: ({ x, y }) => mul(neg(x), neg(y)), replace: ({ x, y }) => mul(x, y) }),
  rule("neg-sub", { given: { x, y }, match: ({ x, y }) => neg(sub(x, y)), replace: ({ x, y }) => sub(y, x) }),
  rule("neg-scaled", {
    given: { x, c: number(0.375) },
    match: ({ x, c }) => neg(mul(x, c)),
    replace: ({ x, c }) => mul(x, -c),
  }),
  rule("abs-neg", { given: { x }, match: ({ x }) => abs(neg(x)), replace: ({ x }) => abs(x) }),
];

/** In the dtype's safe range: exact for integers, far from overflow and subnormals for floats. */
function isTame(c: number, dtype: DType): boolean {
  if (dtype === "i32" || dtype === "u32") return Math.abs(c) < 2 ** 31;
  const most = dtype === "f16" ? 1e4 : 1e30;
  return Math.abs(c) < most && Math.abs(c) > 1 / most;
}

const isPowerOfTwo = (c: number): boolean => c !== 0 && Number.isFinite(c) && Number.isInteger(Math.log2(Math.abs(c)));
const scalings: Rule[] = [
  rule("merge-scalings", {
    given: { x, c: number(0.375), d: number(0.625) },
    match: ({ x, c, d }) => mul(mul(x, c), d),
    when: ({ x, c, d }) =>
      [c, d, c * d].every((v) => isTame(v, x.type.dtype)) ||
      `the product of ${c} and ${d} leaves the comfortable range of ${x.type.dtype}`,
    replace: ({ x, c, d }) => mul(x, c * d),
  }),
  rule("scale-of-neg", {
    given: { x, c: number(0.375) },
    match: ({ x, c }) => mul(neg(x), c),
    replace: ({ x, c }) => mul(x, -c),
  }),
  rule("div-by-power-of-two", {
    given: { x, c: number(0.25) },
    match: ({ x, c }) => div(x, c),
    when: ({ x, c }) => (isPowerOfTwo(c) && isTame(1 / c, x.type.dtype)) || `1 / ${c} is not exact`,
    replace: ({ x, c }) => mul(x, 1 / c),
  }),
];

const logic: Rule[] = [
  rule("not-not", { given: { flag }, match: ({ flag }) => not(not(flag)), replace: ({ flag }) => flag }),
  rule("and-self", { given: { flag }, match: ({ flag }) => and(flag, flag), replace: ({ flag }) => flag }),
  rule("or-self", { given: { flag }, match: ({ flag }) => or(flag, flag), replace: ({ flag }) => flag }),
  rule("and-true", { given: { flag }, match: ({ flag }) => and(flag, 1), replace: ({ flag }) => flag }),
  rule("or-false", { given: { flag }, match: ({ flag }) => or(flag, 0), replace: ({ flag }) => flag }),
  rule("select-not", {
    given: { flag, x, y },
    match: ({ flag, x, y }) => select(not(flag), x, y),
    replace: ({ flag, x, y }) => select(flag, y, x),
  }),
  rule("max-self", { given: { x }, match: ({ x }) => max(x, x), replace: ({ x }) => x }),
  rule("min-self", { given: { x }, match: ({ x }) => min(x, x), replace: ({ x }) => x }),
  nodeRule("select-same", {
    of: select,
    example: () => select(someFlag(), some(), some()),
    rewrite: (node) => (node.operands[1] === node.operands[2] ? likeNode(node.operands[1]!, node) : undefined),
  }),
  nodeRule("select-constant", {
    of: select,
    example: () => select(constant(1, "bool"), some(), 0),
    rewrite: (node) => {
      const condition = scalarValue(node.operands[0]!);
      return condition === undefined ? undefined : likeNode(node.operands[condition ? 1 : 2]!, node);
    },
  }),
];

const repeated: Rule[] = [
  rule("relu-relu", { given: { x }, match: ({ x }) => relu(relu(x)), replace: ({ x }) => relu(x) }),
  rule("abs-abs", { given: { x }, match: ({ x }) => abs(abs(x)), replace: ({ x }) => abs(x) }),
  rule("floor-floor", { given: { x }, match: ({ x }) => floor(floor(x)), replace: ({ x }) => floor(x) }),
  rule("round-round", { given: { x }, match: ({ x }) => round(round(x)), replace: ({ x }) => round(x) }),
];

/** Lossless casts: the dtypes that hold every value of the key. */
const widens: Readonly<Record<DType, readonly DType[]>> = {
  bool: ["bool", "i32", "u32", "f16", "f32"],
  f16: ["f16", "f32"],
  f32: ["f32"],
  i32: ["i32"],
  u32: ["u32"],
};

const casts: Rule[] = [
  nodeRule("cast-to-same", {
    of: cast,
    example: () => build("cast", [some()], { to: "f32" }),
    rewrite: (node) => (node.operands[0]!.type.dtype === node.type.dtype ? node.operands[0]! : undefined),
  }),
  nodeRule("cast-of-cast", {
    of: cast,
    operand: cast,
    example: () => cast(cast(someFlag(), "f32"), "i32"),
    rewrite: (node, middle) => {
      const source = middle.operands[0]!;
      if (widens[source.type.dtype].includes(middle.type.dtype)) return cast(source, node.type.dtype);
      return refuse(`${source.type.dtype} to ${middle.type.dtype} may round or truncate`);
    },
  }),
];

/** A value broadcast to a node's axes. */
function likeNode(value: Node, node: Node): Node {
  return sameType(value.type, node.type) ? value : broadcastLike(value, node);
}

export const arithmeticRules: readonly Rule[] = [...neutral, ...signs, ...scalings, ...logic, ...repeated, ...casts];
