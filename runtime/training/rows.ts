/** Slicing tensors along any axis. */
import { allocate, type HostTensor, hostTensor } from "../../compiler/index.ts";

/** The layout around an axis: `outer` blocks of `rows` rows of `inner` elements. */
function strides({ axes }: HostTensor, axis: string) {
  const at = axes.findIndex((a) => a.name === axis);
  const product = (sizes: HostTensor["axes"]) => sizes.reduce((n, a) => n * a.size, 1);
  return { outer: product(axes.slice(0, at)), rows: axes[at]!.size, inner: product(axes.slice(at + 1)) };
}

/** A copy of the rows [from, to). */
export function takeRows(tensor: HostTensor, axis: string, from: number, to: number): HostTensor {
  const { outer, rows, inner } = strides(tensor, axis);
  const taken = (to - from) * inner;
  const data = allocate(tensor.dtype, outer * taken);
  for (let o = 0; o < outer; o++) {
    const begin = (o * rows + from) * inner;
    data.set(tensor.data.subarray(begin, begin + taken), o * taken);
  }
  return hostTensor(
    tensor.dtype,
    tensor.axes.map((a) => (a.name === axis ? { name: axis, size: to - from } : a)),
    data,
  );
}

/** Writes the rows `part` into a tensor, from row `from` on. */
export function putRows(into: HostTensor, axis: string, from: number, part: HostTensor["data"]): void {
  const { outer, rows, inner } = strides(into, axis);
  const each = part.length / outer;
  for (let o = 0; o < outer; o++) into.data.set(part.subarray(o * each, (o + 1) * each), (o * rows + from) * inner);
}
