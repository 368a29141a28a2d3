/**
 * Computes products that are much larger than what they are made of in chunks of rows, with all that is done to each row:
 * the logits of a large vocabulary never exist whole, forward or backward. A chunk's logits become its losses, its rows of
 * the cotangent, and its part of each sum over rows.
 *
 *     before  %l = contract %h, %w over [embed]        h: f32[row=4096, embed=512]   l: f32[row=4096, vocab=49954]
 *             %s = row-wise work on %l                 losses f32[row=4096], dlogits f32[row=4096, vocab=49954]
 *             %dw = contract %h, %dlogits over [row]
 *     after   for each of 8 chunks: %hᵢ = slice %h row from i · 512 length 512, %lᵢ = contract %hᵢ, %w, ...
 *             losses = concat of the chunks, %dw = sum of contract %hᵢ, %dlogitsᵢ over [row]
 */
import type { Pass } from "../driver/index.ts";
import { foldsParts } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import { type Graph, nodesOf, rewriteGraph, usersOf } from "../ir/graph.ts";
import type { AttrValue, Node } from "../ir/node.ts";
import { foldOf, isBijective, isElementwise, isReduction, opRecord } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import { add, broadcast, concat, slice } from "../ops/index.ts";

/** Products of at least so many bytes are computed in chunks, ... */
export interface ChunkLimits {
  readonly least: number;
}
/** ... where they take so many times as much as the rows that they are made of. */
const growth = 4;

export const chunkProducts = ({ least }: ChunkLimits): Pass => ({
  name: "chunk-products",
  needs: ["decompose"],
  run: (graph) =>
    nodesOf(graph).reduce((now, product) => {
      const rows = rowAxes(product, least);
      // What became chunks of another product is no longer there.
      if (rows.length === 0 || !nodesOf(now).includes(product)) return now;
      return (
        rows.reduce<Graph | undefined>((found, row) => found ?? inChunks(now, product, row, least), undefined) ?? now
      );
    }, graph),
});

const bytesOf = (node: Node): number =>
  node.type.axes.reduce((n, { size }) => n * (typeof size === "number" ? size : Number.NaN), 1) *
  deviceElementBytes(node.type.dtype);

/** The axes of a product along which it may be cut: those of one operand alone that it is much larger than. */
function rowAxes(node: Node, least: number): readonly Axis[] {
  if (foldOf(node)?.kind !== "contraction" || !(bytesOf(node) >= least)) return [];
  const [a, b] = node.operands as [Node, Node];
  const own = (x: Node, y: Node) =>
    bytesOf(node) >= growth * bytesOf(x)
      ? node.type.axes.filter((r) => hasAxis(x.type, r.name) && !hasAxis(y.type, r.name) && Number(r.size) > 1)
      : [];
  return [...own(a, b), ...own(b, a)].sort((x, y) => Number(y.size) - Number(x.size));
}

/** What is done to a product row by row, and what of it others need. */
interface Region {
  /** The product, what is made of it at its own axes, and what lies between. */
  readonly inside: ReadonlySet<Node>;
  /** Small results with rows: computed chunk by chunk, and joined. */
  readonly joined: ReadonlySet<Node>;
  /** Results that fold the rows: of each chunk, and then of these. */
  readonly folded: ReadonlySet<Node>;
}

/** The nodes around a product that are cut with it; undefined where it, or what is made of it, is needed whole. */
function regionOf(graph: Graph, product: Node, row: string): Region | undefined {
  const nodes = nodesOf(graph);
  const users = usersOf(nodes);
  const outputs = new Set(graph.outputs.map((o) => o.node));
  const reached = new Set([product]);
  for (const node of nodes) if (node.operands.some((o) => reached.has(o)) && isRowWise(node, row)) reached.add(node);
  const isLarge = (n: Node) => product.type.axes.every((a) => findAxis(n.type, a.name)?.size === a.size);
  const inside = new Set([...reached].filter(isLarge));
  for (const node of nodes.toReversed())
    if (reached.has(node) && users.get(node)!.some((u) => inside.has(u))) inside.add(node);
  // What follows element by element goes along, so that losses of rows are summed in their chunks.
  for (const node of nodes)
    if (reached.has(node) && isOfOneElement(node) && node.operands.some((o) => inside.has(o))) inside.add(node);
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
  return { inside, joined, folded };
}

const isOfOneElement = (node: Node): boolean => isElementwise(node) || opRecord(node.op).kind === "indexing";

/** Whether a node does the same to each row, whatever the others are: it has the rows and does not name them. */
function isRowWise(node: Node, row: string): boolean {
  if (!hasAxis(node.type, row)) return false;
  const [x] = node.operands;
  const isTransposed =
    isBijective(node) &&
    x!.type.axes.length === node.type.axes.length &&
    x!.type.axes.every((a) => findAxis(node.type, a.name)?.size === a.size);
  return isTransposed || !names(node, row);
}

function names({ op, attrs }: Node, axis: string): boolean {
  const isNamed = (value: AttrValue | undefined): boolean =>
    value === axis ||
    (Array.isArray(value) ? value.some(isNamed) : (value as { name?: AttrValue } | undefined)?.name === axis);
  return Object.entries(opRecord(op).attrs).some(
    ([name, { kind }]) => ["axis", "axes", "sized_axis", "sized_axes"].includes(kind) && isNamed(attrs[name]),
  );
}

/** Whether a node folds the rows in a way that may be done in parts; sums of products always may. */
function foldsRows(node: Node, row: string): boolean {
  const core = foldOf(node);
  if (!core?.over(node.attrs).includes(row)) return false;
  return core.kind === "contraction" || foldsParts(core.fold);
}

function inChunks(graph: Graph, product: Node, row: Axis, least: number): Graph | undefined {
  const region = regionOf(graph, product, row.name);
  if (!region) return undefined;
  const size = row.size as number;
  // No chunk is worth chunks of its own.
  const length = Math.min(Math.ceil((size * least) / bytesOf(product)) - 1, Math.ceil(size / 2));
  if (length < 1) return undefined;
  const starts = Array.from({ length: Math.ceil(size / length) }, (_, i) => i * length);
  const cut = starts.map((start) => new Cut(row.name, start, Math.min(length, size - start)));
  return rewriteGraph(graph, (node, original) => {
    if (region.folded.has(original)) {
      const parts = cut.map((c) => c.of(original, node));
      return parts.reduce((a, b) => foldParts(original, a, b, row.name));
    }
    if (region.inside.has(original) || region.joined.has(original)) {
      const parts = cut.map((c) => c.keep(original, node));
      // What only other chunks need is not joined: the node as it was has no users then, and is gone.
      return region.joined.has(original) ? concat(parts, row.name) : node;
    }
    return node;
  });
}

/** Two parts of a fold over rows as one. */
function foldParts(node: Node, a: Node, b: Node, row: string): Node {
  if (!isReduction(node)) return add(a, b);
  const lone = [{ name: row, size: 1 }];
  return build(node.op, [concat([broadcast(a, lone), broadcast(b, lone)], row)], { over: [row] });
}

/** The nodes of one chunk, by those of the whole graph. */
class Cut {
  private readonly made = new Map<Node, Node>();
  private readonly row: string;
  private readonly start: number;
  private readonly length: number;

  constructor(row: string, start: number, length: number) {
    this.row = row;
    this.start = start;
    this.length = length;
  }

  /** The chunk of a node; `node` is the original on operands that are rewritten already. */
  of(original: Node, node: Node): Node {
    const operands = original.operands.map((o, i) => this.made.get(o) ?? this.sliced(node.operands[i]!));
    return build(original.op, operands, original.attrs);
  }

  keep(original: Node, node: Node): Node {
    const made = this.of(original, node);
    this.made.set(original, made);
    return made;
  }

  private sliced(x: Node): Node {
    return hasAxis(x.type, this.row) ? slice(x, this.row, this.start, this.length) : x;
  }
}
