/** Cores: the nodes that kernels are built around. Which there are, what their rows are, and how they read. */
import { boundsOf, type Dim } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type AttentionCore, coreOf, foldOf } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { spanOf, typical, typicalSpan } from "./sizes.ts";

export const kindOf = (node: Node) => coreOf(node)?.kind;

/** True for what a kernel is built around; everything else is an expression. */
export const isCore = (node: Node): boolean => coreOf(node) !== undefined;

/** The axes that a reduction or a contraction sums over. */
export const reducedAxes = (node: Node): readonly Axis[] =>
  foldOf(node)!
    .over(node.attrs)
    .map((n) => findAxis(node.operands[0]!.type, n)!);

/** Results that read the same row: for fewer, a matrix is nothing but some rows. */
const fewestOfMatrix = 9;

/**
 * A contraction whose results each read their own part of one operand: a reduction of products, not a matrix product. A
 * row times a long matrix is one, though each result reads its own part of the matrix: all of them read the row.
 */
export function isDotProduct(node: Node): boolean {
  if (kindOf(node) !== "contraction") return false;
  const [a, b] = [node.operands[0]!, node.operands[1]!];
  const own = (x: Node, y: Node) =>
    spanOf(node.type.axes.filter((c) => findAxis(x.type, c.name) && !findAxis(y.type, c.name)));
  const [left, right] = [own(a, b), own(b, a)];
  if (left !== 1 && right !== 1) return false;
  return typical(left) < fewestOfMatrix && typical(right) < fewestOfMatrix;
}

/** A core that reads each element of its operands many times, but for a mask. */
export const readsInLoop = (node: Node): boolean =>
  kindOf(node) === "attention" || (kindOf(node) === "contraction" && !isDotProduct(node));

/** The rows of a reduction; those of products in the order in which they lie in the larger operand. */
export function rowsOf(node: Node): readonly Axis[] {
  if (!isDotProduct(node)) return node.type.axes;
  const larger = node.operands.reduce((x, y) => (typicalSpan(y.type.axes) > typicalSpan(x.type.axes) ? y : x));
  const own = larger.type.axes.flatMap(({ name }) => findAxis(node.type, name) ?? []);
  return [...node.type.axes.filter((a) => !own.includes(a)), ...own];
}

export const isRowReduction = (node: Node) => kindOf(node) === "row_reduction" || isDotProduct(node);

/** Rows that are few: threads hold the sums of all of them. */
const mostFewRows = 8;

/**
 * The operand of a product that has few rows, whose other operand is a long matrix with the summed elements in a row: what
 * such a product costs is the dispatch and the reading of the matrix.
 */
export function fewRowsOf(node: Node): Node | undefined {
  if (kindOf(node) !== "contraction") return undefined;
  const [a, b] = node.operands as [Node, Node];
  const own = (x: Node, y: Node) =>
    spanOf(node.type.axes.filter((c) => findAxis(x.type, c.name) && !findAxis(y.type, c.name)));
  const isShared = node.type.axes.some((c) => findAxis(a.type, c.name) && findAxis(b.type, c.name));
  const isPair = (few: Node, long: Node) =>
    mostOf(own(few, long)) <= mostFewRows &&
    typical(own(long, few)) > mostFewRows &&
    foldOf(node)!
      .over(node.attrs)
      .includes(long.type.axes.at(-1)?.name ?? "");
  if (isShared) return undefined;
  return isPair(a, b) ? a : isPair(b, a) ? b : undefined;
}

const mostOf = (dim: Dim): number => (typeof dim === "number" ? dim : boundsOf(dim).max);

/** The axes of one thread of an attention kernel: the query rows, or the key rows for the gradients of k and v. */
export function attentionRows(node: Node): readonly Axis[] {
  const { rows } = coreOf(node) as AttentionCore;
  return rows(
    node.operands.map((o) => o.type),
    node.attrs,
    node.type,
  );
}
