/**
 * Integers as floats. Where integers were made of floats, as quantization makes them, these are taken instead of
 * converting back: gradients pass through floats only.
 */
import { build, isConstant, type Node, opRecord, ops } from "../../../compiler/index.ts";

const { add, cast, is, max, min, round, roundStraightThrough, stopGradient } = ops;

/** The elements in f32. */
export const wide = (x: Node): Node => (x.type.dtype === "f32" ? x : (madeOf(x) ?? cast(x, "f32")));

/** The whole floats within a range that integers were cast from, possibly moved since. */
function madeOf(x: Node): Node | undefined {
  const [from] = x.operands;
  if (is(cast, x) && x.type.dtype === "i32" && from!.type.dtype === "f32" && isWhole(from!) && isBounded(from!))
    return from;
  const moved = isMoved(x) ? madeOf(from!) : undefined;
  return moved && build(x.op, [moved], x.attrs);
}

const isMoved = (x: Node): boolean => opRecord(x.op).kind === "movement" && x.operands.length === 1;

/** Whether no element of a float tensor saturates as an integer. */
const isBounded = (x: Node): boolean => is(min, x) && isConstant(x.operands[1]!) && is(max, x.operands[0]!);

/** Operators whose result is whole if their operands are. */
const kept = [add, min, max, stopGradient];

/** Whether each element of a float tensor is a whole number by construction. */
function isWhole(x: Node): boolean {
  if (is(round, x) || is(roundStraightThrough, x)) return true;
  if (isConstant(x)) return Number.isInteger(x.attrs.value);
  if (is(cast, x)) return x.operands[0]!.type.dtype === "i32";
  return (isMoved(x) || kept.some((op) => is(op, x))) && x.operands.every(isWhole);
}
