/**
 * Windows of products: a convolution's gradient sums, over the kernel, windows of a product with an element for every
 * position and kernel tap. Rewritten as a product of windows, the result is only as large as the feature map.
 */
import { build } from "../../ir/build.ts";
import { addDims, type Dim } from "../../ir/dim.ts";
import type { Node } from "../../ir/node.ts";
import { foldOf } from "../../ir/op.ts";
import { type Axis, hasAxis } from "../../ir/type.ts";
import {
  contract,
  is,
  kernelOf,
  mul,
  pad,
  reduceSum,
  slice,
  split,
  stepsOf,
  transpose,
  transposedWindow,
  window,
} from "../../ops/index.ts";
import { inOrderOf, nodeRule, type Rule, refuse, sampleTensor } from "../../rewrite/index.ts";
import { operand, sizeIn, sliceOf } from "./movement-samples.ts";

const overOf = (node: Node): readonly string[] => node.attrs.over as string[];
const isWindow = (node: Node): boolean => is(window, node) || is(transposedWindow, node);
const axisOf = (node: Node): string => node.attrs.axis as string;
const intoOf = (node: Node): Axis => node.attrs.into as unknown as Axis;
/** The position axis of a window's result. */
const placesOf = (node: Node): string => (is(window, node) ? (node.attrs.out as string) : intoOf(node).name);

/** Looks through transposes. */
const unordered = (node: Node): Node => (is(transpose, node) ? unordered(operand(node)) : node);

const three = { name: "k", size: 3 };
const product = (): Node => contract(sampleTensor("y", { o: 5, n: 4 }), sampleTensor("w", { n: 4, k: 3, c: 2 }), ["n"]);

/** A product of which exactly one operand has a certain axis. */
interface Apart {
  readonly node: Node;
  /** The operand that has the axis. */
  readonly which: number;
}

function apartBy(node: Node, axis: string): Apart | undefined {
  if (foldOf(node)?.kind !== "contraction" && !is(mul, node)) return undefined;
  const owners = [0, 1].filter((i) => hasAxis(node.operands[i]!.type, axis));
  return owners.length === 1 ? { node, which: owners[0]! } : undefined;
}

/** The product with the operand that has the axis replaced, summed over more axes. */
function rebuilt({ node, which }: Apart, change: (x: Node) => Node, more: readonly string[]): Node {
  const [a, b] = node.operands.map((o, i) => (i === which ? change(o) : o)) as [Node, Node];
  return contract(a, b, [...(is(mul, node) ? [] : overOf(node)), ...more]);
}

/** Looks through zero pads and slices along an axis; `again` applies the same ones to another value. */
function edgesOf(node: Node, axis: string): { inner: Node; again: (x: Node) => Node } {
  const x = unordered(node);
  if (is(slice, x) && axisOf(x) === axis) {
    const { inner, again } = edgesOf(operand(x), axis);
    const { start, length } = sliceOf(x);
    return { inner, again: (y) => slice(again(y), axis, start, length) };
  }
  if (is(pad, x) && axisOf(x) === axis && !x.attrs.value) {
    const { inner, again } = edgesOf(operand(x), axis);
    return { inner, again: (y) => pad(again(y), axis, x.attrs.low as Dim, x.attrs.high as Dim) };
  }
  return { inner: x, again: (y) => y };
}

/**
 * before  %p = contract %y, %w over [n]                      [o, k, c]
 *         %s = transposed_window %p axis o into i kernel k   [i, k, c]
 *         %r = reduce_sum %s over [k]                        [i, c]
 * after   %t = transposed_window %y axis o into i kernel k   [i, k, n]
 *         %r = contract %t, %w over [n, k]
 */
function sumOfWindows(node: Node): Node | undefined {
  const windows = unordered(operand(node));
  if (!isWindow(windows) || !overOf(node).includes(kernelOf(windows).name)) return undefined;
  const [axis, kernel] = [axisOf(windows), kernelOf(windows).name];
  const { inner, again } = edgesOf(operand(windows), axis);
  const apart = apartBy(inner, axis);
  if (!apart || kernel === axis) return undefined;
  // A one-tap kernel with a stride: spreading the product sums nothing, and is cheaper than a product of spread values.
  if (kernelOf(windows).size === 1 && stepsOf(windows.attrs).stride > 1) return undefined;
  const [own, other] = [inner.operands[apart.which]!, inner.operands[1 - apart.which]!];
  if (hasAxis(own.type, kernel) || !hasAxis(other.type, kernel)) return undefined;
  if (hasAxis(own.type, placesOf(windows)) && placesOf(windows) !== axis) return undefined;
  const result = rebuilt(apart, (x) => build(windows.op, [again(x)], windows.attrs), [kernel]);
  const rest = overOf(node).filter((n) => n !== kernel);
  return inOrderOf(node, rest.length === 0 ? result : reduceSum(result, rest));
}

/** Whether an axis is the position axis of a transposed window, looking through windows along other axes. */
function isSpread(node: Node, axis: string): boolean {
  const x = unordered(node);
  if (!is(transposedWindow, x)) return false;
  return intoOf(x).name === axis || (kernelOf(x).name !== axis && isSpread(operand(x), axis));
}

/** A slice of a transposed window; along its position axis, the window starts later and is shorter. */
function partOf(x: Node, axis: string, start: Dim, length: Dim): Node | undefined {
  if (axis === kernelOf(x).name) return undefined;
  if (axis !== intoOf(x).name) return build(x.op, [slice(operand(x), axis, start, length)], x.attrs);
  const low = addDims((x.attrs.low as number | undefined) ?? 0, start);
  if (typeof low !== "number") return undefined;
  return transposedWindow(operand(x), axisOf(x), { name: axis, size: length }, kernelOf(x), {
    ...stepsOf(x.attrs),
    low,
  });
}

export const windowRules: readonly Rule[] = [
  nodeRule("sum-of-windows", {
    of: reduceSum,
    example: () => reduceSum(transposedWindow(product(), "o", { name: "i", size: 7 }, three), ["k"]),
    rewrite: sumOfWindows,
  }),
  // Windows along both axes of a feature map, as in the gradient of pooling: one sum over both kernels.
  nodeRule("sum-of-windows-of-sum", {
    of: reduceSum,
    example: () => {
      const x = transposedWindow(sampleTensor("y", { o: 5, p: 4 }), "o", { name: "i", size: 7 }, three);
      const one = { name: "l", size: 2 };
      return reduceSum(transposedWindow(reduceSum(x, ["k"]), "p", { name: "j", size: 5 }, one), ["l"]);
    },
    rewrite: (node) => {
      const windows = unordered(operand(node));
      if (!is(transposedWindow, windows) || !overOf(node).includes(kernelOf(windows).name)) return undefined;
      const inner = unordered(operand(windows));
      if (!is(reduceSum, inner) || !is(transposedWindow, unordered(operand(inner)))) return undefined;
      const names = [intoOf(windows).name, kernelOf(windows).name];
      if (overOf(inner).some((n) => names.includes(n)))
        return refuse("an axis of the windows has the name of one that is summed");
      const both = build(windows.op, [operand(inner)], windows.attrs);
      return inOrderOf(node, reduceSum(both, [...overOf(node), ...overOf(inner)]));
    },
  }),
  nodeRule("slice-of-transposed-window", {
    of: slice,
    operand: transposedWindow,
    example: () => slice(transposedWindow(product(), "o", { name: "i", size: 7 }, three), "i", 1, 5),
    rewrite: (node, inner) => {
      const { axis, start, length } = sliceOf(node);
      const x = partOf(inner, axis, start, length);
      return x && inOrderOf(node, x);
    },
  }),
  // The gradient of a padded feature map: only the unpadded part is computed.
  nodeRule("slice-of-sum-of-windows", {
    of: slice,
    example: () =>
      slice(
        contract(
          transposedWindow(sampleTensor("y", { o: 5, n: 4 }), "o", { name: "i", size: 7 }, three),
          sampleTensor("w", { k: 3, n: 4 }),
          ["n", "k"],
        ),
        "i",
        1,
        5,
      ),
    rewrite: (node) => {
      const { axis, start, length } = sliceOf(node);
      const x = unordered(operand(node));
      const cut = (y: Node): Node => slice(y, axis, start, length);
      if (is(reduceSum, x) && isSpread(operand(x), axis)) return inOrderOf(node, reduceSum(cut(operand(x)), overOf(x)));
      const apart = foldOf(x)?.kind === "contraction" ? apartBy(x, axis) : undefined;
      if (!apart || !isSpread(x.operands[apart.which]!, axis)) return undefined;
      return inOrderOf(node, rebuilt(apart, cut, []));
    },
  }),
  nodeRule("window-of-one", {
    of: window,
    example: () => window(sampleTensor("x", { a: 6, b: 2 }), "a", "o", { name: "k", size: 1 }),
    rewrite: (node) => {
      const kernel = kernelOf(node);
      if (kernel.size !== 1 || stepsOf(node.attrs).stride !== 1) return undefined;
      if (hasAxis(operand(node).type, kernel.name)) return refuse("x has the kernel's axis");
      const into = [{ name: node.attrs.out as string, size: sizeIn(operand(node), axisOf(node)) }, kernel];
      return inOrderOf(node, split(operand(node), axisOf(node), into));
    },
  }),
  nodeRule("transposed-window-of-one", {
    of: transposedWindow,
    example: () =>
      transposedWindow(sampleTensor("x", { a: 6, b: 2 }), "a", { name: "o", size: 6 }, { name: "k", size: 1 }),
    rewrite: (node) => {
      const [kernel, into, x] = [kernelOf(node), intoOf(node), operand(node)];
      const low = (node.attrs.low as number | undefined) ?? 0;
      const isAll = kernel.size === 1 && stepsOf(node.attrs).stride === 1 && low === 0;
      if (!isAll || sizeIn(x, axisOf(node)) !== into.size || hasAxis(x.type, kernel.name)) return undefined;
      return inOrderOf(node, split(x, axisOf(node), [into, kernel]));
    },
  }),
];
