/** Contraction: the matrix product over named axes. */
import { build } from "../ir/build.ts";
import { productOfDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation, type RefTensor } from "../ir/op.ts";
import { type Axis, elementsOf, findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import { record, sizeClash } from "./kinds.ts";
import { reduceSum } from "./reductions.ts";
import { broadcastStrides, strideOf } from "./reference-tools.ts";

function inferContract([a, b]: readonly TensorType[], over: readonly string[]): TensorType {
  for (const name of over) {
    for (const [t, which] of [
      [a!, "a"],
      [b!, "b"],
    ] as const) {
      if (!hasAxis(t, name)) throw new OpViolation("C1", `the contracted axis "${name}" is not an axis of ${which}`);
    }
  }
  for (const axis of b!.axes) {
    const other = findAxis(a!, axis.name);
    if (other && other.size !== axis.size) {
      const clash = sizeClash(axis.name, [a!, b!], ["a", "b"], 0);
      throw new OpViolation("C2", clash.message, clash.hint);
    }
  }
  if (a!.dtype !== b!.dtype || !["f32", "f16"].includes(a!.dtype)) {
    throw new OpViolation("C3", `a is ${a!.dtype} and b is ${b!.dtype}`, "convert one with cast(x, dtype)");
  }
  if (over.length === 0) throw new OpViolation("C4", "no axis is contracted", "an outer product is mul(a, b)");
  return tensorType(a!.dtype, contractAxes(a!.axes, b!.axes, over));
}

/** The axes of a without the contracted ones, then those that only b has. */
export const contractAxes = (a: readonly Axis[], b: readonly Axis[], over: readonly string[]): Axis[] => [
  ...a.filter((x) => !over.includes(x.name)),
  ...b.filter((x) => !over.includes(x.name) && !a.some((y) => y.name === x.name)),
];

/** Σ over `over`: base offsets from the result's axes, then nested loops over the contracted ones. */
function contractReference(a: RefTensor, b: RefTensor, over: readonly string[], type: TensorType): Float64Array {
  const walk = over.map((n) => ({
    size: findAxis(a.type, n)!.size as number,
    a: strideOf(a.type, n),
    b: strideOf(b.type, n),
  }));
  const sizes = type.axes.map((x) => x.size as number);
  const [sa, sb] = [broadcastStrides(a.type, type), broadcastStrides(b.type, type)];
  const out = new Float64Array(sizes.reduce((n, s) => n * s, 1));
  const inner = (depth: number, pa: number, pb: number): number => {
    const { size, a: da, b: db } = walk[depth]!;
    let total = 0;
    for (let i = 0; i < size; i++, pa += da, pb += db) {
      total += depth + 1 === walk.length ? a.data[pa]! * b.data[pb]! : inner(depth + 1, pa, pb);
    }
    return total;
  };
  for (let i = 0; i < out.length; i++) {
    let [rest, pa, pb] = [i, 0, 0];
    for (let d = sizes.length - 1; d >= 0; d--) {
      const v = rest % sizes[d]!;
      rest = (rest - v) / sizes[d]!;
      pa += v * sa[d]!;
      pb += v * sb[d]!;
    }
    out[i] = inner(0, pa, pb);
  }
  return out;
}

/** a · b, summed over the axes that `like` lacks: the cotangent of a product's operand from the result's. */
export function contractTo(a: Node, b: Node, like: Node): Node {
  const over = b.type.axes.filter((x) => hasAxis(a.type, x.name) && !hasAxis(like.type, x.name)).map((x) => x.name);
  const product = over.length === 0 ? outer(a, b) : contract(a, b, over);
  const extra = product.type.axes.filter((x) => !hasAxis(like.type, x.name)).map((x) => x.name);
  return extra.length === 0 ? product : reduceSum(product, extra);
}

const outer = (a: Node, b: Node): Node => build("mul", [a, b], {});

record({
  name: "contract",
  kind: "contraction",
  doc: {
    summary:
      "Σ a·b over the axes named; other axes that both carry are batched. Accumulates in f32 whatever the dtype.",
    source: "the Einstein summation convention, with names for indices",
  },
  half: "safe",
  operands: ["a", "b"],
  roles: { a: "factor", b: "factor" },
  core: {
    kind: "contraction",
    over: (attrs) => attrs.over as string[],
    fold: {
      accumulators: [{ start: 0 }],
      lift: (s, [a, b]) => [s.mul(a!, b!)],
      merge: (s, [sum], [product]) => [s.add(sum!, product!)],
    },
  },
  attrs: { over: { kind: "axes" } },
  constraints: {
    C1: "the contracted axes are in both operands",
    C2: "an axis that both operands carry has one size",
    C3: "both operands have the same floating dtype",
    C4: "at least one axis is contracted",
  },
  infer: (t, attrs) => inferContract(t, attrs.over as string[]),
  work: ([a], attrs, type) => {
    const summed = (attrs.over as string[]).map((n) => findAxis(a!, n)!.size);
    return { macs: productOfDims([elementsOf(type), ...summed]), others: 0 };
  },
  reference: ([a, b], attrs, type) => contractReference(a!, b!, attrs.over as string[], type),
  gradient: (node, dy) => {
    const [a, b] = [node.operands[0]!, node.operands[1]!];
    return [contractTo(dy, b, a), contractTo(dy, a, b)];
  },
  samples: [
    { low: -1, high: 1 },
    { low: -1, high: 1 },
  ],
  cases: [
    [["m", "k"], ["k", "n"], ["k"]],
    [["b", "m", "k"], ["n", "b", "k"], ["k"]],
    [
      ["m", "k", "l"],
      ["l", "n", "k"],
      ["k", "l"],
    ],
    [["k"], ["k"], ["k"]],
    [["m", "k"], ["k"], ["k"]],
  ].map(([a, b, over]) => ({ operands: [typed(a!), typed(b!)], attrs: { over: over! } })),
  tolerance: { f32: { absolute: 1e-5, relative: 1e-5 } },
});

function typed(names: readonly string[]): TensorType {
  const sizes: Record<string, number> = { b: 2, m: 5, n: 3, k: 7, l: 2 };
  return tensorType(
    "f32",
    names.map((name) => ({ name, size: sizes[name]! })),
  );
}

/** The contraction of a and b over the axes named. */
export const contract = (a: Node, b: Node, over: readonly string[]): Node => build("contract", [a, b], { over });
