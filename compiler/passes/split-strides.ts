/**
 * Splits a strided transposed convolution by phase. Most kernel taps only meet zeros: at stride 2, an output position
 * uses taps of one parity. For each remainder of the position by the stride, one smaller product is computed from its
 * own taps without a stride; the results are interleaved.
 *
 *     before  %t = transposed_window %y axis o into i=7 kernel k=3 stride 2    [i, k, n]
 *             %r = contract %t, %w over [n, k]                                 [i, c]
 *     after   for each remainder a contraction over [n, k'], k' one or two taps, of unstrided windows   [i=4, c]
 *             %r = their concatenation along a new axis, merged with i and cut to its size
 */
import type { Pass } from "../driver/index.ts";
import { build } from "../ir/build.ts";
import { addDims, type Dim, floorDivide } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import {
  broadcastLike,
  concat,
  constant,
  contract,
  dropAxis,
  is,
  kernelOf,
  merge,
  slice,
  split,
  stepsOf,
  transpose,
  transposedWindow,
  window,
} from "../ops/index.ts";
import { inOrderOf, nodeRule, rewritePass, sampleTensor } from "../rewrite/index.ts";

const example = (): Node =>
  contract(
    transposedWindow(
      sampleTensor("y", { o: 4, n: 5 }),
      "o",
      { name: "i", size: 7 },
      { name: "k", size: 3 },
      { stride: 2 },
    ),
    sampleTensor("w", { n: 5, k: 3, c: 2 }),
    ["n", "k"],
  );

const rules = rewritePass("split-strides", [
  nodeRule("product-of-strided-windows", { kind: "contraction", example, rewrite: splitOne }),
]);

export const splitStrides = { ...rules, needs: ["canonicalize", "decompose"] } satisfies Pass;

/** A strided transposed window within an operand. */
interface Strided {
  readonly node: Node;
  readonly kernel: Axis;
  readonly into: Axis;
  readonly stride: number;
}

/** The kernel taps that contribute to positions with one remainder: every `step`-th from `first`. */
interface Taps {
  readonly strided: Strided;
  readonly remainder: number;
  readonly first: number;
  readonly count: number;
  readonly step: number;
}

function splitOne(node: Node): Node | undefined {
  const over = node.attrs.over as string[];
  for (const which of [0, 1]) {
    const strided = stridedOf(node.operands[which]!).filter(({ kernel, into }) => {
      return over.includes(kernel.name) && !over.includes(into.name) && hasAxis(node.type, into.name);
    });
    const other = node.operands[1 - which]!;
    if (strided.length > 0 && strided.every(({ into }) => !hasAxis(other.type, into.name)))
      return apart(node, which, strided);
  }
  return undefined;
}

/** The strided ones among an operand's nested transposed windows. */
function stridedOf(x: Node): Strided[] {
  if (is(transpose, x)) return stridedOf(x.operands[0]!);
  if (!is(transposedWindow, x)) return [];
  const { stride } = stepsOf(x.attrs);
  const here = { node: x, kernel: kernelOf(x), into: x.attrs.into as unknown as Axis, stride };
  const below = stridedOf(x.operands[0]!);
  const splits = stride > 1 && !hasAxis(x.operands[0]!.type, here.kernel.name) && placesOf(here) !== undefined;
  return splits ? [here, ...below] : below;
}

/**
 * The most positions that have one remainder: the size divided by the stride, rounded up; undefined if no polynomial.
 */
function placesOf({ into, stride }: Pick<Strided, "into" | "stride">): Dim | undefined {
  return floorDivide(addDims(into.size, stride - 1), stride);
}

function apart(node: Node, which: number, strided: readonly Strided[]): Node {
  const choices = strided.reduce<readonly (readonly Taps[])[]>(
    (all, s) => all.flatMap((taps) => Array.from({ length: s.stride }, (_, r) => [...taps, tapsOf(s, r)])),
    [[]],
  );
  const last = strided.at(-1)!.into.name;
  const gap = `${last}_gap`;
  const parts = choices.map((taps) => {
    const product = productOf(node, which, taps);
    return split(product, last, [
      { name: last, size: findAxis(product.type, last)!.size },
      { name: gap, size: 1 },
    ]);
  });
  const gaps = strided.map(({ into, stride }) => ({ name: `${into.name}_of_stride`, size: stride }));
  const together = split(concat(parts, gap), gap, gaps);
  const whole = strided.reduce((x, { into }, i) => {
    const merged = merge(x, [into.name, gaps[i]!.name], into.name);
    return slice(merged, into.name, 0, into.size);
  }, together);
  return inOrderOf(node, whole);
}

/**
 * The taps for positions with this remainder: those for which remainder + low − k · dilation is a multiple of the
 * stride.
 */
function tapsOf(strided: Strided, remainder: number): Taps {
  const { node, kernel, stride } = strided;
  const { dilation } = stepsOf(node.attrs);
  const low = (node.attrs.low as number | undefined) ?? 0;
  const taps = Array.from({ length: kernel.size as number }, (_, k) => k).filter(
    (k) => (remainder + low - k * dilation) % stride === 0,
  );
  return { strided, remainder, first: taps[0] ?? 0, count: taps.length, step: (taps[1] ?? 1) - (taps[0] ?? 0) };
}

/** The product at the positions of some remainders; zeros if no tap contributes to them. */
function productOf(node: Node, which: number, taps: readonly Taps[]): Node {
  const [own, other] = [node.operands[which]!, node.operands[1 - which]!];
  const left = rebuilt(own, taps);
  const right = taps.reduce(elementsOf, other);
  const [a, b] = which === 0 ? [left, right] : [right, left];
  const product = contract(a, b, node.attrs.over as string[]);
  return taps.some((t) => t.count === 0) ? broadcastLike(constant(0, product.type.dtype), product) : product;
}

/** The operand with the strides of its windows removed. */
function rebuilt(x: Node, taps: readonly Taps[]): Node {
  const own = taps.find((t) => t.strided.node === x);
  if (!own && !is(transpose, x) && !is(transposedWindow, x)) return x;
  const inner = rebuilt(x.operands[0]!, taps);
  if (!own) return build(x.op, [inner], x.attrs);
  const { into, kernel, stride } = own.strided;
  const { dilation } = stepsOf(x.attrs);
  const low = (x.attrs.low as number | undefined) ?? 0;
  const places = { name: into.name, size: placesOf({ into, stride })! };
  return transposedWindow(
    inner,
    x.attrs.axis as string,
    places,
    { ...kernel, size: Math.max(1, own.count) },
    {
      dilation: own.count > 1 ? (own.step * dilation) / stride : 1,
      low: own.count > 0 ? (own.remainder + low - own.first * dilation) / stride : 0,
    },
  );
}

/** Every `step`-th element along the kernel's axis from `first`. */
function elementsOf(x: Node, { strided, first, count, step }: Taps): Node {
  const { name } = strided.kernel;
  const one = { name: `${name}_one`, size: 1 };
  const run = slice(x, name, first, Math.max(0, count - 1) * step + 1);
  return count > 1 && step > 1 ? dropAxis(window(run, name, name, one, step), one.name) : run;
}
