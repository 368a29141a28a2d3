/** Quantization to 8 bits by the range of the values. */
import { type Node, ops } from "../../../compiler/index.ts";

const { add, div, eq, max, min, reduceMax, reduceMin, round, roundStraightThrough, select, stopGradient, sub } = ops;

/** Quantized values 0 to 255 as floats, with scale (`step`) and zero point. */
export interface Rounded {
  readonly units: Node;
  readonly step: Node;
  readonly zero: Node;
}

const byte = (x: Node): Node => min(max(x, 0), 255);

/**
 * Quantizes to 8 bits as DynamicQuantizeLinear does: the range is the tensor's min and max, extended to include 0. In
 * training, scale and zero point are constants, as observers' are in PyTorch.
 */
export function roundedToBytes(x: Node): Rounded {
  const axes = x.type.axes.map((a) => a.name);
  const low = min(axes.length > 0 ? reduceMin(x, axes) : x, 0);
  const high = max(axes.length > 0 ? reduceMax(x, axes) : x, 0);
  const span = div(sub(high, low), 255);
  const step = stopGradient(select(eq(span, 0), 1, span)); // the tensor is all zeros
  const zero = stopGradient(byte(round(div(sub(0, low), step))));
  return { units: byte(add(roundStraightThrough(div(x, step)), zero)), step, zero };
}
