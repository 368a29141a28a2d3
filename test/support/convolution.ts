/** Convolutions for tests: the graph of one with its gradients, and its definition as plain loops. */
import {
  addDims,
  type Dim,
  type DType,
  differentiate,
  type Graph,
  makeGraph,
  mulDims,
  type Node,
  ops,
  type SizedAxis,
  type Sizes,
  symbol,
} from "../../compiler/index.ts";

export interface ConvolutionCase {
  readonly batch?: Dim;
  readonly rows: number;
  readonly columns: number;
  /** Channels per group. */
  readonly from: number;
  readonly to: number;
  /** Groups of channels; a depthwise convolution has one channel per group. */
  readonly groups?: number;
  /** Rows and columns. */
  readonly kernel: readonly [number, number];
  readonly stride?: number;
  readonly dilation?: number;
  /** Zero padding before and after the rows, and before and after the columns. */
  readonly padding?: readonly [number, number, number, number];
  readonly dtype?: DType;
  /** Position of the channels in the feature map; default last. */
  readonly layout?: "channels-last" | "channels-first";
  /** Axis order of the weights: that preferred by the gradients, or PyTorch's. */
  readonly weights?: "kernel-from" | "from-kernel";
  /** Which of y and the gradients of x and w to compute. */
  readonly results?: readonly ("y" | "dx" | "dw")[];
}

/** A case whose map has sides of any size. */
type OpenCase = Omit<ConvolutionCase, "rows" | "columns"> & { readonly rows: Dim; readonly columns: Dim };

/** The case with sides that are open by whole strides, and what its own sides are. */
export function openSides(c: ConvolutionCase): { readonly open: OpenCase; readonly sizes: Sizes } {
  const { stride = 1, rows, columns } = c;
  const strides = { rows: Math.floor(rows / stride), columns: Math.floor(columns / stride) };
  const side = (name: "rows" | "columns"): Dim =>
    addDims(mulDims(symbol(name, { min: strides[name] - 1, max: 64 }), stride), c[name] % stride);
  return { open: { ...c, rows: side("rows"), columns: side("columns") }, sizes: strides };
}

const sized = (sizes: Readonly<Record<string, Dim>>) =>
  Object.entries(sizes).map(([name, size]) => ({ name, size })) as SizedAxis[];

const settled = <C extends OpenCase>(c: C) => ({
  batch: 2 as Dim,
  groups: 1,
  stride: 1,
  dilation: 1,
  padding: [0, 0, 0, 0] as const,
  dtype: "f32" as DType,
  layout: "channels-last",
  weights: "kernel-from",
  results: ["y", "dx", "dw"] as const,
  ...c,
});

/** Padded sliding windows, contracted with the weights; groups are a batch axis. */
export function convolved(x: Node, w: Node, c: OpenCase): Node {
  const { kernel, stride, dilation, padding } = settled(c);
  let windows = x;
  for (const [i, axis] of (["row", "column"] as const).entries()) {
    windows = ops.pad(windows, axis, padding[2 * i]!, padding[2 * i + 1]!);
    windows = ops.window(windows, axis, axis, { name: `k_${axis}`, size: kernel[i]! }, stride, dilation);
  }
  return ops.contract(windows, w, ["from", "k_row", "k_column"]);
}

/** x, w and the cotangent dy as inputs; y and the gradients as outputs. */
export function convolutionGraph(c: OpenCase): Graph {
  const { batch, rows, columns, from, to, groups, kernel, dtype, layout, weights, results } = settled(c);
  const group: Readonly<Record<string, number>> = groups > 1 ? { group: groups } : {};
  const map =
    layout === "channels-last"
      ? { row: rows, column: columns, ...group, from }
      : { ...group, from, row: rows, column: columns };
  const taps = { k_row: kernel[0], k_column: kernel[1] };
  const x = ops.input("x", dtype, sized({ batch, ...map }));
  const w = ops.input(
    "w",
    dtype,
    sized({ ...group, to, ...(weights === "kernel-from" ? { ...taps, from } : { from, ...taps }) }),
  );
  const y = convolved(x, w, c);
  const dy = ops.input("dy", dtype, y.type.axes);
  const axes = y.type.axes.map((a) => a.name);
  // f16 sums would overflow: the loss is linear in y, and its value is not needed.
  const loss = ops.reduceSum(ops.cast(ops.mul(y, dy), "f32"), axes);
  const [dx, dw] = differentiate(loss, [x, w]) as [Node, Node];
  const nodes = { y, dx, dw };
  return makeGraph(
    "convolution",
    results.map((name) => ({ name, node: nodes[name] })),
    [x, w, dy],
  );
}

/** The same by definition: loops over all positions, kernel elements and channel pairs. */
export function convolutionByLoops(
  c: ConvolutionCase,
  graph: Graph,
  values: ReadonlyMap<string, Float64Array>,
): Record<"y" | "dx" | "dw", Float64Array> {
  const { from, to, groups, kernel, stride, dilation, padding, rows, columns } = settled(c);
  const [x, w, dy] = ["x", "w", "dy"].map((name) => {
    const { axes } = graph.inputs.find((n) => n.attrs.name === name)!.type;
    return { axes, data: values.get(name)!, gradient: new Float64Array(values.get(name)!.length) };
  }) as [Tensor, Tensor, Tensor];
  const y = new Float64Array(dy.data.length);
  const sizeOf = (t: Tensor, name: string): number => t.axes.find((a) => a.name === name)?.size as number;
  for (let n = 0; n < sizeOf(x, "batch"); n++)
    for (let g = 0; g < groups; g++)
      for (let i = 0; i < sizeOf(dy, "row"); i++)
        for (let j = 0; j < sizeOf(dy, "column"); j++)
          for (let o = 0; o < to; o++) {
            const out = place(dy, { batch: n, group: g, row: i, column: j, to: o });
            for (let ki = 0; ki < kernel[0]; ki++)
              for (let kj = 0; kj < kernel[1]; kj++) {
                const [row, column] = [
                  i * stride + ki * dilation - padding[0],
                  j * stride + kj * dilation - padding[2],
                ];
                if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
                for (let f = 0; f < from; f++) {
                  const at = place(x, { batch: n, group: g, row, column, from: f });
                  const tap = place(w, { group: g, to: o, from: f, k_row: ki, k_column: kj });
                  y[out]! += x.data[at]! * w.data[tap]!;
                  x.gradient[at]! += dy.data[out]! * w.data[tap]!;
                  w.gradient[tap]! += dy.data[out]! * x.data[at]!;
                }
              }
          }
  return { y, dx: x.gradient, dw: w.gradient };
}

interface Tensor {
  readonly axes: readonly { readonly name: string; readonly size: Dim }[];
  readonly data: Float64Array;
  readonly gradient: Float64Array;
}

const place = ({ axes }: Tensor, index: Readonly<Record<string, number>>): number =>
  axes.reduce((n, a) => n * (a.size as number) + index[a.name]!, 0);

const base = { rows: 9, columns: 8, from: 3, to: 4 } as const;

/** Strides, paddings, dilations, groups and indivisible sizes: small, so that every executor runs all of them. */
export const convolutionCases: Readonly<Record<string, ConvolutionCase>> = {
  "1 x 1": { ...base, kernel: [1, 1] },
  "1 x 1, stride 2": { ...base, kernel: [1, 1], stride: 2 },
  "3 x 3, same": { ...base, kernel: [3, 3], padding: [1, 1, 1, 1] },
  "3 x 3, valid": { ...base, kernel: [3, 3] },
  "3 x 3, stride 2, same": { ...base, kernel: [3, 3], stride: 2, padding: [1, 1, 1, 1] },
  "3 x 3, stride 2, more zeros after than before": { ...base, kernel: [3, 3], stride: 2, padding: [0, 1, 0, 1] },
  "3 x 3, stride 3, more zeros before than after": { ...base, kernel: [3, 3], stride: 3, padding: [2, 0, 3, 1] },
  "3 x 3, dilated": { ...base, kernel: [3, 3], dilation: 2, padding: [2, 2, 2, 2] },
  "3 x 2, dilated by 3, stride 2": { ...base, kernel: [3, 2], dilation: 3, stride: 2, padding: [1, 2, 0, 0] },
  "2 x 2, stride 2: patches": { ...base, kernel: [2, 2], stride: 2 },
  "2 x 2, stride 3: places that no window has": { ...base, kernel: [2, 2], stride: 3 },
  "2 x 2, stride 2, dilated by 2": { ...base, kernel: [2, 2], stride: 2, dilation: 2 },
  "5 x 3, same": { ...base, kernel: [5, 3], padding: [2, 2, 1, 1] },
  "7 x 7, stride 2, a stem": { ...base, rows: 13, columns: 11, kernel: [7, 7], stride: 2, padding: [3, 3, 3, 3] },
  "3 x 3, two groups": { ...base, from: 4, groups: 2, kernel: [3, 3], padding: [1, 1, 1, 1] },
  "3 x 3, two groups, stride 2": { ...base, from: 4, groups: 2, kernel: [3, 3], stride: 2, padding: [1, 1, 1, 1] },
  "3 x 3, depthwise": { ...base, from: 1, to: 1, groups: 5, kernel: [3, 3], padding: [1, 1, 1, 1] },
  "3 x 3, depthwise, eight channels, stride 2": {
    ...base,
    from: 1,
    to: 1,
    groups: 8,
    kernel: [3, 3],
    stride: 2,
    padding: [1, 1, 1, 1],
  },
  "5 x 5, depthwise, two results a channel": {
    ...base,
    from: 1,
    to: 2,
    groups: 4,
    kernel: [5, 5],
    padding: [2, 2, 2, 2],
  },
  "channels first": {
    ...base,
    layout: "channels-first",
    weights: "from-kernel",
    kernel: [3, 3],
    stride: 2,
    padding: [1, 1, 1, 1],
  },
  "a batch of one": { ...base, batch: 1, kernel: [3, 3], padding: [1, 1, 1, 1] },
};
