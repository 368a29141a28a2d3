/**
 * Gradient caching: finds where a loss starts to compare samples. Per-sample features are computed in micro-batches,
 * and what compares them on the whole batch. Gao et al. 2021, arXiv:2101.06983, section 3. Decided from the op records.
 */
import { type Dim, isSymbolic, loneSymbol, symbolsOf } from "../ir/dim.ts";
import { isFloat } from "../ir/dtype.ts";
import { topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { coreOf, isBijective, isFeed, isParameter, operandsAs, opRecord, sourceOf } from "../ir/op.ts";
import { type Axis, findAxis, type TensorType } from "../ir/type.ts";
import { type Dependence, dependences, isFed, names } from "./sample-mean.ts";

/** A per-sample value, with the axis of samples. */
export interface SampleFeature {
  readonly node: Node;
  readonly axis: Axis;
}

export interface SampleCut {
  /** The symbol of the number of samples. */
  readonly samples: string;
  /** All per-sample values that the comparison of samples reads. */
  readonly features: readonly SampleFeature[];
}

/**
 * Why a loss cannot be cut, with the node at fault. "fixed": the number of samples is not a symbol of its own.
 * "crosses": a per-sample value has a second axis as long as the batch. "shared": an input or random value is read past
 * the cut. "layers": past the cut are products with parameters, for which the whole batch would be in memory at once.
 */
export interface NoCut {
  readonly why: "fixed" | "crosses" | "shared" | "layers";
  readonly node: Node;
}

/**
 * Cuts the computation of `roots`; samples lie along `axis` of the inputs. With `allowsLayers`, for processes that each
 * compute what is past the cut for their own samples only, random values of pairs of samples may be past it, and
 * layers: one batch norm with those after it, but not two with a layer between, which each process would need for all
 * samples.
 */
export function sampleCut(roots: readonly Node[], axis: string, allowsLayers = false): SampleCut | NoCut {
  const nodes = topological(roots);
  const fed = nodes.filter((n) => isFed(n, axis));
  const samples = loneSymbol(findAxis(fed[0]!.type, axis)!.size);
  const other = fed.find((n) => !samples || loneSymbol(findAxis(n.type, axis)!.size) !== samples);
  if (!samples || other) return { why: "fixed", node: other ?? fed[0]! };
  const isOpen = (size: Dim) => symbolsOf(size).includes(samples);
  const isOfPairs = (n: Node) => isGiven(n) && n.type.axes.some((a) => a.name !== axis && isOpen(a.size));
  const isDrawnPast = (n: Node) => allowsLayers && sourceOf(n) === "random" && isOfPairs(n);
  const elsewhere = nodes.find((n) => isOfPairs(n) && !isDrawnPast(n));
  if (elsewhere) return { why: "crosses", node: elsewhere };

  const isNumbered = (n: Node) => isDrawnPast(n) || (!isFed(n, axis) && tellsSamples(n, isOpen));
  const found = dependences(nodes, axis, isNumbered);
  const { features, past } = boundary(roots, found);
  const crossing = features.find((f) => f.node.type.axes.some((a) => a.name !== f.axis.name && isOpen(a.size)));
  if (crossing) return { why: "crosses", node: crossing.node };
  const shared = past.find((n) => isGiven(n) && !isDrawnPast(n));
  if (shared) return { why: "shared", node: shared };
  const isTooMuch = (n: Node) => !allowsLayers || needsLayersOfAll(n, found, isOpen);
  const layer = past.find((n) => n.type.axes.some((a) => isOpen(a.size)) && isLayer(n, found) && isTooMuch(n));
  return layer ? { why: "layers", node: layer } : { samples: samples.name, features };
}

const isGiven = (node: Node): boolean => isFeed(node) || sourceOf(node) === "random";

/** The last per-sample values, and all nodes past them. */
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
  const inOrder = [...found.keys()]; // deterministic order
  return {
    features: inOrder.flatMap((n) => features.get(n) ?? []),
    past: inOrder.filter((n) => past.has(n)),
  };
}

/** Looks through bijective movements, so that a per-sample value is stored once, whatever its names and shapes. */
function unmoved(node: Node, found: ReadonlyMap<Node, Dependence>): Node {
  const operand = node.operands[0];
  const isMoved = isBijective(node) && operand && typeof found.get(operand) === "object";
  return isMoved ? unmoved(operand, found) : node;
}

/**
 * True for a node that reads no sample but depends on their number or on which sample it is: sizes, positions, and sums
 * and ranges along an axis as long as the batch.
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

/**
 * True if what a layer reads was compared over samples, and what was compared came from another layer past the cut, as
 * with two batch norms in a row: then it needs that layer for all samples. Samples may be selected by an index, however
 * that was found.
 */
function needsLayersOfAll(layer: Node, found: ReadonlyMap<Node, Dependence>, isOpen: (size: Dim) => boolean): boolean {
  const seen = new Set<Node>();
  const queue = [...layer.operands];
  for (let node = queue.pop(); node; node = queue.pop()) {
    if (seen.has(node) || found.get(node) !== "mixed" || !isFloat(node.type.dtype)) continue;
    seen.add(node);
    if (isCompared(node, isOpen) && topological(node.operands).some((n) => isLayer(n, found))) return true;
    queue.push(...node.operands);
  }
  return false;
}

function isCompared(node: Node, isOpen: (size: Dim) => boolean): boolean {
  const { op, attrs, operands } = node;
  const isSelected = opRecord(op).kind === "movement" || operandsAs(node, "table").length > 0;
  return !isSelected && operands.some((o) => o.type.axes.some((a) => isOpen(a.size) && names(attrs, a.name)));
}

/** True for a product, past the cut, with a value computed from parameters, or a gather from a table of them. */
function isLayer(node: Node, found: ReadonlyMap<Node, Dependence>): boolean {
  const read = coreOf(node)?.kind === "contraction" ? node.operands : operandsAs(node, "table");
  const isLearned = (n: Node) => found.get(n) === "none" && topological([n]).some(isParameter);
  return read.some(isLearned) && node.operands.some((o) => found.get(o) === "mixed");
}
