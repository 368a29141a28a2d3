/**
 * Convolutions of the language beside PyTorch's conv2d: y and both gradients. scripts/reference/convolution.py made the
 * fixture.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { differentiate, type Graph, inputName, makeGraph, ops } from "../../compiler/index.ts";
import { axis, convolution, input, rootParams } from "../../dsl/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { runOn } from "../webgpu/support.ts";

interface Case {
  readonly batch: number;
  readonly groups: number;
  /** From and to, of a group. */
  readonly channels: readonly [number, number];
  readonly map: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride: number;
  readonly dilation: number;
  /** Top, bottom, left, right. */
  readonly padding: readonly [number, number, number, number];
  /** PyTorch's of y: batch, channels, rows, columns. */
  readonly shape: readonly [number, number, number, number];
  readonly y: Digest;
  readonly dx: Digest;
  readonly dw: Digest;
}
/** The norm of a tensor, and its product with cos(1), cos(2) ... in PyTorch's order. */
type Digest = readonly [norm: number, product: number];

const cases = JSON.parse(
  readFileSync(new URL("../fixtures/models/convolution.json", import.meta.url), "utf8"),
) as Case[];

/** The graph with its results in PyTorch's order. */
function graphOf(c: Case): Graph {
  const { batch, groups, kernel, stride, dilation, padding } = c;
  const [own, each] = c.channels;
  const [from, to] = [axis("from", groups * own), axis("to", groups * each)];
  const x = input("x", "f32", [axis("batch", batch), from, axis("row", c.map[0]), axis("column", c.map[1])]);
  const y = convolution(rootParams(), x, from, to, {
    kernel,
    stride,
    dilation,
    groups,
    padding: [
      [padding[0], padding[1]],
      [padding[2], padding[3]],
    ],
    bias: false,
  });
  const dy = ops.input("dy", "f32", ops.transpose(y, ["batch", "to", "row", "column"]).type.axes);
  const loss = ops.reduceSum(ops.mul(y, dy), ["batch", "to", "row", "column"]);
  const weight = makeGraph("w", [{ name: "y", node: y }]).inputs.find((n) => inputName(n) === "weight")!;
  const [dx, dw] = differentiate(loss, [x, weight]);
  const group = groups > 1 ? ["group"] : [];
  const rows = groups > 1 ? "to_of_group" : "to";
  return makeGraph("convolution", [
    { name: "y", node: ops.transpose(y, ["batch", "to", "row", "column"]) },
    { name: "dx", node: dx! },
    { name: "dw", node: ops.transpose(dw!, [...group, rows, "from", "kernel_row", "kernel_column"]) },
  ]);
}

/** sin(speed), sin(2 speed) ... in PyTorch's order, laid out as the graph has it. */
function valuesOf(c: Case, graph: Graph): Map<string, Float64Array> {
  const [own, each] = c.channels;
  const [rows, columns] = c.kernel;
  const sines = (count: number, speed: number) =>
    Float64Array.from({ length: count }, (_, i) => Math.sin(speed * (i + 1)));
  const published = sines(c.groups * each * own * rows * columns, 1.3);
  const weight = new Float64Array(published.length);
  // [to, from, row, column] becomes [to, row, column, from]; groups are the slowest of both.
  published.forEach((v, i) => {
    const [column, row, channel] = [
      i % columns,
      Math.floor(i / columns) % rows,
      Math.floor(i / (columns * rows)) % own,
    ];
    const out = Math.floor(i / (columns * rows * own));
    weight[((out * rows + row) * columns + column) * own + channel] = v;
  });
  const size = (name: string): number =>
    graph.inputs.find((n) => inputName(n) === name)!.type.axes.reduce((n, a) => n * (a.size as number), 1);
  return new Map([
    ["x", sines(size("x"), 0.7)],
    ["dy", sines(size("dy"), 2.1)],
    ["weight", weight],
  ]);
}

function digest(data: ArrayLike<number>): Digest {
  let [squares, product] = [0, 0];
  for (let i = 0; i < data.length; i++) {
    squares += data[i]! ** 2;
    product += data[i]! * Math.cos(i + 1);
  }
  return [Math.sqrt(squares), product];
}

const name = (c: Case) => `${c.kernel.join(" x ")}, stride ${c.stride}, dilation ${c.dilation}, ${c.groups} groups`;

describe.each(cases.map((c) => ({ name: name(c), c })))("$name", ({ c }) => {
  const graph = graphOf(c);
  const values = valuesOf(c, graph);

  it("is PyTorch's, by the reference", () => {
    const got = evaluate(graph, values);
    for (const part of ["y", "dx", "dw"] as const)
      expect([part, digest(got.get(part)!.data)]).toEqual([part, c[part].map((v) => expect.closeTo(v, 9))]);
  });

  gpuTest("is PyTorch's, on a device", async ({ gpu }) => {
    const got = await runOn(gpu, graph, values);
    for (const part of ["y", "dx", "dw"] as const)
      expect([part, digest(got[part]!.data as Float32Array)]).toEqual([part, c[part].map((v) => expect.closeTo(v, 3))]);
  });
});
