/** Matrix products as contractions over a shared axis. */
import { type Dim, type Node, ops } from "../../../../compiler/index.ts";
import { broadcastShape, namesOf, pointwise, sharedNames, unequal } from "../broadcast.ts";
import { isFloatType } from "../elements.ts";
import { type NodeView, withShape } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, known, type Tensor, tensor, type Value } from "../values.ts";

/** Matmul of the last two dimensions with broadcast batch dimensions; vectors are rows or columns. */
export function matmul(n: NodeView, left: Value, right: Value): Tensor {
  if (left.shape.length === 0 || right.shape.length === 0) throw n.fail("expected a matrix, got a scalar");
  const isRow = left.shape.length === 1;
  const isColumn = right.shape.length === 1;
  const [ra, rb] = [left.shape.length, right.shape.length];
  const [inner, other] = [left.shape[ra - 1]!, right.shape[isColumn ? 0 : rb - 2]!];
  if (inner !== other) throw n.fail(unequal(inner, other));
  const [batchA, batchB] = [left.shape.slice(0, -2), right.shape.slice(0, -2)];
  const batch = broadcastShape(n, [batchA, batchB]);
  const axesOf = (v: Value, from: number, to?: number) => (v.kind === "tensor" ? v.axes.slice(from, to) : []);
  // Axis names: batch from either side, then rows, contracted, columns; all distinct.
  const batchNames = sharedNames(batch, [part(left, 0, -2), part(right, 0, -2)], "batch");
  const names: (string | undefined)[] = [...batchNames];
  const pick = (own: string | undefined, base: string) => {
    const name =
      own !== undefined && !names.includes(own) ? own : freshName(own ?? base, [...names, ...namesOf([left])]);
    names.push(name);
    return name;
  };
  const dot = pick(axesOf(left, ra - 1)[0] ?? axesOf(right, isColumn ? 0 : rb - 2, isColumn ? 1 : rb - 1)[0], "in");
  const row = isRow ? undefined : pick(axesOf(left, ra - 2, ra - 1)[0], "row");
  const column = isColumn ? undefined : pickColumn();
  function pickColumn(): string {
    const own = axesOf(right, rb - 1)[0];
    const name = own !== undefined && !names.includes(own) ? own : freshName(own ?? dot, names);
    names.push(name);
    return name;
  }
  const a = n.named(left, [...batchNames.slice(batch.length - batchA.length), ...(isRow ? [] : [row]), dot]);
  const b = n.named(right, [...batchNames.slice(batch.length - batchB.length), dot, ...(isColumn ? [] : [column])]);
  const node = inner === 1 ? ops.mul(a, b) : product(n, a, b, dot, left.type.dtype);
  const shape = [...batch, ...(isRow ? [] : [left.shape[ra - 2]!]), ...(isColumn ? [] : [right.shape[rb - 1]!])];
  return tensor(left.type, shape, [...batchNames, ...(isRow ? [] : [row]), ...(isColumn ? [] : [column])], node);
}

/** Integers use multiply and sum, since contractions are float only. */
function product(_n: NodeView, a: Node, b: Node, dot: string, dtype: Node["type"]["dtype"]): Node {
  if (dtype === "f32" || dtype === "f16") return ops.contract(a, b, [dot]);
  return ops.reduceSum(ops.mul(a, b), [dot]);
}

function part(v: Value, from: number, to: number): Value {
  if (v.kind !== "tensor") return known(v.type, [], [0]);
  const shape = v.shape.slice(from, to);
  return { ...v, shape, axes: v.axes.slice(from, to) };
}

const swapped = (n: NodeView, value: Value): Value => {
  const x = n.tensor(value, ["out", "in"]);
  if (x.shape.length !== 2) throw n.fail(`expected a matrix, got ${x.shape.length} dimensions`);
  return withShape(x, [
    [x.shape[1]!, x.axes[1]],
    [x.shape[0]!, x.axes[0]],
  ]);
};

/** alpha · A · B + beta · C, with A and B optionally transposed. */
export function gemm(n: NodeView): Value {
  const [left, right] = [n.in(0), n.in(1)];
  if (left.shape.length !== 2 || right.shape.length !== 2) throw n.fail("both inputs must be matrices");
  const a = n.flag("transA") ? swapped(n, left) : left;
  const b = n.flag("transB") ? swapped(n, right) : right;
  const made = matmul(n, a, b);
  const [alpha, beta] = [n.float("alpha", 1), n.float("beta", 1)];
  const scaled = alpha === 1 ? made : { ...made, node: scaledBy(n, made.node, alpha, left) };
  const c = n.inputs[2];
  if (!c) return scaled;
  const sum = pointwise(n, [scaled, c], ([x, y]) => ops.add(x!, beta === 1 ? y! : scaledBy(n, y!, beta, left)));
  if (sum.shape.some((d, i) => d !== scaled.shape[i])) throw n.fail("C does not broadcast to the product");
  return sum;
}

function scaledBy(n: NodeView, node: Node, by: number, like: Value): Node {
  if (!isFloatType(like.type) && !Number.isInteger(by)) throw n.fail(`integers cannot be scaled by ${by}`);
  return ops.mul(node, by);
}

/** onnxruntime's matmul with optionally transposed operands. */
function fusedMatmul(n: NodeView): Value {
  const turned = (i: number, name: string) => {
    const value = n.in(i);
    if (!n.flag(name)) return value;
    const x = n.tensor(value, ["batch", "out", "in"]);
    const order = x.shape.map((_, k) => k);
    const last = order.length - 1;
    [order[last - 1], order[last]] = [last, last - 1];
    return withShape(
      x,
      order.map((k) => [x.shape[k]!, x.axes[k]]),
    );
  };
  const made = matmul(n, turned(0, "transA"), turned(1, "transB"));
  const alpha = n.float("alpha", 1);
  return alpha === 1 ? made : { ...made, node: ops.mul(made.node, alpha) };
}

/** Einsum; each letter is an axis. */
function einsum(n: NodeView): Value {
  const formula = n.text("equation", "").replace(/\s/g, "");
  const [from = "", given] = formula.split("->");
  const terms = from.split(",");
  if (terms.length !== n.inputs.length)
    throw n.fail(`"${formula}" has ${terms.length} operands, but the node has ${n.inputs.length} inputs`);
  const spread = terms.map((t, i) => spelled(n, t, n.in(i).shape.length));
  const sizes = letterSizes(n, spread);
  const out = given === undefined ? implied(spread) : spelled(n, given, undefined, spread);
  const wrong = out.find((l, i) => out.indexOf(l) !== i || (!sizes.has(l) && !/\d/.test(l)));
  if (wrong !== undefined)
    throw n.fail(
      `the result of "${formula}" names ${wrong} ${sizes.has(wrong) ? "twice" : "which no operand has"}; expected letters of the operands, each once`,
    );
  const name = (l: string) => `letter_${l}`;
  const operands = spread.map((letters, i) => diagonal(n, n.in(i), letters.map(name)));
  return tensor(
    n.in(0).type,
    out.map((l) => sizes.get(l) ?? 1),
    out.map(name),
    contracted(operands, new Set(out.map(name))),
  );
}

/** The size of each letter of the terms; one of 1 is broadcast. */
function letterSizes(n: NodeView, terms: readonly (readonly string[])[]): ReadonlyMap<string, Dim> {
  const sizes = new Map<string, Dim>();
  for (const [i, letters] of terms.entries())
    letters.forEach((l, d) => {
      const size = n.in(i).shape[d]!;
      if (sizes.has(l) && sizes.get(l) !== size && size !== 1 && sizes.get(l) !== 1)
        throw n.fail(unequal(sizes.get(l)!, size));
      if (!sizes.has(l) || sizes.get(l) === 1) sizes.set(l, size);
    });
  return sizes;
}

/** The product of the operands from left to right, each axis summed as soon as no later operand has it. */
function contracted(operands: readonly Node[], keep: ReadonlySet<string>): Node {
  let made = reducedTo(operands[0]!, keep, operands.slice(1));
  for (let i = 1; i < operands.length; i++) {
    const later = operands.slice(i + 1);
    const next = reducedTo(operands[i]!, keep, [made, ...later]);
    const over = axisNames(made).filter((a) => hasAxis(next, a) && !keep.has(a) && !later.some((o) => hasAxis(o, a)));
    made = over.length > 0 ? products(made, next, over) : ops.mul(made, next);
  }
  const extra = axisNames(made).filter((a) => !keep.has(a));
  return extra.length > 0 ? ops.reduceSum(made, extra) : made;
}

const axisNames = (node: Node): readonly string[] => node.type.axes.map((a) => a.name);
const hasAxis = (node: Node, name: string): boolean => node.type.axes.some((a) => a.name === name);

const products = (a: Node, b: Node, over: readonly string[]): Node =>
  a.type.dtype === "f32" || a.type.dtype === "f16" ? ops.contract(a, b, over) : ops.reduceSum(ops.mul(a, b), over);

/** Sums over axes that neither the result nor the other operands need. */
function reducedTo(node: Node, keep: ReadonlySet<string>, others: readonly Node[]): Node {
  const over = axisNames(node).filter((a) => !keep.has(a) && !others.some((o) => hasAxis(o, a)));
  return over.length === 0 ? node : ops.reduceSum(node, over);
}

/** The letters of a term; "..." expands to the remaining dimensions. */
function spelled(
  n: NodeView,
  term: string,
  rank: number | undefined,
  terms: readonly (readonly string[])[] = [],
): string[] {
  const [before = "", after] = term.split("...");
  if (!/^[A-Za-z]*$/.test(before + (after ?? ""))) throw n.fail(`"${term}" must consist of letters`);
  if (after === undefined) {
    if (rank !== undefined && before.length !== rank)
      throw n.fail(`"${term}" names ${before.length} dimensions, but the input has ${rank}`);
    return [...before];
  }
  const most = Math.max(0, ...terms.map((t) => t.filter((l) => /\d/.test(l)).length));
  const count = rank === undefined ? most : rank - before.length - after.length;
  if (count < 0) throw n.fail(`"${term}" names more than the ${rank} dimensions of the input`);
  const dots = Array.from({ length: count }, (_, i) => String(count - i));
  return [...before, ...dots, ...after];
}

/** The implicit output term: the letters that occur once, in alphabetical order. */
function implied(terms: readonly (readonly string[])[]): string[] {
  const all = terms.flat();
  const dots = [...new Set(all.filter((l) => /\d/.test(l)))].sort((a, b) => Number(b) - Number(a));
  const once = all.filter((l) => !/\d/.test(l) && all.indexOf(l) === all.lastIndexOf(l)).sort();
  return [...dots, ...once];
}

/** A value with the given axis names; a repeated name takes the diagonal. */
function diagonal(n: NodeView, value: Value, names: readonly string[]): Node {
  const own = names.map((name, i) => (names.indexOf(name) === i ? name : `${name}_again_${i}`));
  let node = n.named(value, own);
  own.forEach((name, i) => {
    if (name === names[i] || value.shape[i] === 1) return;
    node = ops.gather(node, ops.iota({ name: names[i]!, size: value.shape[i]! }, "i32"), name);
  });
  return node;
}

export const productRecords: Records = {
  MatMul: { build: (n) => matmul(n, n.in(0), n.in(1)) },
  Gemm: { build: gemm },
  Einsum: { build: einsum },
  "com.microsoft.FusedMatMul": { build: fusedMatmul },
};
