/**
 * Whether a loss is a mean over the samples of a batch: then the gradient of a large batch is the mean of those of its
 * parts. Decided from what records say: which axes an op names in its attributes, and what a reduction folds.
 */
import { isSymbolic } from "../ir/dim.ts";
import { topological } from "../ir/graph.ts";
import type { Attrs, AttrValue, Node } from "../ir/node.ts";
import { coreOf, type FoldCore, opRecord, sourceOf } from "../ir/op.ts";
import { findAxis } from "../ir/type.ts";
import { differentiate } from "./differentiate.ts";

/**
 * How a value depends on the samples: not at all; along an axis, each element on its own sample alone; as a sum over
 * samples, or through such sums alone; or otherwise.
 */
export type Dependence = "none" | { readonly along: string } | "sum" | "through_sums" | "mixed";

/** Why a loss is no mean over samples, with the node that shows it. */
export interface NoMean {
  readonly why: "lacks" | "mixes" | "sums" | "weighs";
  readonly node: Node;
  /** Of a loss that weighs: a sum in it that counts each sample alike, as a mean over samples beside one over tokens does. */
  readonly alike?: Node;
}

/**
 * Undefined where `loss` is a mean over the samples along `axis` of the inputs. "lacks": no input that the loss reads has the axis. "mixes": samples are compared, or a
 * statistic over them is used. "weighs": what the sums over samples are divided by depends on the samples, as the mean
 * over all tokens that are no padding does. "sums": nothing is divided by the number of samples, where that is open.
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

/** True of a slope that is made of zeros alone: the loss does not grow with the sum. */
const isZero = (slope: Node): boolean =>
  topological([slope]).every((n) => n.operands.length > 0 || (sourceOf(n) === "constant" && n.attrs.value === 0));

/** How each of the nodes depends on the samples; `numbers` says what does so of itself, without reading any. */
export function dependences(
  nodes: readonly Node[],
  axis: string,
  numbers: (node: Node) => boolean = (node) => isNumbered(node, axis),
): Map<Node, Dependence> {
  const found = new Map<Node, Dependence>();
  for (const node of nodes) found.set(node, dependence(node, axis, found, numbers));
  return found;
}

/** The number of a sample, or a table with a row for each, says another thing in another batch. */
const isNumbered = (node: Node, axis: string): boolean =>
  ["position", "constant"].includes(sourceOf(node)!) && findAxis(node.type, axis) !== undefined;

/** True of an input that has the samples. */
export const isFed = (node: Node, axis: string): boolean =>
  (sourceOf(node) === "input" || sourceOf(node) === "random") && findAxis(node.type, axis) !== undefined;

/** True where the number of samples that are summed is open. */
const isOpen = (node: Node, axis: string): boolean =>
  topological([node]).some((n) => isFed(n, axis) && isSymbolic(findAxis(n.type, axis)!.size));

function dependence(
  node: Node,
  axis: string,
  found: ReadonlyMap<Node, Dependence>,
  numbers: (node: Node) => boolean,
): Dependence {
  const { operands, attrs } = node;
  if (operands.length === 0 && isFed(node, axis)) return { along: axis };
  const of = operands.map((o) => found.get(o)!).filter((d) => d !== "none");
  if (of.length === 0) return numbers(node) ? "mixed" : "none";
  if (of.every((d) => d === "sum" || d === "through_sums")) return "through_sums"; // the slopes tell whether linearly
  const [first, ...others] = of.map((d) => (typeof d === "string" ? undefined : d.along));
  if (first === undefined || others.some((along) => along !== first)) return "mixed";
  return names(attrs, first) ? named(node, first) : { along: first };
}

/** Of an op that names the axis of the samples. */
function named(node: Node, along: string): Dependence {
  const core = coreOf(node);
  if (core?.kind === "row_reduction" || core?.kind === "contraction")
    return core.over(node.attrs).includes(along) && isSum(core) ? "sum" : "mixed";
  return opRecord(node.op).kind === "movement" ? moved(node, along) : "mixed";
}

/** A contraction is a sum of products; a fold is a sum where a row of one number is so many times it. */
const isSum = ({ kind, fold }: FoldCore): boolean => kind === "contraction" || fold.repeated === "times";

/** The samples' axis after a movement that names it: kept, renamed, or the slowest part of a merged one. */
function moved({ operands, attrs, type }: Node, along: string): Dependence {
  const before = operands[0]!.type.axes;
  if (findAxis(type, along)?.size === findAxis(operands[0]!.type, along)?.size) return { along };
  const left = new Set(type.axes.map((a) => a.name));
  const gone = before.filter((a) => !left.has(a.name)).map((a) => a.name);
  const fresh = type.axes.filter((a) => !before.some((b) => b.name === a.name));
  const isSlowest = Object.values(attrs).every((v) => !Array.isArray(v) || !v.includes(along) || v[0] === along);
  return gone.includes(along) && fresh.length === 1 && isSlowest ? { along: fresh[0]!.name } : "mixed";
}

/** True where an attribute holds the name. */
export const names = (attrs: Attrs, name: string): boolean => Object.values(attrs).some((v) => holds(v, name));

function holds(value: AttrValue, name: string): boolean {
  if (value === name) return true;
  if (value === null || typeof value !== "object" || isSymbolic(value)) return false;
  return Object.values(value as Record<string, AttrValue>).some((v) => holds(v, name));
}
