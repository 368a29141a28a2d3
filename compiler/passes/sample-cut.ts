/**
 * Where a loss begins to compare samples: what each sample gives by itself, the features, is computed in parts of a batch,
 * and what compares them for the whole. Gao et al. 2021, arXiv:2101.06983, section 3. Decided from what records say.
 */
import { type Dim, isSymbolic, loneSymbol, symbolsOf } from "../ir/dim.ts";
import { topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { coreOf, isBijective, isFeed, isParameter, operandsAs, sourceOf } from "../ir/op.ts";
import { type Axis, findAxis, type TensorType } from "../ir/type.ts";
import { type Dependence, dependences, isFed, names } from "./sample-mean.ts";

/** What a sample gives by itself, with the axis along which samples lie. */
export interface SampleFeature {
  readonly node: Node;
  readonly axis: Axis;
}

export interface SampleCut {
  /** The symbol that stands for the number of samples. */
  readonly samples: string;
  /** All that what compares samples reads of them. */
  readonly features: readonly SampleFeature[];
}

/**
 * Why a loss is not cut, with the node that shows it. "fixed": the number of samples is no symbol of its own. "crosses":
 * a value of a sample has a second axis as long as the batch. "shared": past the cut an input is read that no sample has.
 * "layers": past the cut are products with parameters, for which the whole batch would be in memory at once.
 */
export interface NoCut {
  readonly why: "fixed" | "crosses" | "shared" | "layers";
  readonly node: Node;
}

/** Cuts what `roots` are computed from, whose samples lie along `axis` of inputs. */
export function sampleCut(roots: readonly Node[], axis: string): SampleCut | NoCut {
  const nodes = topological(roots);
  const fed = nodes.filter((n) => isFed(n, axis));
  const samples = loneSymbol(findAxis(fed[0]!.type, axis)!.size);
  const other = fed.find((n) => !samples || loneSymbol(findAxis(n.type, axis)!.size) !== samples);
  if (!samples || other) return { why: "fixed", node: other ?? fed[0]! };
  const isOpen = (size: Dim) => symbolsOf(size).includes(samples);
  const elsewhere = nodes.find((n) => isGiven(n) && n.type.axes.some((a) => a.name !== axis && isOpen(a.size)));
  if (elsewhere) return { why: "crosses", node: elsewhere };

  const found = dependences(nodes, axis, (node) => tellsSamples(node, isOpen));
  const { features, past } = boundary(roots, found);
  const crossing = features.find((f) => f.node.type.axes.some((a) => a.name !== f.axis.name && isOpen(a.size)));
  if (crossing) return { why: "crosses", node: crossing.node };
  const shared = past.find(isGiven);
  if (shared) return { why: "shared", node: shared };
  const layer = past.find((n) => n.type.axes.some((a) => isOpen(a.size)) && isLayer(n, found));
  return layer ? { why: "layers", node: layer } : { samples: samples.name, features };
}

const isGiven = (node: Node): boolean => isFeed(node) || sourceOf(node) === "random";

/** The last values that each sample gives by itself, and all nodes past them. */
function boundary(roots: readonly Node[], found: ReadonlyMap<Node, Dependence>) {
  const features = new Map<Node, SampleFeature>();
  const past = new Set<Node>();
  const queue = [...roots];
  for (let node = queue.pop(); node; node = queue.pop()) {
    const source = unmoved(node, found);
    const depends = found.get(source)!;
    if (typeof depends === "object") {
      features.set(source, { node: source, axis: findAxis(source.type, depends.along)! });
    } else if (!past.has(node)) {
      past.add(node);
      queue.push(...node.operands);
    }
  }
  const inOrder = [...found.keys()]; // so that the same loss has the same features
  return {
    features: inOrder.flatMap((n) => features.get(n) ?? []),
    past: inOrder.filter((n) => past.has(n)),
  };
}

/** What a value of single samples is under other names and shapes: it is kept once, whatever roles it has. */
function unmoved(node: Node, found: ReadonlyMap<Node, Dependence>): Node {
  const operand = node.operands[0];
  const isMoved = isBijective(node) && operand && typeof found.get(operand) === "object";
  return isMoved ? unmoved(operand, found) : node;
}

/**
 * True of what reads no sample but is another for another number of them, or for another sample: sizes, positions, sums
 * and ranges along an axis that has as many places.
 */
function tellsSamples(node: Node, isOpen: (size: Dim) => boolean): boolean {
  const { operands, attrs, type } = node;
  const open = ({ axes }: TensorType) => axes.filter((a) => isOpen(a.size));
  if (sourceOf(node) === "size") return Object.values(attrs).some((v) => isSymbolic(v) && isOpen(v));
  if (operands.length === 0) return open(type).length > 0;
  if (isBijective(node)) return false;
  const isNamed = operands.some((o) => open(o.type).some((a) => names(attrs, a.name)));
  return (
    isNamed ||
    open(type).some((a) => operands.some((o) => o.type.axes.some((b) => b.name === a.name && !isOpen(b.size))))
  );
}

/** True of a product of what compares samples with a parameter, or a table of parameters that it reads. */
function isLayer(node: Node, found: ReadonlyMap<Node, Dependence>): boolean {
  const read = coreOf(node)?.kind === "contraction" ? node.operands : operandsAs(node, "table");
  const isLearned = (n: Node) => found.get(n) === "none" && topological([n]).some(isParameter);
  return read.some(isLearned) && node.operands.some((o) => found.get(o) === "mixed");
}
