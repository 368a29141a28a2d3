/** A layer as a file and as weights, for tests of the importer. */
import { type HostTensor, hostTensor, makeGraph, normal, ops, symbol } from "../../../compiler/index.ts";

/** A layer whose matrix is large enough to be kept as integers. */
export function layer() {
  const x = ops.input("x", "f32", [
    { name: "batch", size: symbol("batch") },
    { name: "in", size: 64 },
  ]);
  const axes = [
    { name: "out", size: 64 },
    { name: "in", size: 64 },
  ];
  const weight = ops.parameter("head.weight", "f32", axes, normal(0.02));
  const bias = ops.parameter("head.bias", "f32", [axes[0]!], normal(0.02));
  const y = ops.add(ops.contract(x, weight, ["in"]), bias);
  return makeGraph("layer", [{ name: "y", node: y }], [x]);
}

export const weightsOf = (p: { type: { axes: readonly { size: unknown }[] } }) => {
  const axes = (p as never as { type: { axes: { name: string; size: number }[] } }).type.axes;
  const length = axes.reduce((n, a) => n * a.size, 1);
  return hostTensor(
    "f32",
    axes,
    Float32Array.from({ length }, (_, i) => Math.sin(i) / 8),
  );
};

export const valuesOf = async (parameters: ReadonlyMap<string, { read: () => Promise<HostTensor> }>) => {
  const values = new Map<string, HostTensor>();
  for (const [name, { read }] of parameters) values.set(name, await read());
  return values;
};
