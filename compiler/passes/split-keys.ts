/**
 * Split-K for attention (flash-decoding): with few queries and many keys, as in decoding, runs of keys are processed
 * separately and combined through their statistics; otherwise few workgroups would read all keys. If the number of keys
 * is symbolic, so are the lengths of the runs.
 *
 *     before  %y = attention %q, %k, %v                             q: f32[head=8, d=64]   k, v: f32[head=8, key=4096, d=64]
 *     after   %p = attention_parts %q, %k, %v part key_part=32      f32[key_part=32, head=8, d=64]
 *             %l = attention_parts_lse %q, %k part key_part=32      f32[key_part=32, head=8]
 *             %e = exp(%l - max %l)                                   the same for every d, computed for each
 *             %y = Σ over key_part of %e · %p, divided by Σ %e
 */
import type { Pass } from "../driver/index.ts";
import { boundsOf, type Dim, dimValue, symbolsOf } from "../ir/dim.ts";
import { nodesOf, rewriteGraph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { type AttentionCore, coreOf, operandNamed } from "../ir/op.ts";
import { type Axis, axisNames, findAxis, hasAxis } from "../ir/type.ts";
import {
  type AttentionAxes,
  attentionParts,
  broadcast,
  cast,
  div,
  exp,
  mul,
  reduceMax,
  reduceSum,
  sub,
  transpose,
} from "../ops/index.ts";

/** Runs have at least this many keys, ... */
const shortest = 256;
/** ... and there are enough of them for about this many workgroups. */
const workgroups = 512;
/** Split only if there would be fewer workgroups than this, of `queriesOfOne` queries each. */
const fewWorkgroups = 128;
const queriesOfOne = 64;
/** The assumed number of keys if it is symbolic without a declared maximum. */
const usualKeys = 4096;
/** The same for other symbolic sizes; large enough that an unbounded batch is not split. */
const usualSize = 256;

export const splitKeys: Pass = {
  name: "split-keys",
  needs: ["canonicalize", "decompose"],
  run: (graph) => {
    // If the statistics are also needed, one kernel computes both: splitting would separate them.
    const asked = nodesOf(graph).filter((n) => attentionCore(n)?.part === "statistic");
    return rewriteGraph(graph, (node, original) =>
      asked.some((statistic) => sameRows(statistic, original)) ? node : splitOne(node),
    );
  },
};

const attentionCore = (node: Node): AttentionCore | undefined => {
  const core = coreOf(node);
  return core?.kind === "attention" && core.pass === "forward" ? core : undefined;
};

/** Whether two nodes have the same queries, keys, bias and mask. */
const sameRows = (a: Node, b: Node): boolean =>
  attentionCore(b) !== undefined && ["q", "k", "bias", "mask"].every((n) => operandNamed(a, n) === operandNamed(b, n));

function typicalOf(dim: Dim, usual: number): number {
  if (typeof dim === "number") return dim;
  const { max } = boundsOf(dim);
  if (Number.isFinite(max)) return max;
  return dimValue(
    dim,
    Object.fromEntries(symbolsOf(dim).map((s) => [s.name, Math.max(s.min, Math.min(s.max, usual))])),
  );
}

const span = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * typicalOf(a.size, usualSize), 1);

function splitOne(node: Node): Node {
  const core = attentionCore(node);
  if (core?.part !== "values" || node.attrs.part !== undefined) return node;
  const [q, k, v] = node.operands as [Node, Node, Node];
  const { over } = node.attrs as unknown as AttentionAxes;
  const rows = core.rows(
    node.operands.map((o) => o.type),
    node.attrs,
    node.type,
  );
  const own = rows.filter((a) => !hasAxis(k.type, a.name) && !hasAxis(v.type, a.name));
  if (own.some((a) => !Number.isFinite(boundsOf(a.size).max))) return node; // there may be many queries
  const tiles = (span(rows) / span(own)) * Math.ceil(span(own) / queriesOfOne);
  const keys = typicalOf(findAxis(k.type, over)!.size, usualKeys);
  const count = Math.min(Math.floor(keys / shortest), Math.ceil(workgroups / tiles));
  if (tiles >= fewWorkgroups || count < 2) return node;
  return transpose(inParts(node, { q, k, v }, freshName(`${over}_part`, node), count), axisNames(node.type));
}

function freshName(name: string, node: Node): string {
  const taken = [node, ...node.operands].some((o) => hasAxis(o.type, name));
  return taken ? freshName(`${name}_`, node) : name;
}

function inParts(node: Node, shared: Record<"q" | "k" | "v", Node>, name: string, count: number): Node {
  const axes = node.attrs as unknown as AttentionAxes;
  const part = { name, size: count };
  const [bias, mask] = [operandNamed(node, "bias"), operandNamed(node, "mask")];
  const { values, statistic } = attentionParts({ ...shared, bias, mask }, axes, part);
  // Broadcast the statistics to the values' axes: all sums then have the same rows and share a kernel.
  const wide = broadcast(
    statistic,
    values.type.axes.filter((a) => !hasAxis(statistic.type, a.name)),
  );
  const weights = exp(sub(wide, reduceMax(wide, [name])));
  // The values first: if the statistics came before v is known, they would get a kernel of their own.
  const mixed = reduceSum(mul(cast(values, "f32"), weights), [name]);
  return cast(div(mixed, reduceSum(weights, [name])), node.type.dtype);
}
