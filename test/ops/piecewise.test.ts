/** Values by ranges of an axis: compared positions, and parts where an axis is longer than positions count. */
import { expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { elementsOf, makeGraph, ops } from "../../compiler/index.ts";
import { axis } from "../../dsl/index.ts";
import { piecewise } from "../../dsl/optim/piecewise.ts";

const pieces = [
  { start: 0, value: 0.5 },
  { start: 2, value: 0.5 },
  { start: 3, value: 0 },
  { start: 6, value: 2 },
];

it.each([7, 6])("an axis of 7, of which positions count %d", (counted) => {
  const along = axis("arena", 7);
  const x = ops.input("x", "f32", [along]);
  const graph = makeGraph("g", [{ name: "y", node: ops.mul(x, piecewise(pieces, along, counted)) }], [x]);
  const got = evaluate(graph, new Map([["x", new Float64Array(7).fill(1)]])).get("y")!.data;
  expect([...got]).toEqual([0.5, 0.5, 0.5, 0, 0, 0, 2]);
});

it("is a scalar where all agree, and reaches beyond i32", () => {
  const along = axis("arena", 6e9);
  expect(piecewise(pieces.slice(0, 2), along).type.axes).toEqual([]);
  const far = piecewise([...pieces, { start: 5e9, value: 1 }], along);
  expect(elementsOf(far.type)).toBe(6e9);
});
