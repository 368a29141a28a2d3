/**
 * Whether a node treats every row along an axis alike and independently, judged by the axes that its attributes name.
 */
import type { AttrValue, Node } from "../ir/node.ts";
import { isBijective, opRecord } from "../ir/op.ts";
import { findAxis, hasAxis } from "../ir/type.ts";

/** Whether a node acts on each row independently: it has the row axis and no attribute names it. */
export function isRowWise(node: Node, row: string): boolean {
  if (!hasAxis(node.type, row)) return false;
  const [x] = node.operands;
  const isTransposed =
    isBijective(node) &&
    x!.type.axes.length === node.type.axes.length &&
    x!.type.axes.every((a) => findAxis(node.type, a.name)?.size === a.size);
  return isTransposed || !namesAxis(node, row);
}

function namesAxis({ op, attrs }: Node, axis: string): boolean {
  const isNamed = (value: AttrValue | undefined): boolean =>
    value === axis ||
    (Array.isArray(value) ? value.some(isNamed) : (value as { name?: AttrValue } | undefined)?.name === axis);
  return Object.entries(opRecord(op).attrs).some(
    ([name, { kind }]) => ["axis", "axes", "sized_axis", "sized_axes"].includes(kind) && isNamed(attrs[name]),
  );
}
