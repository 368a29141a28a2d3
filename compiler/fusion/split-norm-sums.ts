/**
 * Splits sums over rows into sums over parts of rows, so that workgroups that compute tiles of rows can compute the
 * parts:
 *
 *     before  %n = reduce_sum %x over [d]
 *     after   %p = split %x d into [d=12, d_part=64]
 *             %q = reduce_sum %p over [d_part]
 *             %n = reduce_sum %q over [d]
 *
 * A sum of squared differences from a per-row value becomes the sum of squared differences from each part's own mean
 * plus the squared offsets of those means (Chan, Golub, LeVeque 1979), which avoids catastrophic cancellation. The mean
 * of such a row is computed from the mean of the first part and the other means' differences from it, so that rows far
 * from 0 are as accurate as in a kernel of their own.
 */
import { type Graph, rewriteNodes } from "../ir/graph.ts";
import { type Node, withPath } from "../ir/node.ts";
import { isElementwise } from "../ir/op.ts";
import { findAxis, hasAxis } from "../ir/type.ts";
import { add, at, broadcastLike, is, mul, reduceMax, reduceSum, split, sub } from "../ops/index.ts";

/** The axis that a sum over a single axis reduces; undefined for other nodes. */
export function summedAxis(node: Node): string | undefined {
  const over = is(reduceSum, node) ? (node.attrs.over as readonly string[]) : [];
  return over.length === 1 ? over[0] : undefined;
}

/** Splits some sums of a graph into parts of the given numbers of elements; `became` maps old nodes to new ones. */
export function splitNormSums(
  graph: Graph,
  parted: ReadonlyMap<Node, number>,
): { readonly graph: Graph; readonly became: ReadonlyMap<Node, Node> } {
  const centred = new Set([...parted.keys()].flatMap((n) => squaredDifference(n.operands[0]!, summedAxis(n)!) ?? []));
  const roots = [...graph.inputs, ...graph.outputs.map((o) => o.node)];
  const became = rewriteNodes(roots, (node, original) => {
    const width = parted.get(original);
    return width ? withPath(node.path, () => sumByParts(node, original, width, centred)) : node;
  });
  const outputs = graph.outputs.map(({ name, node }) => ({ name, node: became.get(node)! }));
  return { graph: { ...graph, outputs }, became };
}

/** A sum by parts; `centred` are the values whose squared differences are summed too. */
function sumByParts(node: Node, original: Node, width: number, centred: ReadonlySet<Node>): Node {
  const axis = summedAxis(original)!;
  const part = `${axis}_part`;
  const size = findAxis(original.operands[0]!.type, axis)!.size as number;
  const into = [
    { name: axis, size: size / width },
    { name: part, size: width },
  ];
  const inParts = (x: Node): Node => split(x, axis, into);
  // A second pass adds the mean difference from what the first one found: a sum of many numbers far from 0 is inexact.
  // The largest of equal numbers makes the mean a reduction itself, so that it is stored in place of both sums.
  const meanOfPart = (x: Node): Node => {
    const near = mul(reduceSum(inParts(x), [part]), 1 / width);
    const mean = add(near, mul(reduceSum(sub(inParts(x), near), [part]), 1 / width));
    return reduceMax(broadcastLike(mean, inParts(x)), [part]);
  };
  const [x] = node.operands;
  if (!squaredDifference(original.operands[0]!, axis)) {
    if (!centred.has(original.operands[0]!)) return reduceSum(reduceSum(inParts(x!), [part]), [axis]);
    const means = meanOfPart(x!);
    const first = at(means, axis, 0);
    return add(mul(first, size), mul(reduceSum(sub(means, first), [axis]), width));
  }
  const [a, value] = x!.operands[0]!.operands as [Node, Node];
  const mean = meanOfPart(a);
  const apart = sub(inParts(a), mean);
  const squares = reduceSum(mul(apart, apart), [part]);
  const off = sub(mean, value);
  return reduceSum(add(squares, mul(mul(off, off), width)), [axis]);
}

/** If x is (a − b)² and b is one number per row: a. */
function squaredDifference(x: Node, axis: string): Node | undefined {
  if (!is(mul, x) || x.operands[0] !== x.operands[1]) return undefined;
  const [difference] = x.operands;
  const [a, b] = difference!.operands;
  return is(sub, difference!) && hasAxis(a!.type, axis) && !hasAxis(b!.type, axis) ? a : undefined;
}

/** Whether a row sum can be split: its elements depend on no other sum of the row, except for b in squares (a − b)². */
export function sumsParts(node: Node, cores: readonly Node[]): boolean {
  const axis = summedAxis(node);
  if (axis === undefined) return false;
  const [x] = node.operands;
  const needs = (n: Node): boolean => cores.includes(n) || (isElementwise(n) && n.operands.some(needs));
  return !needs(squaredDifference(x!, axis) ?? x!);
}
