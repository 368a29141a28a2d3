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
import { broadcast, constant, input, slice, sub } from "../ops/index.ts";
import { differentiate } from "./differentiate.ts";
import { isRowWise } from "./row-wise.ts";

/** A process's shard of the samples, in equal parts of the batch. */
export interface SampleParts {
  /** The symbol of the number of samples in a part. */
  readonly samples: string;
  /** The process's first part, its number of parts, and the total number of parts. */
  readonly first: number;
  readonly count: number;
  readonly all: number;
}

/**
 * One process's share of each scalar: the shares of all processes sum to the scalar. `once` keeps a value on one
 * process and makes it 0 on the others: used for terms outside the sums over samples, and for a scalar that is not
 * linear in them.
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

/** A function that substitutes the sums in a value; undefined if the value has no sums or is not linear in them. */
function linearIn(root: Node, sums: ReadonlyMap<Node, string>) {
  if (sums.size === 0 || [...sums.keys()].some((s) => !isFloat(s.type.dtype))) return undefined;
  const places = new Map([...sums.keys()].map((s, i) => [s, input(`%sum.${i}`, s.type.dtype, s.type.axes)]));
  const open = rewriteNodes([root], (node, original) => places.get(original) ?? node).get(root)!;
  const known = new Set(places.values());
  try {
    if (topological(differentiate(open, [...known])).some((n) => known.has(n))) return undefined;
  } catch (error) {
    if (error instanceof UsageError) return undefined; // not differentiable
    throw error;
  }
  return (instead: (sum: Node, axis: string) => Node): Node => {
    const given = new Map([...sums].map(([sum, axis]) => [places.get(sum)!, instead(sum, axis)]));
    return rewriteNodes([open], (node, original) => given.get(original) ?? node).get(open)!;
  };
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

  private cut(node: Node, axis: string): Node {
    const { op, operands, attrs, type } = node;
    if (operands.length > 0 && isRowWise(node, axis))
      return build(
        op,
        operands.map((o) => this.sliced(o, axis)),
        attrs,
      );
    const before = renamedFrom(node, axis);
    if (before !== undefined) return build(op, [this.sliced(operands[0]!, before)], attrs);
    const each = this.eachPart(findAxis(type, axis)!.size)!;
    return slice(node, axis, mulDims(this.range.first, each), mulDims(this.range.count, each));
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
