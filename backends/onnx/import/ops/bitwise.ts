/** Bitwise operators and shifts, in arithmetic: the graph IR has no bitwise ops. */
import { type Node, ops } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import type { Value } from "../values.ts";

const { add, cast, eq, ge, idiv, lt, max, min, mod, mul, select, sub } = ops;

/** Operators that are computed bit by bit. */
function bitwise(make: (a: Node, b: Node) => Node): ImportRecord {
  return {
    build: (n) => {
      const { type } = n.integersIn(0);
      return pointwise(n, [n.in(0), n.in(1)], ([a, b]) => {
        let sum: Node | undefined;
        const width = Math.min(type.bits, 32);
        for (let i = 0; i < width; i++) {
          const one = make(bitOf(a!, i), bitOf(b!, i)); // 0 or 1
          const weight = i === 31 && type.dtype === "i32" ? -(2 ** 31) : 2 ** i;
          const term = mul(one, weight);
          sum = sum ? add(sum, term) : term;
        }
        return sum!;
      });
    },
  };
}

/** Bit i of an integer in two's complement, as 0 or 1. */
function bitOf(x: Node, i: number): Node {
  if (x.type.dtype === "u32") return mod(idiv(x, 2 ** i), 2);
  // Arithmetic right shift: division rounding toward minus infinity.
  if (i === 31) return cast(lt(x, 0), "i32");
  const unit = 2 ** i;
  const quotient = idiv(sub(x, positiveMod(x, unit)), unit);
  return positiveMod(quotient, 2);
}

const positiveMod = (x: Node, by: number): Node => (by === 1 ? mul(x, 0) : mod(add(mod(x, by), by), by));

/**
 * Elementwise shifts; right shifts of signed types are arithmetic. Shifts beyond the width give 0, or -1 for negative
 * numbers shifted right.
 */
function bitShift(n: NodeView): Value {
  const left = n.choice("direction", "LEFT", ["LEFT", "RIGHT"]) === "LEFT";
  const { type } = n.integersIn(0);
  const width = Math.min(type.bits, 32);
  return pointwise(n, [n.in(0), n.in(1)], ([x, by]) => {
    const isSigned = type.range![0] < 0;
    const inside = isSigned ? ops.and(ge(by!, 0), lt(by!, width)) : lt(by!, width);
    const places = cast(select(inside, by!, 0), "u32");
    // Powers of two up to 31, multiplied together: 2^by is 1 · Π (bit ? 2^2^k : 1).
    let unit: Node = ops.constant(1, "u32");
    for (let k = 0; k < 5; k++) {
      const factor = ops.constant(2 ** (2 ** k), "u32");
      unit = mul(unit, select(eq(mod(idiv(places, 2 ** k), 2), 1), factor, ops.constant(1, "u32")));
    }
    const { dtype } = x!.type;
    if (left) return select(inside, cast(mul(cast(x!, "u32"), unit), dtype), 0);
    if (!isSigned) return select(inside, cast(idiv(cast(x!, "u32"), unit), dtype), 0);
    // A negative number shifts as its complement: −1 − ((−1 − x) >> by).
    const isNegative = lt(x!, 0);
    const shifted = cast(idiv(cast(select(isNegative, sub(-1, x!), x!), "u32"), unit), dtype);
    return select(
      inside,
      select(isNegative, sub(-1, shifted), shifted),
      select(isNegative, -1, ops.constant(0, dtype)),
    );
  });
}

const bitwiseNot = (x: Node): Node => (x.type.dtype === "u32" ? sub(ops.constant(2 ** 32 - 1, "u32"), x) : sub(-1, x));

export const bitwiseRecords: Records = {
  BitwiseAnd: bitwise((a, b) => mul(a, b)),
  BitwiseOr: bitwise((a, b) => max(a, b)),
  BitwiseXor: bitwise((a, b) => sub(max(a, b), min(a, b))),
  BitwiseNot: { build: (n) => pointwise(n, [n.integersIn(0)], ([x]) => bitwiseNot(x!)) },
  BitShift: { build: bitShift },
};
