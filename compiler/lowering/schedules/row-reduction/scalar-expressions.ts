/** Folds as kernel expressions: the arithmetic of op records, and the initial values of accumulators. */
import type { Accumulator, ScalarAlgebra } from "../../../ir/algebra.ts";
import { type DType, finiteRange } from "../../../ir/dtype.ts";
import { type Expr, float, floatArith, opCall } from "../../../kernel/index.ts";
import { select } from "../../../kernel/simplify.ts";

/** The initial value of an accumulator. WGSL has no infinities: the extremes are the largest finite values. */
export const startOf = (start: Accumulator["start"], dtype: DType): Expr =>
  float(typeof start === "number" ? start : finiteRange[dtype][start === "lowest" ? 0 : 1], dtype);

/** The arithmetic that op records are written in, as expressions of one dtype. */
export function scalarExprs(dtype: DType): ScalarAlgebra<Expr> {
  const compare =
    (op: "lt" | "eq") =>
    (a: Expr, b: Expr): Expr => ({ kind: "compare", dtype: "bool", op, a, b });
  const logic =
    (op: "and" | "or") =>
    (a: Expr, b: Expr): Expr => ({ kind: "logic", dtype: "bool", op, a, b });
  return {
    constant: (value) => float(value, dtype),
    add: (a, b) => floatArith("add", a, b),
    sub: (a, b) => floatArith("sub", a, b),
    mul: (a, b) => floatArith("mul", a, b),
    min: (a, b) => floatArith("min", a, b),
    max: (a, b) => floatArith("max", a, b),
    less: compare("lt"),
    equal: compare("eq"),
    and: logic("and"),
    or: logic("or"),
    select,
    call: (op, ...operands) => opCall(op, dtype, operands),
  };
}
