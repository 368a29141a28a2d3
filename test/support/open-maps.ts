/** A small convolutional net over maps of open height and width, with its gradients. */
import {
  addDims,
  differentiate,
  type Graph,
  makeGraph,
  mulDims,
  type Node,
  ops,
  symbol,
} from "../../compiler/index.ts";

/** Rows come by fours, as two strides of 2 need, and columns are 4 columns + 1. */
export function openMapNet(): Graph {
  const x = ops.input("x", "f32", [
    { name: "batch", size: symbol("batch") },
    { name: "from", size: 3 },
    { name: "row", size: mulDims(4, symbol("rows")) },
    { name: "column", size: addDims(mulDims(4, symbol("columns")), 1) },
  ]);
  const taps = [
    { name: "k_row", size: 3 },
    { name: "k_column", size: 3 },
  ];
  const convolved = (y: Node, w: Node, stride: number, dilation = 1): Node => {
    let windows = y;
    for (const axis of ["row", "column"])
      windows = ops.window(
        ops.pad(windows, axis, dilation, dilation),
        axis,
        axis,
        { name: `k_${axis}`, size: 3 },
        stride,
        dilation,
      );
    return ops.contract(windows, w, ["from", "k_row", "k_column"]);
  };
  const w1 = ops.input("w1", "f32", [{ name: "to", size: 4 }, ...taps, { name: "from", size: 3 }]);
  const w2 = ops.input("w2", "f32", [{ name: "out", size: 5 }, ...taps, { name: "from", size: 4 }]);
  const w3 = ops.input("w3", "f32", [{ name: "label", size: 3 }, ...taps, { name: "from", size: 5 }]);
  const a = ops.gelu(convolved(x, w1, 1, 2));
  const b = ops.gelu(convolved(ops.rename(a, "to", "from"), w2, 2));
  let pooled: Node = b;
  for (const axis of ["row", "column"])
    pooled = ops.window(ops.pad(pooled, axis, 0, 1), axis, axis, { name: `p_${axis}`, size: 2 }, 2);
  const c = convolved(ops.rename(ops.reduceMax(pooled, ["p_row", "p_column"]), "out", "from"), w3, 1);
  const dy = ops.input("dy", "f32", c.type.axes);
  const loss = ops.reduceSum(
    ops.mul(c, dy),
    c.type.axes.map((axis) => axis.name),
  );
  const gradients = differentiate(loss, [x, w1, w2, w3]);
  return makeGraph("open_maps", [
    { name: "y", node: c },
    ...gradients.map((node, i) => ({ name: `d${i}`, node: node! })),
  ]);
}
