/** Values by ranges of an axis, by compared positions. */
import { expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { makeGraph, ops } from "../../compiler/index.ts";
import { axis } from "../../dsl/index.ts";
import { piecewise } from "../../dsl/optim/piecewise.ts";

const pieces = [
  { start: 0, value: 0.5 },
  { start: 2, value: 0.5 },
  { start: 3, value: 0 },
  { start: 6, value: 2 },
];

it("gives each range of an axis its value", () => {
  const along = axis("arena", 7);
  const x = ops.input("x", "f32", [along]);
  const graph = makeGraph("g", [{ name: "y", node: ops.mul(x, piecewise(pieces, along)) }], [x]);
  const got = evaluate(graph, new Map([["x", new Float64Array(7).fill(1)]])).get("y")!.data;
  expect([...got]).toEqual([0.5, 0.5, 0.5, 0, 0, 0, 2]);
});

it("is a scalar where all agree", () => {
  expect(piecewise(pieces.slice(0, 2), axis("arena", 6)).type.axes).toEqual([]);
});
