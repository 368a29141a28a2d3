/** Layers on images of any size, known when the graph runs: what they are on images of that size. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { bindSizes, differentiate, type Graph, inputName, makeGraph, type Node, ops } from "../../compiler/index.ts";
import {
  type AnyTensor,
  add,
  averagePool,
  axis,
  bicubic,
  bilinear,
  convolution,
  type Dim,
  imageAxes,
  input,
  interpolatePositions,
  maxPool,
  mulDims,
  patchEmbedding,
  rename,
  resize,
  rootParams,
  symbol,
  truncatedNormal,
} from "../../dsl/index.ts";
import { inputValues } from "../support/random-graph.ts";

/** y, and the gradients of everything that it is computed from. */
function withGradients(y: AnyTensor): Graph {
  const node: Node = ops.transpose(y, y.type.axes.map((a) => a.name).sort());
  const inputs = makeGraph("of", [{ name: "y", node }]).inputs;
  const dy = ops.input("dy", "f32", node.type.axes);
  const loss = ops.reduceSum(
    ops.mul(node, dy),
    node.type.axes.map((a) => a.name),
  );
  const gradients = differentiate(loss, inputs);
  return makeGraph("open_images", [
    { name: "y", node },
    ...gradients.map((g, i) => ({ name: `d_${inputName(inputs[i]!)}`, node: g! })),
  ]);
}

const layers: Readonly<Record<string, (rows: Dim, columns: Dim) => AnyTensor>> = {
  "patches with positions of a grid of 3 x 3": (rows, columns) => {
    const image = imageAxes([mulDims(4, rows), mulDims(4, columns)]);
    const [embed, patch] = [axis("embed", 5), axis("token", mulDims(rows, columns))];
    const p = rootParams();
    const x = patchEmbedding(p, input("x", "f32", Object.values(image)), image, 4, embed, patch);
    const positions = p.parameter("position", [axis("token", 9), embed], truncatedNormal(0.02));
    return add(x, interpolatePositions(positions, 3, [rows, columns]));
  },
  "convolutions and pooling, brought to the size of the first map": (rows, columns) => {
    const image = imageAxes([mulDims(4, rows), mulDims(4, columns)]);
    const [p, x] = [rootParams(), input("x", "f32", Object.values(image))];
    const [to, deep] = [axis("to", 4), axis("deep", 4)];
    const first = convolution(p.scope("a"), x, image.channel, to, { kernel: 3, stride: 2 });
    const pooled = averagePool(maxPool(first, { kernel: 3, stride: 2, padding: 1 }), {
      kernel: 3,
      stride: 1,
      padding: 1,
      countPadding: false,
    });
    const second = convolution(p.scope("b"), pooled, to, deep, { kernel: [3, 5], dilation: 2 });
    return add(first, rename(resize(second, mulDims(2, rows), mulDims(2, columns), bilinear), deep, to));
  },
  "a map of open sides brought to 4 x 5": (rows, columns) =>
    resize(input("x", "f32", [axis("channel", 2), axis("row", rows), axis("column", columns)]), 4, 5, bicubic),
};

describe.each(Object.entries(layers))("%s", (_, layer) => {
  const open = withGradients(layer(symbol("rows"), symbol("columns")));
  it.each([
    [2, 5],
    [4, 1],
  ])("at %i x %i", (rows, columns) => {
    const fixed = withGradients(layer(rows, columns));
    const values = inputValues(fixed, 7);
    const [got, want] = [evaluate(bindSizes(open, { rows, columns }), values), evaluate(fixed, values)];
    for (const [name, { data }] of want) {
      expect(data.some((v) => v !== 0)).toBe(true);
      data.forEach((v, i) => {
        expect(got.get(name)!.data[i], `${name} ${i}`).toBeCloseTo(v, 5);
      });
    }
  });
});

describe("a size that is no multiple of the strides", () => {
  const map = (rows: Dim) => input("x", "f32", [axis("row", rows), axis("column", 8)]);

  it("is an error that says what to declare", () => {
    expect(() => maxPool(map(symbol("rows")), { kernel: 2 })).toThrow(
      /the stride along "row" is 2, and its size rows.*\n.*make the size a multiple of 2, as in mulDims\(2, symbol\("rows"\)\)/s,
    );
    expect(() => maxPool(map(symbol("rows")), { kernel: 3, stride: 1 })).toThrow(
      /at its smallest it is 1; declare symbol\("rows", { min: 3 }\)/,
    );
    expect(() => maxPool(map(symbol("rows", { min: 3 })), { kernel: 3, stride: 1 })).not.toThrow();
    expect(() => resize(map(symbol("rows")), 4, 4, (from, to) => Array(from * to).fill(1))).toThrow(
      "this mode needs numeric sizes; bilinear and bicubic take symbolic ones",
    );
  });
});
