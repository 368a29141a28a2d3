/** Host tensors for a cache: creating and enlarging them, and a prefill's inputs other than its ids. */
import {
  allocate,
  type DType,
  elementCount,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  loneSymbol,
  type SizedAxis,
  sourceOf,
} from "../../compiler/index.ts";

export const zeros = (dtype: DType, axes: readonly SizedAxis[]): HostTensor =>
  hostTensor(dtype, axes, allocate(dtype, elementCount(axes)));

/** The tensor, zero-padded to `size` along one axis. */
export function enlarged(tensor: HostTensor, along: string, size: number): HostTensor {
  const at = tensor.axes.findIndex((a) => a.name === along);
  const inner = elementCount(tensor.axes.slice(at + 1));
  const [from, to] = [tensor.axes[at]!.size * inner, size * inner];
  const axes = tensor.axes.map((a, i) => (i === at ? { name: along, size } : a));
  const grown = zeros(tensor.dtype, axes);
  for (let row = 0; row * from < tensor.data.length; row++)
    grown.data.set(tensor.data.subarray(row * from, (row + 1) * from), row * to);
  return grown;
}

/** Values for the symbolic sizes of a graph's inputs, taken from the feeds. */
export function openSizes(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const node of graph.inputs.filter((n) => Object.hasOwn(feeds, inputName(n)))) {
    for (const [i, { size }] of node.type.axes.entries()) {
      const symbol = loneSymbol(size);
      if (symbol) sizes[symbol.name] = feeds[inputName(node)]!.axes[i]!.size;
    }
  }
  return sizes;
}

/** `position_ids` from 0 and an `attention_mask` of ones, if the graph has such inputs: a text without padding. */
export function plainContext(graph: Graph): Record<string, HostTensor> {
  const values: Readonly<Record<string, (place: number) => number>> = {
    position_ids: (place) => place,
    attention_mask: () => 1,
  };
  const wanted = graph.inputs.filter((n) => sourceOf(n) === "input" && Object.hasOwn(values, inputName(n)));
  return Object.fromEntries(
    wanted.map((node) => {
      const axes = node.type.axes as readonly SizedAxis[];
      const length = axes.at(-1)!.size;
      const data = Int32Array.from({ length: elementCount(axes) }, (_, i) => values[inputName(node)]!(i % length));
      return [inputName(node), hostTensor("i32", axes, data)];
    }),
  );
}
