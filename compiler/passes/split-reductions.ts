/**
 * Splits long reductions of few rows into two stages: parts of each row, then the parts. Otherwise one thread or
 * workgroup would do nearly all the work.
 *
 *     before  %n = reduce_sum %x over [arena]                    x: f32[arena=811008]
 *     after   %p = split %x arena into [arena=64, arena_part=12672]
 *             %q = reduce_sum %p over [arena_part]
 *             %n = reduce_sum %q over [arena]
 */
import type { Pass } from "../driver/index.ts";
import { foldsParts } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import { boundsOf } from "../ir/dim.ts";
import { rewriteGraph } from "../ir/graph.ts";
import type { SizedAxis } from "../ir/host-tensor.ts";
import type { Node } from "../ir/node.ts";
import { foldOf, isReduction } from "../ir/op.ts";
import { type Axis, axisNames, findAxis, hasAxis } from "../ir/type.ts";
import { cast, reduceSum, split, transpose } from "../ops/index.ts";

/** Reductions of at least this many elements are split, ... */
const longRow = 8192;
/** ... if there are fewer than `rows` rows, ... */
interface Few {
  readonly rows: number;
  /** ... into about this many parts in total. */
  readonly parts: number;
}
const apart: Few = { rows: 256, parts: 2048 };
/** Rows adjacent in memory, as in per-channel sums, share workgroups: it takes more of them to fill a device. */
const sideBySide: Few = { rows: 4096, parts: 16384 };

/** The number of elements; the minimum for a symbolic size. */
const size = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * boundsOf(a.size).min, 1);

export const splitReductions: Pass = {
  name: "split-reductions",
  needs: ["canonicalize", "decompose"],
  run: (graph) => rewriteGraph(graph, (node) => (isSplittable(node) ? splitOne(node) : node)),
};

/** A reduction whose parts fold separately, or a contraction where only one operand has axes of its own. */
function isSplittable(node: Node): boolean {
  if (isReduction(node)) return foldsParts(foldOf(node)!.fold);
  if (foldOf(node)?.kind !== "contraction") return false;
  const [a, b] = node.operands as [Node, Node];
  const own = (x: Node, y: Node) =>
    size(node.type.axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name)));
  return own(a, b) === 1 || own(b, a) === 1;
}

function splitOne(node: Node): Node {
  const largest = node.operands.reduce((x, y) => (size(y.type.axes) > size(x.type.axes) ? y : x));
  const over = node.attrs.over as string[];
  const axes = over.map((n) => findAxis(largest.type, n)!);
  const [rows, width] = [size(node.type.axes), size(axes)];
  const few = over.includes(largest.type.axes.at(-1)!.name) ? apart : sideBySide;
  if (width < longRow || !(rows < few.rows)) return node;
  const known = axes.filter((a): a is SizedAxis => typeof a.size === "number");
  const longest = known.reduce((a, b) => (b.size > a.size ? b : a), { name: "", size: 1 });
  const count = divisorNear(longest.size, few.parts / rows);
  const others = over.filter((n) => n !== longest.name);
  if (count === 1 || (count === longest.size && others.length === 0)) return node;
  const inner = `${longest.name}_part`;
  const into = [
    { name: longest.name, size: count },
    { name: inner, size: longest.size / count },
  ];
  const parts = count === longest.size ? node.operands : node.operands.map((x) => split(x, longest.name, into));
  const rest = { over: count === longest.size ? others : [...others, inner] };
  // A part may still be long if the longest axis has few divisors: it is split along another axis.
  if (isReduction(node)) return build(node.op, [splitOne(build(node.op, parts, rest))], { over: [longest.name] });
  // Partial sums of f16 are f32, like the accumulator of the whole sum.
  const products = splitOne(
    build(
      node.op,
      parts.map((x) => cast(x, "f32")),
      rest,
    ),
  );
  return transpose(cast(reduceSum(products, [longest.name]), node.type.dtype), axisNames(node.type));
}

/** The largest divisor of n up to a bound. */
function divisorNear(n: number, bound: number): number {
  for (let d = Math.min(n, Math.floor(bound)); d > 1; d--) if (n % d === 0) return d;
  return 1;
}
