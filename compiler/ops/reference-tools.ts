/** Index arithmetic of the ops' references: row-major strides by axis name, and offsets. */
import type { TensorType } from "../ir/type.ts";

/** The row-major stride, in elements, of each axis of `type`. */
export function strides(type: TensorType): number[] {
  const out = new Array<number>(type.axes.length);
  let step = 1;
  for (let i = type.axes.length - 1; i >= 0; i--) {
    out[i] = step;
    step *= type.axes[i]!.size as number;
  }
  return out;
}

/** The offset of the element at an index: the sum of the indices times their strides. */
export const offsetAt = (index: readonly number[], steps: readonly number[]): number =>
  index.reduce((sum, i, d) => sum + i * steps[d]!, 0);

/** For each axis of `over`, the stride of the axis with that name in `type`; 0 if `type` lacks it. */
export function broadcastStrides(type: TensorType, over: TensorType): number[] {
  const own = strides(type);
  return over.axes.map((axis) => {
    const at = type.axes.findIndex((a) => a.name === axis.name);
    return at < 0 ? 0 : own[at]!;
  });
}

/** The stride of one axis by name; 0 if the type lacks it. */
export function strideOf(type: TensorType, name: string): number {
  const at = type.axes.findIndex((a) => a.name === name);
  return at < 0 ? 0 : strides(type)[at]!;
}
