/** Cores: the anchor nodes that kernels are built around. Their kinds, their rows, and how they read operands. */
import { boundsOf, type Dim } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type AttentionCore, coreOf, foldOf } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { spanOf, typical, typicalSpan } from "./sizes.ts";

export const kindOf = (node: Node) => coreOf(node)?.kind;

/** Whether a node is a core; everything else is an expression in a kernel. */
export const isCore = (node: Node): boolean => coreOf(node) !== undefined;

/** The axes that a reduction or a contraction sums over. */
export const reducedAxes = (node: Node): readonly Axis[] =>
  foldOf(node)!
    .over(node.attrs)
    .map((n) => findAxis(node.operands[0]!.type, n)!);

/** Fewer results than this that share a row do not make a matrix product. */
const fewestOfMatrix = 9;

/**
 * A contraction without enough operand reuse for a matrix product: each result reads its own part of an operand. A row
 * times a long matrix still counts as a matrix product, since all results share the row.
 */
function isDotProduct(node: Node): boolean {
  if (kindOf(node) !== "contraction") return false;
  const [a, b] = [node.operands[0]!, node.operands[1]!];
  const own = (x: Node, y: Node) =>
    spanOf(node.type.axes.filter((c) => findAxis(x.type, c.name) && !findAxis(y.type, c.name)));
  const [left, right] = [own(a, b), own(b, a)];
  if (left !== 1 && right !== 1) return false;
  return typical(left) < fewestOfMatrix && typical(right) < fewestOfMatrix;
}

/** A core that reads each element of its operands many times, masks excepted. */
export const readsInLoop = (node: Node): boolean =>
  kindOf(node) === "attention" || (kindOf(node) === "contraction" && !isDotProduct(node));

/** The rows of a reduction; for dot products, in the memory order of the larger operand. */
export function rowsOf(node: Node): readonly Axis[] {
  if (!isDotProduct(node)) return node.type.axes;
  const larger = node.operands.reduce((x, y) => (typicalSpan(y.type.axes) > typicalSpan(x.type.axes) ? y : x));
  const own = larger.type.axes.flatMap(({ name }) => findAxis(node.type, name) ?? []);
  return [...node.type.axes.filter((a) => !own.includes(a)), ...own];
}

export const isRowReduction = (node: Node) => kindOf(node) === "row_reduction" || isDotProduct(node);

/** The most rows for which each thread holds the accumulators of all rows. */
const mostFewRows = 8;

/**
 * The operand with few rows in a product whose other operand is a long matrix with a contiguous summed axis (like a
 * GEMV). Such a product is bound by reading the matrix and by the dispatch.
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

/** The row axes of an attention kernel: the query rows, or the key rows for the gradients of k and v. */
export function attentionRows(node: Node): readonly Axis[] {
  const { rows } = coreOf(node) as AttentionCore;
  return rows(
    node.operands.map((o) => o.type),
    node.attrs,
    node.type,
  );
}
