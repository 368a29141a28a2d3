/**
 * Computes products much larger than their operands in chunks of rows, together with the row-wise work on them: the
 * logits of a large vocabulary are never materialized whole, forward or backward. Each chunk of logits yields its
 * losses, its rows of the cotangent, and its part of each sum over rows.
 *
 *     before  %l = contract %h, %w over [embed]        h: f32[row=4096, embed=512]   l: f32[row=4096, vocab=49954]
 *             %s = row-wise work on %l                 losses f32[row=4096], dlogits f32[row=4096, vocab=49954]
 *             %dw = contract %h, %dlogits over [row]
 *     after   for each of 8 chunks: %hᵢ = slice %h row from i · 512 length 512, %lᵢ = contract %hᵢ, %w, ...
 *             losses = concat of the chunks, %dw = sum of contract %hᵢ, %dlogitsᵢ over [row]
 *
 * Values that depend on all rows and that rows then need are computed first, in chunks along another axis of the
 * product: a contrastive loss over all pairs takes a softmax along either axis. The maxima and sums of columns come
 * from chunks of columns; given those, each row of the cotangent depends only on that row of logits. The product is
 * computed once more.
 *
 *     before  %l = contract %image, %text over [embed]                 l: f32[image=16384, text=16384]
 *             %top = reduce_max %l over [image], %x = sub %l, %top     top: f32[text=16384]
 *     after   %top = concat of reduce_max %lᵢ over [image], %lᵢ = contract %image, %textᵢ
 *             for each chunk of images: %lⱼ = contract %imageⱼ, %text, %xⱼ = sub %lⱼ, %top
 */
import type { Pass } from "../driver/index.ts";
import { foldsParts } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import { type Graph, nodesOf, rewriteGraph, usersOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { foldOf, isElementwise, isReduction, opRecord } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import { add, broadcast, concat, slice } from "../ops/index.ts";
import { isRowWise } from "./row-wise.ts";

/** Products of at least `least` bytes are computed in chunks, ... */
export interface ChunkLimits {
  readonly least: number;
}
/** With more chunks, compile time would outweigh the gain: such products are left whole. */
const mostChunks = 512;
/** ... if they are this many times larger than the operand that is cut. */
const growth = 4;

export const chunkProducts = ({ least }: ChunkLimits): Pass => ({
  name: "chunk-products",
  needs: ["decompose"],
  run: (graph) =>
    largestFirst(nodesOf(graph).filter((n) => rowAxes(n, least).length > 0)).reduce((now, product) => {
      const rows = rowAxes(product, least);
      // It may already have been chunked with another product.
      if (!nodesOf(now).includes(product)) return now;
      // Prefer axes whose rows are independent: others compute the product once more.
      const ready = rows.map((row) => ({ row, graph: acrossFirst(now, product, row, least) }));
      return (
        [...ready.filter((r) => r.graph === now), ...ready.filter((r) => r.graph !== now)].reduce<Graph | undefined>(
          (found, { row, graph }) => found ?? (graph && inChunks(graph, product, row, least)),
          undefined,
        ) ?? now
      );
    }, graph),
});

const bytesOf = (node: Node): number =>
  node.type.axes.reduce((n, { size }) => n * (typeof size === "number" ? size : Number.NaN), 1) *
  deviceElementBytes(node.type.dtype);

const largestFirst = (products: readonly Node[]): Node[] => products.toSorted((a, b) => bytesOf(b) - bytesOf(a));

/** The axes along which a product may be cut: those of only one operand, which must be much smaller than it. */
function rowAxes(node: Node, least: number): readonly Axis[] {
  if (foldOf(node)?.kind !== "contraction" || !(bytesOf(node) >= least)) return [];
  const [a, b] = node.operands as [Node, Node];
  const own = (x: Node, y: Node) =>
    bytesOf(node) >= growth * bytesOf(x)
      ? node.type.axes.filter((r) => hasAxis(x.type, r.name) && !hasAxis(y.type, r.name) && Number(r.size) > 1)
      : [];
  return [...own(a, b), ...own(b, a)].sort((x, y) => Number(y.size) - Number(x.size));
}

/** The row-wise work on a product, and its results that are used elsewhere. */
interface Region {
  /** The product, its row-wise users of the same size, and the nodes between. */
  readonly inside: ReadonlySet<Node>;
  /** Results that keep the rows: computed per chunk and concatenated. */
  readonly joined: ReadonlySet<Node>;
  /** Results that reduce over rows: per chunk, then over chunks. */
  readonly folded: ReadonlySet<Node>;
}

/** Whether a node has all axes of a product. */
const isAsLarge = (node: Node, product: Node): boolean =>
  product.type.axes.every((a) => findAxis(node.type, a.name)?.size === a.size);

/** The product, its row-wise users of the same size, the nodes between, and elementwise work on their results. */
function insideOf(nodes: readonly Node[], product: Node, row: string): Set<Node> {
  const users = usersOf(nodes);
  const made = madeOf(nodes, product);
  const reached = new Set([product]);
  /** The subset that depends on no other rows. */
  const alone = new Set([product]);
  for (const node of nodes) {
    if (!node.operands.some((o) => reached.has(o)) || !isRowWise(node, row)) continue;
    reached.add(node);
    if (node.operands.every((o) => alone.has(o) || !made.has(o))) alone.add(node);
  }
  const inside = new Set([...reached].filter((n) => isAsLarge(n, product)));
  const close = () => {
    for (const node of nodes.toReversed())
      if (reached.has(node) && users.get(node)!.some((u) => inside.has(u))) inside.add(node);
  };
  close();
  // Include elementwise users, so that the losses of rows are summed within their chunks.
  for (const node of nodes)
    if (alone.has(node) && isOfOneElement(node) && node.operands.some((o) => inside.has(o))) inside.add(node);
  close();
  return inside;
}

/** A node and everything computed from it. */
function madeOf(nodes: readonly Node[], from: Node): Set<Node> {
  const made = new Set([from]);
  for (const node of nodes) if (node.operands.some((o) => made.has(o))) made.add(node);
  return made;
}

/**
 * The graph with the values that need all rows of a product computed in chunks along another axis: those that are not
 * folds over rows, and those that rows depend on. The same graph if there is no such value; undefined if no axis works.
 */
function acrossFirst(graph: Graph, product: Node, row: Axis, least: number): Graph | undefined {
  const nodes = nodesOf(graph);
  const inside = insideOf(nodes, product, row.name);
  const made = madeOf(nodes, product);
  const feeds = new Set(inside);
  for (const node of nodes.toReversed()) if (feeds.has(node)) for (const o of node.operands) feeds.add(o);
  const isAcross = (node: Node): boolean =>
    !inside.has(node) &&
    (feeds.has(node) ||
      (node.operands.some((o) => inside.has(o) && isAsLarge(o, product)) &&
        !isRowWise(node, row.name) &&
        !foldsRows(node, row.name)));
  const across = new Set([...made].filter(isAcross));
  if (across.size === 0) return graph;
  const between = new Set(across);
  for (const node of nodes.toReversed())
    if (between.has(node)) for (const o of node.operands) if (made.has(o)) between.add(o);
  if ([...across].some((n) => isAsLarge(n, product))) return undefined;
  for (const column of product.type.axes) {
    if (column.name === row.name || ![...between].every((n) => n === product || isRowWise(n, column.name))) continue;
    const cut = cutsOf(product, column, least);
    if (cut)
      return rewriteGraph(graph, (node, original) => {
        if (!between.has(original)) return node;
        const parts = cut.map((c) => c.keep(original, node));
        return across.has(original) ? concat(parts, column.name) : node;
      });
  }
  return undefined;
}

/** The nodes that are cut together with a product; undefined if it, or a result as large, is needed whole. */
function regionOf(graph: Graph, product: Node, row: string): Region | undefined {
  const nodes = nodesOf(graph);
  const users = usersOf(nodes);
  const outputs = new Set(graph.outputs.map((o) => o.node));
  const isLarge = (n: Node) => isAsLarge(n, product);
  const inside = insideOf(nodes, product, row);
  const joined = new Set<Node>();
  const folded = new Set<Node>();
  for (const node of inside) {
    if (outputs.has(node) && isLarge(node)) return undefined;
    if (outputs.has(node)) joined.add(node);
    for (const user of users.get(node)!) {
      if (inside.has(user)) continue;
      if (isRowWise(user, row)) joined.add(user);
      else if (foldsRows(user, row)) folded.add(user);
      else if (isLarge(node)) return undefined;
      else joined.add(node);
    }
  }
  // If a result is larger than the product, chunking saves no memory.
  if ([...joined, ...folded].some((n) => bytesOf(n) > bytesOf(product))) return undefined;
  return { inside, joined, folded };
}

const isOfOneElement = (node: Node): boolean => isElementwise(node) || opRecord(node.op).kind === "indexing";

/** Whether a node reduces over the rows and can do so in parts, as contractions always can. */
function foldsRows(node: Node, row: string): boolean {
  const core = foldOf(node);
  if (!core?.over(node.attrs).includes(row)) return false;
  return core.kind === "contraction" || foldsParts(core.fold);
}

function inChunks(graph: Graph, product: Node, row: Axis, least: number): Graph | undefined {
  // It is gone if all its users were cut along another axis.
  if (!nodesOf(graph).includes(product)) return graph;
  const region = regionOf(graph, product, row.name);
  if (!region) return undefined;
  const cut = cutsOf(product, row, least);
  if (!cut) return undefined;
  return rewriteGraph(graph, (node, original) => {
    if (region.folded.has(original)) {
      const parts = cut.map((c) => c.of(original, node));
      return parts.reduce((a, b) => foldParts(original, a, b, row.name));
    }
    if (region.inside.has(original) || region.joined.has(original)) {
      const parts = cut.map((c) => c.keep(original, node));
      // Values used only inside chunks are not concatenated: the original node is left without users.
      return region.joined.has(original) ? concat(parts, row.name) : node;
    }
    return node;
  });
}

/** The chunks along an axis of a product; undefined if there would be too many, or the axis is too short. */
function cutsOf(product: Node, { name, size }: Axis, least: number): readonly Cut[] | undefined {
  const count = size as number;
  // Chunks stay below `least`, so that they are not chunked again.
  const most = Math.min(Math.ceil((count * least) / bytesOf(product)) - 1, Math.ceil(count / 2));
  if (most < 1 || count / most > mostChunks) return undefined;
  const length = Math.ceil(count / Math.ceil(count / most)); // as even as possible
  const starts = Array.from({ length: Math.ceil(count / length) }, (_, i) => i * length);
  return starts.map((start) => new Cut(product, name, start, Math.min(length, count - start)));
}

/** Combines two partial results of a fold over rows. */
function foldParts(node: Node, a: Node, b: Node, row: string): Node {
  if (!isReduction(node)) return add(a, b);
  const lone = [{ name: row, size: 1 }];
  return build(node.op, [concat([broadcast(a, lone), broadcast(b, lone)], row)], { over: [row] });
}

/** One chunk: maps nodes of the whole graph to its own. */
class Cut {
  private readonly made = new Map<Node, Node>();
  private readonly rows = new Map<Node, Node>();
  private readonly product: Node;
  private readonly row: string;
  private readonly start: number;
  private readonly length: number;

  constructor(product: Node, row: string, start: number, length: number) {
    this.product = product;
    this.row = row;
    this.start = start;
    this.length = length;
  }

  /** The chunk of a node; `node` is the original with rewritten operands. */
  of(original: Node, node: Node): Node {
    const operands = original.operands.map((o, i) => this.made.get(o) ?? this.sliced(node.operands[i]!));
    return build(original.op, operands, original.attrs);
  }

  keep(original: Node, node: Node): Node {
    const made = this.of(original, node);
    this.made.set(original, made);
    return made;
  }

  /**
   * The chunk's rows of an uncut node. An elementwise one as large as the product is recomputed from sliced operands.
   */
  private sliced(x: Node): Node {
    if (!hasAxis(x.type, this.row)) return x;
    const known = this.rows.get(x);
    if (known) return known;
    const isGrown = isElementwise(x) && isAsLarge(x, this.product);
    const made = isGrown
      ? build(
          x.op,
          x.operands.map((o) => this.sliced(o)),
          x.attrs,
        )
      : slice(x, this.row, this.start, this.length);
    this.rows.set(x, made);
    return made;
  }
}
