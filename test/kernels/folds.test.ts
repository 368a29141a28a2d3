/** Folds of several accumulators, in one thread and shared by a workgroup, against the reference. */
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { differentiate, type Graph, makeGraph, ops } from "../../compiler/index.ts";
import { reduceLogMeanExp } from "../../examples/ops/log-mean-exp.ts";
import { inputValues } from "../support/random-graph.ts";
import { describeRecords } from "../support/record-checks.ts";
import { excess } from "../support/samples.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

describeRecords([reduceLogMeanExp.record]);

function agree(graph: Graph, values: ReadonlyMap<string, Float64Array>, adapter: string): void {
  const got = interpretProgram(compileFor(graph, adapters[adapter]!), values);
  for (const [name, want] of evaluate(graph, values)) {
    expect(excess(got.get(name)!, want.data, 1e-4, 1e-4)).toBeLessThanOrEqual(0);
  }
}

/** Rows shorter than a workgroup, rows that no power of two divides, and rows that end in the middle of a turn. */
const widths = [1, 7, 64, 300, 1025];

describe.each(Object.keys(adapters))("kernels for a %s adapter", (adapter) => {
  test.each(widths)("find the first of equal largest values in rows of %i", (width) => {
    const x = ops.input("x", "f32", [
      { name: "row", size: 5 },
      { name: "i", size: width },
    ]);
    const graph = makeGraph("g", [{ name: "at", node: ops.argmax(x, "i") }]);
    // Few distinct values, so that every row has ties, also between the parts that different threads take.
    const values = Float64Array.from({ length: 5 * width }, (_, i) => ((i * 7919) % 11) - 20);
    agree(graph, new Map([["x", values]]), adapter);
  });

  test.each(widths)("fold three accumulators in rows of %i, forward and backward", (width) => {
    const x = ops.input("x", "f32", [
      { name: "i", size: width },
      { name: "row", size: 3 },
    ]);
    const y = reduceLogMeanExp(x, ["i"]);
    const [slope] = differentiate(ops.reduceSum(y, ["row"]), [x]);
    const graph = makeGraph("g", [
      { name: "y", node: y },
      { name: "slope", node: slope! },
    ]);
    agree(graph, inputValues(graph, 5), adapter);
  });
});

test("a long row is shared by a workgroup, whatever it folds", () => {
  const x = ops.input("x", "f32", [{ name: "i", size: 5000 }]);
  for (const y of [ops.argmax(x, "i"), reduceLogMeanExp(x, ["i"])]) {
    const { kernels } = compileFor(makeGraph("g", [{ name: "y", node: y }]), adapters.gpu!);
    expect(kernels[0]!.kernel.arrays.length).toBeGreaterThan(1);
  }
});

test.each([
  ["no zero", [2, -3, 0.5, 4]],
  ["one zero", [2, 0, 0.5, 4]],
  ["two zeros", [2, 0, 0.5, 0]],
])("the slope of a product with %s is the product of the others", (_, row) => {
  const x = ops.input("x", "f32", [{ name: "i", size: row.length }]);
  const [slope] = differentiate(ops.reduceProd(x, ["i"]), [x]);
  const graph = makeGraph("g", [{ name: "slope", node: slope! }]);
  const got = evaluate(graph, new Map([["x", Float64Array.from(row)]])).get("slope")!.data;
  const want = row.map((_, i) => row.reduce((n, v, k) => (k === i ? n : n * v), 1));
  expect([...got]).toEqual(want.map((v) => v + 0)); // + 0: no negative zeros
  agree(graph, new Map([["x", Float64Array.from(row)]]), "gpu");
});
