/** Rounding as ONNX's operators do it. */
import { type Node, ops } from "../../../compiler/index.ts";

const { abs, add, cast, div, eq, floor, lt, max, min, mul, ne, reduceMax, reduceMin, select, sub } = ops;

/** To the nearest whole number, halves to the even one. */
export function roundEven(x: Node): Node {
  const up = floor(add(x, 0.5));
  const tie = eq(sub(up, x), 0.5);
  const odd = ne(sub(up, mul(floor(mul(up, 0.5)), 2)), 0);
  // Beyond 2^23 every float is whole, and adding a half would round.
  return select(lt(abs(x), 2 ** 22), sub(up, cast(ops.and(tie, odd), x.type.dtype)), x);
}

/** Whole numbers of 0 to 255 in floats, what one of them stands for, and which of them stands for 0. */
export interface Rounded {
  readonly units: Node;
  readonly step: Node;
  readonly zero: Node;
}

const byte = (x: Node): Node => min(max(x, 0), 255);

/** A tensor in 8 bits, as DynamicQuantizeLinear has it: from its least number to its largest, 0 among them. */
export function roundedToBytes(x: Node): Rounded {
  const axes = x.type.axes.map((a) => a.name);
  const low = min(axes.length > 0 ? reduceMin(x, axes) : x, 0);
  const high = max(axes.length > 0 ? reduceMax(x, axes) : x, 0);
  const span = div(sub(high, low), 255);
  const step = select(eq(span, 0), 1, span); // all of it is 0
  const zero = byte(roundEven(div(sub(0, low), step)));
  return { units: byte(add(roundEven(div(x, step)), zero)), step, zero };
}
