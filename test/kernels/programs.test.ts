/**
 * Whole programs, interpreted kernel by kernel, against the reference: no device needed, every load checked for range.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { build, type Graph, makeGraph, nodesOf, opRecords, ops } from "../../compiler/index.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";
import { excess, graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

/** f32 roundings of a few dozen terms, and of approximations such as that of erf. */
const tolerance = { absolute: 2e-4, relative: 2e-3 };

function mistakes(graph: Graph, values: ReadonlyMap<string, Float64Array>, adapter: string): string[] {
  const got = interpretProgram(compileFor(graph, adapters[adapter]!), values);
  return [...evaluate(graph, values)].flatMap(([name, want]) => {
    const over = excess(got.get(name)!, want.data, tolerance.absolute, tolerance.relative);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
}

const cases = opRecords().flatMap((r) =>
  r.kind === "source" ? [] : r.cases.map((c, i) => [`${r.name} ${i}`, r, c] as const),
);

describe.each(Object.keys(adapters))("kernels for a %s adapter", (adapter) => {
  test.each(cases)("compute %s", (_, record, c) => {
    const inputs = inputsOf(c);
    const graph = graphOf(record.name, inputs, build(record.name, inputs, c.attrs));
    expect(mistakes(graph, inputMap(operandsOf(record, c, 7)), adapter)).toEqual([]);
  });

  test("compute random graphs", () => {
    const graphs = graphArbitrary({ maxElements: 400, maxSteps: 8, sizes: [1, 3, 17, 65] });
    const property = fc.property(graphs, fc.nat(1000), (graph, seed) => {
      expect(mistakes(graph, inputValues(graph, seed), adapter)).toEqual([]);
    });
    fc.assert(property, { numRuns: 60, seed: 7 });
  });
});

test("a wrong kernel is caught", () => {
  const record = opRecords().find((r) => r.name === "add")!;
  const c = record.cases[0]!;
  const inputs = inputsOf(c);
  const graph = graphOf("add", inputs, build("add", inputs, c.attrs));
  const values = inputMap(operandsOf(record, c, 7));
  const other = new Map(values).set(
    "x0",
    values.get("x0")!.map((v) => v + 1),
  );
  const got = interpretProgram(compileFor(graph, adapters.gpu!), other).get("y")!;
  expect(excess(got, evaluate(graph, values).get("y")!.data, tolerance.absolute, tolerance.relative)).toBeGreaterThan(
    0.5,
  );
  expect(nodesOf(graph).length).toBe(3);
});

test("two roles of one axis are two axes: x · xᵀ is no epilogue at x's own coordinates", () => {
  const x = ops.input("x", "f32", [
    { name: "a", size: 4 },
    { name: "k", size: 3 },
  ]);
  const sums = ops.reduceSum(x, ["k"]); // [a]
  const y = ops.add(sums, ops.mul(ops.rename(sums, "a", "b"), 2)); // [a, b]
  const graph = makeGraph("roles", [{ name: "y", node: y }]);
  expect(mistakes(graph, inputValues(graph, 3), "gpu")).toEqual([]);
});
