/** Builders of conditions on indices, which fold to true or false if the bounds decide them. */
import { bool, type Compare, type CompareOp, type Expr, rangeOf, widthOf } from "./expr.ts";
import { keyOf } from "./expr-structure.ts";
import { isConst, sub } from "./index-arithmetic.ts";

const compare = (op: CompareOp, a: Expr, b: Expr): Compare => ({ kind: "compare", dtype: "bool", op, a, b });

export function lt(a: Expr, b: Expr): Expr {
  const d = rangeOf(sub(a, b));
  if (d.max < 0) return bool(true);
  return d.min >= 0 ? bool(false) : compare("lt", a, b);
}

export const le = (a: Expr, b: Expr): Expr => {
  const d = rangeOf(sub(a, b));
  if (d.max <= 0) return bool(true);
  return d.min > 0 ? bool(false) : compare("le", a, b);
};

export function eq(a: Expr, b: Expr): Expr {
  const d = rangeOf(sub(a, b));
  if (d.min === 0 && d.max === 0) return bool(true);
  return d.max < 0 || d.min > 0 ? bool(false) : compare("eq", a, b);
}

export function and(a: Expr, b: Expr): Expr {
  if (isConst(a, 0) || isConst(b, 1)) return a;
  if (isConst(b, 0) || isConst(a, 1)) return b;
  return { kind: "logic", dtype: "bool", op: "and", a, b };
}

export function select(condition: Expr, yes: Expr, no: Expr): Expr {
  if (condition.kind === "const") return condition.value ? yes : no;
  // Nested selects with the same fallback merge into one select.
  if (yes.kind === "select" && no.kind === "const" && keyOf(yes.no) === keyOf(no))
    return select(and(condition, yes.condition), yes.yes, no);
  const width = widthOf(yes);
  return { kind: "select", dtype: yes.dtype, ...(width && { width }), condition, yes, no };
}
