/**
 * Splits a value of the whole batch into a sum of shares, one per process: each process takes the terms of its own
 * samples in every sum over samples, and so computes only its rows and columns of the logits of all pairs.
 *
 *     whole   mean over [image] of cross_entropy(image · text) + mean over [text] of cross_entropy(text · image)
 *     share   the same with the sums over a process's images, and over its texts, divided by the number of all
 */
import { UsageError } from "../diagnostics/error.ts";
import { build } from "../ir/build.ts";
import { bindDim, type Dim, dimValue, mulDims, symbol as namedSize, symbolsOf } from "../ir/dim.ts";
import { isFloat } from "../ir/dtype.ts";
import { rewriteNodes, topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { foldOf, isBijective } from "../ir/op.ts";
import { findAxis, hasAxis } from "../ir/type.ts";
import { broadcast, constant, dynamicSlice, input, mul, slice, sub } from "../ops/index.ts";
import { differentiate } from "./differentiate.ts";
import { isRowWise } from "./row-wise.ts";

/** A process's shard of the samples, in equal parts of the batch. */
export interface SampleParts {
  /** The symbol of the number of samples in a part. */
  readonly samples: string;
  /** The process's first part; or its first sample, as an i32 scalar that is known when the graph runs. */
  readonly first: number | Node;
  /** The process's number of parts, and the total number of parts. */
  readonly count: number;
  readonly all: number;
}

/**
 * One process's share of each scalar: the shares of all processes sum to the scalar. `once` keeps a value on one
 * process and makes it 0 on the others: used for terms outside the sums over samples, and for a scalar that is not
 * linear in them. Sums that others are multiplied or divided by, such as the number of samples that count, are computed
 * by every process.
 */
export function sampleShares(roots: readonly Node[], range: SampleParts, once: (whole: Node) => Node): Node[] {
  const cut = new Cut(range);
  return roots.map((root) => {
    const linear = linearIn(root, outermostSums(root, cut));
    if (!linear) return once(root);
    const share = linear((sum, axis) => cut.partOf(sum, axis));
    const rest = linear(({ type: { dtype, axes } }) => broadcast(constant(0, dtype), axes));
    return sub(share, sub(rest, once(rest)));
  });
}

/** The outermost sums over all samples in a value, each with its axis; sums nested inside them are left out. */
function outermostSums(root: Node, cut: Cut): Map<Node, string> {
  const sums = new Map<Node, string>();
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    const axis = cut.summedAxis(node);
    if (axis === undefined) node.operands.forEach(visit);
    else sums.set(node, axis);
  };
  visit(root);
  return sums;
}

/** A function that substitutes sums in a value that is linear in them; undefined if there are none. */
function linearIn(root: Node, sums: ReadonlyMap<Node, string>) {
  const floats = [...sums.keys()].filter((s) => isFloat(s.type.dtype));
  const places = floats.map((s, i) => input(`%sum.${i}`, s.type.dtype, s.type.axes));
  const placeOf = new Map(floats.map((s, i) => [s, places[i]!]));
  const open = rewriteNodes([root], (node, original) => placeOf.get(original) ?? node).get(root)!;
  const shared = jointlyLinear(open, places);
  if (shared.size === 0) return undefined;
  return (instead: (sum: Node, axis: string) => Node): Node => {
    const given = new Map(
      floats.map((s, i) => [places[i]!, shared.has(places[i]!) ? instead(s, sums.get(s)!) : s] as const),
    );
    return rewriteNodes([open], (node, original) => given.get(original) ?? node).get(open)!;
  };
}

/**
 * Some of `places` in which a value is linear together: no derivative by one of them depends on one of them, and
 * neither does a comparison, which has no derivative. In s / n these are s alone.
 */
function jointlyLinear(open: Node, places: readonly Node[]): ReadonlySet<Node> {
  const found = new Set<Node>();
  const compared = new Set(topological(topological([open]).filter((n) => !isFloat(n.type.dtype))));
  try {
    const slopes = new Map(differentiate(open, places).map((slope, i) => [places[i]!, new Set(topological([slope]))]));
    const isLinear = (a: Node, b: Node) => !slopes.get(a)!.has(b) && !slopes.get(b)!.has(a);
    for (const place of places)
      if (!compared.has(place) && [...found, place].every((other) => isLinear(place, other))) found.add(place);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error; // otherwise not differentiable
  }
  return found;
}

class Cut {
  private readonly range: SampleParts;
  private readonly made = new Map<string, Map<Node, Node>>();

  constructor(range: SampleParts) {
    this.range = range;
  }

  /** The axis over all samples that a node sums, if any. */
  summedAxis(node: Node): string | undefined {
    const core = foldOf(node);
    if (!core || (core.kind !== "contraction" && core.fold.repeated !== "times")) return undefined;
    return core.over(node.attrs).find((name) => {
      const axis = node.operands.flatMap((o) => findAxis(o.type, name) ?? [])[0];
      return axis !== undefined && this.eachPart(axis.size) !== undefined;
    });
  }

  /** A sum restricted to the process's samples. */
  partOf(sum: Node, axis: string): Node {
    return build(
      sum.op,
      sum.operands.map((o) => this.sliced(o, axis)),
      sum.attrs,
    );
  }

  /** The number of elements per part along an axis over all samples; undefined for other axes. */
  private eachPart(size: Dim): Dim | undefined {
    const { samples, all } = this.range;
    const [symbol, ...more] = symbolsOf(size);
    if (symbol?.name !== samples || more.length > 0) return undefined;
    const [one, two] = [1, 2].map((n) => dimValue(bindDim(size, { [samples]: n }), {})) as [number, number];
    return two === 2 * one && one % all === 0 ? mulDims(one / all, namedSize(symbol.name, symbol)) : undefined;
  }

  /** The process's rows of a node along an axis over all samples, computed from as little as possible. */
  private sliced(node: Node, axis: string): Node {
    if (!hasAxis(node.type, axis)) return node;
    const known = this.made.get(axis) ?? new Map<Node, Node>();
    this.made.set(axis, known);
    const made = known.get(node) ?? this.cut(node, axis);
    known.set(node, made);
    return made;
  }

  /** The samples' axis before a movement that merges others into it, of which each sample's elements stay together. */
  private mergedFrom(node: Node, axis: string): string | undefined {
    const [x] = node.operands;
    const values = Object.values(node.attrs);
    if (!x || !isBijective(node) || x.type.axes.length <= node.type.axes.length || !values.includes(axis))
      return undefined;
    const merged = values.find((v) => Array.isArray(v) && v.every((n) => typeof n === "string" && hasAxis(x.type, n)));
    const [slowest] = (merged ?? []) as readonly string[];
    return slowest !== undefined && this.eachPart(findAxis(x.type, slowest)!.size) !== undefined ? slowest : undefined;
  }

  private cut(node: Node, axis: string): Node {
    const { op, operands, attrs, type } = node;
    if (operands.length > 0 && isRowWise(node, axis))
      return build(
        op,
        operands.map((o) => this.sliced(o, axis)),
        attrs,
      );
    const before = renamedFrom(node, axis) ?? this.mergedFrom(node, axis);
    if (before !== undefined) return build(op, [this.sliced(operands[0]!, before)], attrs);
    const { size } = findAxis(type, axis)!;
    const { first, count, all, samples } = this.range;
    const length = mulDims(count, this.eachPart(size)!);
    if (typeof first === "number") return slice(node, axis, mulDims(first, this.eachPart(size)!), length);
    const rows = dimValue(bindDim(size, { [samples]: 1 }), {}) / all; // of a sample
    return dynamicSlice(node, axis, mul(first, rows), length);
  }
}

/** The old name of an axis, for a movement that only renames it. */
function renamedFrom(node: Node, axis: string): string | undefined {
  const [x] = node.operands;
  if (!x || !isBijective(node) || x.type.axes.length !== node.type.axes.length) return undefined;
  const gone = x.type.axes.filter((a) => !hasAxis(node.type, a.name));
  const isFresh = !hasAxis(x.type, axis);
  return isFresh && gone.length === 1 && gone[0]!.size === findAxis(node.type, axis)!.size ? gone[0]!.name : undefined;
}
