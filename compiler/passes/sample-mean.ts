/**
 * Whether a loss is a mean over the samples of a batch, so that gradients can be accumulated over micro-batches.
 * Decided from the op records: which axes an op names in its attributes, and what a reduction folds.
 */
import { isSymbolic } from "../ir/dim.ts";
import { topological } from "../ir/graph.ts";
import type { Attrs, AttrValue, Node } from "../ir/node.ts";
import { coreOf, type FoldCore, isBijective, opRecord, sourceOf } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { differentiate } from "./differentiate.ts";

/**
 * How a value depends on the samples: not at all; along an axis, each element only on its own sample; as a sum over
 * samples; only through such sums; or in some other way.
 */
export type Dependence = "none" | { readonly along: string } | "sum" | "through_sums" | "mixed";

/** Why a loss is not a mean over samples, with the node at fault. */
export interface NoMean {
  readonly why: "lacks" | "mixes" | "sums" | "weighs";
  readonly node: Node;
  /** With "weighs": a sum that does weight all samples alike, such as a mean over samples next to one over tokens. */
  readonly alike?: Node;
}

/**
 * Undefined if `loss` is a mean over the samples along `axis` of the inputs. "lacks": no input that the loss reads has
 * the axis. "mixes": samples are compared, or a statistic over them is used. "weighs": the divisor of a sum over
 * samples depends on the samples, as in a mean over all non-padding tokens. "sums": a sum over a symbolic number of
 * samples is not divided by it.
 */
export function noSampleMean(loss: Node, axis: string): NoMean | undefined {
  const nodes = topological([loss]);
  const found = dependences(nodes, axis);
  if (!nodes.some((n) => isFed(n, axis))) return { why: "lacks", node: loss };
  const sums = nodes.filter((n) => found.get(n) === "sum");
  const mixing = nodes.find((n) => found.get(n) === "mixed" && !n.operands.some((o) => found.get(o) === "mixed"));
  if (mixing) return { why: "mixes", node: mixing };
  const slopes = differentiate(loss, sums);
  const known = new Set(sums);
  const onSamples = slopes.map((slope) => topological([slope]).some((n) => known.has(n) || isFed(n, axis)));
  const weighing = onSamples.indexOf(true);
  if (weighing >= 0) {
    const alike = sums.find((_, i) => !onSamples[i] && !isZero(slopes[i]!));
    return { why: "weighs", node: sums[weighing]!, ...(alike && { alike }) };
  }
  for (const [i, slope] of slopes.entries()) {
    const reached = topological([slope]);
    if (isOpen(sums[i]!, axis) && !reached.some((n) => sourceOf(n) === "size")) return { why: "sums", node: sums[i]! };
  }
  return undefined;
}

/** True for a derivative built only of zeros: the loss does not depend on the sum. */
const isZero = (slope: Node): boolean =>
  topological([slope]).every((n) => n.operands.length > 0 || (sourceOf(n) === "constant" && n.attrs.value === 0));

/**
 * How each node depends on the samples; `numbers` is true for nodes that do so without reading any, and for inputs of
 * pairs of samples.
 */
export function dependences(
  nodes: readonly Node[],
  axis: string,
  numbers: (node: Node) => boolean = (node) => isNumbered(node, axis),
): Map<Node, Dependence> {
  const found = new Map<Node, Dependence>();
  for (const node of nodes) found.set(node, dependence(node, axis, found, numbers));
  return found;
}

/** A sample's index, or a constant with a row per sample, means something else in another micro-batch. */
const isNumbered = (node: Node, axis: string): boolean =>
  ["position", "constant"].includes(sourceOf(node)!) && findAxis(node.type, axis) !== undefined;

/** True for an input or random value with the samples' axis. */
export const isFed = (node: Node, axis: string): boolean =>
  (sourceOf(node) === "input" || sourceOf(node) === "random") && findAxis(node.type, axis) !== undefined;

/** True if the number of summed samples is symbolic. */
const isOpen = (node: Node, axis: string): boolean =>
  topological([node]).some((n) => isFed(n, axis) && isSymbolic(findAxis(n.type, axis)!.size));

function dependence(
  node: Node,
  axis: string,
  found: ReadonlyMap<Node, Dependence>,
  numbers: (node: Node) => boolean,
): Dependence {
  const { operands, attrs } = node;
  if (operands.length === 0 && isFed(node, axis)) return numbers(node) ? "mixed" : { along: axis };
  const of = operands.map((o) => found.get(o)!).filter((d) => d !== "none");
  if (of.length === 0) return numbers(node) ? "mixed" : "none";
  if (of.every((d) => d === "sum" || d === "through_sums")) return "through_sums"; // linearity: by the derivatives
  const [first, ...others] = of.map((d) => (typeof d === "string" ? undefined : d.along));
  if (first === undefined || others.some((along) => along !== first)) return "mixed";
  return names(attrs, first) ? named(node, first) : { along: first };
}

/** The dependence of an op that names the samples' axis. */
function named(node: Node, along: string): Dependence {
  const core = coreOf(node);
  if (core?.kind === "row_reduction" || core?.kind === "contraction")
    return core.over(node.attrs).includes(along) && isSum(core) ? "sum" : "mixed";
  return opRecord(node.op).kind === "movement" ? moved(node, along) : "mixed";
}

/** A contraction is a sum of products; a fold is a sum if folding n equal numbers gives n times that number. */
const isSum = ({ kind, fold }: FoldCore): boolean => kind === "contraction" || fold.repeated === "times";

/**
 * The samples' axis after a movement that names it: kept, renamed, the outermost part of a merged axis, or the
 * outermost of those it is split into.
 */
function moved(node: Node, along: string): Dependence {
  const { operands, attrs, type } = node;
  const before = operands[0]!.type.axes;
  if (findAxis(type, along)?.size === findAxis(operands[0]!.type, along)?.size) return { along };
  const parts = attrs.into as unknown;
  if (isBijective(node) && attrs.axis === along && Array.isArray(parts)) return outermost(parts as readonly Axis[]);
  const left = new Set(type.axes.map((a) => a.name));
  const gone = before.filter((a) => !left.has(a.name)).map((a) => a.name);
  const fresh = type.axes.filter((a) => !before.some((b) => b.name === a.name));
  const isSlowest = Object.values(attrs).every((v) => !Array.isArray(v) || !v.includes(along) || v[0] === along);
  return gone.includes(along) && fresh.length === 1 && isSlowest ? { along: fresh[0]!.name } : "mixed";
}

/**
 * The samples' axis after a split, as of the rows of a batch into samples of several rows. The other parts have a fixed
 * size: one that grew with the batch would have rows of other samples in a larger one.
 */
const outermost = ([first, ...others]: readonly Axis[]): Dependence =>
  first && !others.some((a) => isSymbolic(a.size)) ? { along: first.name } : "mixed";

/** True if an attribute contains the name. */
export const names = (attrs: Attrs, name: string): boolean => Object.values(attrs).some((v) => holds(v, name));

function holds(value: AttrValue, name: string): boolean {
  if (value === name) return true;
  if (value === null || typeof value !== "object" || isSymbolic(value)) return false;
  return Object.values(value as Record<string, AttrValue>).some((v) => holds(v, name));
}
