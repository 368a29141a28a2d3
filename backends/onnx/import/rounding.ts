/** Rounding with the semantics of ONNX's operators. */
import { type Node, ops } from "../../../compiler/index.ts";

const { abs, add, cast, div, eq, floor, lt, max, min, mul, ne, reduceMax, reduceMin, select, sub } = ops;

/** Rounds to the nearest integer, ties to even. */
export function roundEven(x: Node): Node {
  const up = floor(add(x, 0.5));
  const tie = eq(sub(up, x), 0.5);
  const odd = ne(sub(up, mul(floor(mul(up, 0.5)), 2)), 0);
  // From 2^23 on, every float is an integer, and adding 0.5 would round.
  return select(lt(abs(x), 2 ** 22), sub(up, cast(ops.and(tie, odd), x.type.dtype)), x);
}

/** Quantized values 0 to 255 as floats, with scale (`step`) and zero point. */
export interface Rounded {
  readonly units: Node;
  readonly step: Node;
  readonly zero: Node;
}

const byte = (x: Node): Node => min(max(x, 0), 255);

/** Quantizes to 8 bits as DynamicQuantizeLinear does: the range is the tensor's min and max, extended to include 0. */
export function roundedToBytes(x: Node): Rounded {
  const axes = x.type.axes.map((a) => a.name);
  const low = min(axes.length > 0 ? reduceMin(x, axes) : x, 0);
  const high = max(axes.length > 0 ? reduceMax(x, axes) : x, 0);
  const span = div(sub(high, low), 255);
  const step = select(eq(span, 0), 1, span); // the tensor is all zeros
  const zero = byte(roundEven(div(sub(0, low), step)));
  return { units: byte(add(roundEven(div(x, step)), zero)), step, zero };
}
