/**
 * Splits long reductions of few rows in two: parts of each row first, then the parts. One thread, or one workgroup, would
 * else do nearly all the work.
 *
 *     before  %n = reduce_sum %x over [arena]                    x: f32[arena=811008]
 *     after   %p = split %x arena into [arena=64, arena_part=12672]
 *             %q = reduce_sum %p over [arena_part]
 *             %n = reduce_sum %q over [arena]
 */
import type { Pass } from "../driver/index.ts";
import { foldsParts } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import { rewriteGraph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { foldOf, isReduction } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { split } from "../ops/index.ts";

/** Sums of at least this many elements are split, ... */
const longRow = 8192;
/** ... where there are fewer rows than this ... */
const manyRows = 256;
/** ... into about as many parts in all. */
const parts = 2048;

const size = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * Number(a.size), 1);

export const splitReductions: Pass = {
  name: "split-reductions",
  needs: ["canonicalize", "decompose"],
  run: (graph) =>
    rewriteGraph(graph, (node) => (isReduction(node) && foldsParts(foldOf(node)!.fold) ? splitOne(node) : node)),
};

function splitOne(node: Node): Node {
  const x = node.operands[0]!;
  const over = node.attrs.over as string[];
  const rows = size(node.type.axes);
  const width = size(over.map((n) => findAxis(x.type, n)!));
  if (width < longRow || rows >= manyRows) return node;
  const longest = over.map((n) => findAxis(x.type, n)!).reduce((a, b) => (Number(b.size) > Number(a.size) ? b : a));
  const count = divisorNear(Number(longest.size), parts / rows);
  if (count === 1 || count === longest.size) return node;
  const inner = `${longest.name}_part`;
  const apart = split(x, longest.name, [
    { name: longest.name, size: count },
    { name: inner, size: Number(longest.size) / count },
  ]);
  const partial = build(node.op, [apart], { over: [...over.filter((n) => n !== longest.name), inner] });
  return build(node.op, [partial], { over: [longest.name] });
}

/** The largest divisor of n up to a bound. */
function divisorNear(n: number, bound: number): number {
  for (let d = Math.min(n, Math.floor(bound)); d > 1; d--) if (n % d === 0) return d;
  return 1;
}
