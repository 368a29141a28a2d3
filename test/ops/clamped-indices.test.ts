/** Out-of-range labels and indices mean the nearest class or row: in results, decompositions and gradients alike. */
import { describe, expect, it } from "vitest";
import { evaluate, referenceBackend } from "../../backends/reference/index.ts";
import { differentiate, type Graph, makeGraph, type Node, nodesOf, ops, symbol } from "../../compiler/index.ts";
import { opRecord } from "../../compiler/ir/op.ts";
import { gpuTest } from "../support/adapter.ts";
import { execute, executorNames } from "../support/executors.ts";
import { excess } from "../support/samples.ts";

const row = { name: "row", size: 5 };
const classes = { name: "class", size: 4 };
const x = ops.input("x", "f32", [row, classes]);
const scores = Float64Array.from({ length: 20 }, (_, i) => Math.fround(Math.sin(3 * i)));
const labels = [-100, 0, 2, 4, 1000];
const nearest = [0, 0, 2, 3, 3];

/** The loss, the chosen score and the gradients of both; weights tell rows apart. */
function graphOf(dtype: "i32" | "u32"): Graph {
  const label = ops.input("label", dtype, [row]);
  const loss = ops.crossEntropy(x, label, "class");
  const spelled = opRecord("cross_entropy").decompose!([x, label], { axis: "class" }, loss.type);
  const chosen = ops.gather(x, label, "class");
  const weight = ops.table([1, -2, 3, 0.5, 2], [row]);
  const gradient = (of: Node) => differentiate(ops.reduceSum(ops.mul(of, weight), ["row"]), [x])[0]!;
  const outputs = { loss, spelled, chosen, ofLoss: gradient(loss), ofChosen: gradient(chosen) };
  const named = Object.entries(outputs).map(([name, node]) => ({ name, node }));
  return makeGraph("labels", named, [x, label]);
}

describe.each(executorNames)("by %s", (executor) => {
  gpuTest.for(["i32", "u32"] as const)("labels of %s", async (dtype, { gpu }) => {
    const graph = graphOf(dtype);
    const values = (label: readonly number[]) =>
      new Map([
        ["x", scores],
        ["label", Float64Array.from(label.map((v) => (dtype === "u32" ? Math.abs(v) : v)))],
      ]);
    const means = nearest.map((v, i) => (dtype === "u32" && labels[i]! < 0 ? classes.size - 1 : v));
    const got = await execute(executor, gpu, graph, values(labels));
    const want = evaluate(graph, values(means));
    for (const [name, { data }] of want) expect(excess(got.get(name)!, data, 1e-6, 1e-6), name).toBeLessThanOrEqual(0);
  });
});

it("holds for an open number of classes, and the gradient is the slope of the loss", async () => {
  const open = ops.input("x", "f32", [row, { name: "class", size: symbol("classes") }]);
  const label = ops.input("label", "i32", [row]);
  const loss = ops.reduceSum(ops.crossEntropy(open, label, "class"), ["row"]);
  const [slope] = differentiate(loss, [open]);
  const graph = makeGraph("open", [
    { name: "loss", node: loss },
    { name: "slope", node: slope! },
  ]);
  const backend = referenceBackend();
  const executable = await backend.compile(graph);
  const store = backend.createStore();
  const run = (data: Float64Array) =>
    executable.run(
      {
        x: { dtype: "f32", axes: [row, classes], data },
        label: { dtype: "i32", axes: [row], data: Int32Array.from(labels) },
      },
      store,
    );
  const { slope: got } = await run(scores);
  const step = 1e-4;
  for (const at of scores.keys()) {
    const [up, down] = await Promise.all(
      [step, -step].map(async (by) => (await run(scores.map((v, i) => (i === at ? v + by : v)))).loss!.data[0]!),
    );
    expect(Number(got!.data[at])).toBeCloseTo((Number(up) - Number(down)) / (2 * step), 6);
  }
});

it("adds only the clamps that are not known to hold", () => {
  const square = ops.input("x", "f32", [row, { name: "class", size: row.size }]);
  const label = ops.input("label", "i32", [row]);
  const clamps = (index: Node): string[] => {
    const [slope] = differentiate(ops.reduceSum(ops.gather(square, index, "class"), ["row"]), [square]);
    return nodesOf(makeGraph("slope", [{ name: "slope", node: slope! }]))
      .map((n) => n.op)
      .filter((op) => op === "max" || op === "min")
      .toSorted();
  };
  expect(clamps(label)).toEqual(["max", "min"]);
  expect(clamps(ops.max(label, 0))).toEqual(["max", "min"]); // the max is the caller's
  expect(clamps(ops.iota(row))).toEqual([]);
  expect(clamps(ops.input("label", "u32", [row]))).toEqual(["min"]);
});
