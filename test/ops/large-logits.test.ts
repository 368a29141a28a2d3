/** Losses and softmax at logits far beyond what exp holds: every executor keeps the precision of f32. */
import { describe, expect } from "vitest";
import { differentiate, makeGraph, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { execute, executorNames } from "../support/executors.ts";
import { excess } from "../support/samples.ts";

const classes = 4;
const axes = [
  { name: "row", size: 3 },
  { name: "class", size: classes },
];
const x = ops.input("x", "f32", axes);
const label = ops.input("label", "i32", [axes[0]!]);
const loss = ops.crossEntropy(x, label, "class");
const spread = ops.logsumexp(x, "class");
const probability = ops.softmax(x, "class");
const logs = ops.logSoftmax(x, "class");
const weight = ops.table([1, -2, 3, 0.5], [axes[1]!]);
const [ofLoss] = differentiate(ops.reduceSum(loss, ["row"]), [x]);
const [ofSpread] = differentiate(ops.reduceSum(spread, ["row"]), [x]);
const [ofLogs] = differentiate(ops.reduceSum(ops.mul(logs, weight), ["row", "class"]), [x]);
const graph = makeGraph(
  "losses",
  Object.entries({ loss, spread, probability, logs, ofLoss: ofLoss!, ofSpread: ofSpread!, ofLogs: ofLogs! }).map(
    ([name, node]) => ({
      name,
      node,
    }),
  ),
  [x, label],
);

/** Rows that differ by a little around a large value, a row of equal values, and one that holds the largest alone. */
const rowsAt = (size: number): number[][] => [
  [0, 0.5, 1, 1.5].map((d) => size + d),
  [size, size, size, size],
  [size, 0, -size, size / 2],
];
const labels = [1, 2, 0];

/** In float64, from the values that f32 holds: the difference to the maximum first, as mathematics has it exactly. */
function exact(rows: readonly (readonly number[])[]) {
  const shifted = rows.map((row) => row.map((v) => v - Math.max(...row)));
  const totals = shifted.map((row) => row.reduce((n, v) => n + Math.exp(v), 0));
  const probability = shifted.flatMap((row, i) => row.map((v) => Math.exp(v) / totals[i]!));
  return {
    loss: shifted.map((row, i) => Math.log(totals[i]!) - row[labels[i]!]!),
    spread: rows.map((row, i) => Math.max(...row) + Math.log(totals[i]!)),
    probability,
    ofLoss: probability.map((p, i) => p - (labels[Math.floor(i / classes)] === i % classes ? 1 : 0)),
    ofSpread: probability,
    logs: shifted.flatMap((row, i) => row.map((v) => v - Math.log(totals[i]!))),
    ofLogs: probability.map((p, i) => [1, -2, 3, 0.5][i % classes]! - 2.5 * p),
  };
}

describe.each(executorNames)("by %s", (executor) => {
  gpuTest.for([1, 1e4, 1e6, 1e30, -1e4, -1e6])("logits of about %d", async (size, { gpu }) => {
    const rows = rowsAt(size).map((row) => row.map(Math.fround));
    const values = new Map([
      ["x", Float64Array.from(rows.flat())],
      ["label", Float64Array.from(labels)],
    ]);
    const got = await execute(executor, gpu, graph, values);
    for (const [name, want] of Object.entries(exact(rows)))
      expect(excess(got.get(name)!, want, 1e-6, 1e-6), name).toBeLessThanOrEqual(0);
  });

  gpuTest("logsumexp of minus infinity alone is minus infinity, but nan in exported ONNX", async ({ gpu }) => {
    const rows = makeGraph("spread", [{ name: "spread", node: spread }], [x]);
    const none = Number.NEGATIVE_INFINITY;
    const values = new Map([["x", Float64Array.of(none, none, none, none, 0, none, 0, none, none, none, 3, none)]]);
    const got = (await execute(executor, gpu, rows, values)).get("spread")!;
    const alone = executor === "onnxruntime" ? "NaN" : "-Infinity"; // there, the maximum is subtracted from itself
    expect(Array.from(got, (v) => v.toFixed(5))).toEqual([alone, Math.log(2).toFixed(5), "3.00000"]);
  });

  gpuTest("four equal logits near the least f32 share the probability", async ({ gpu }) => {
    const least = Math.fround(-3e38);
    const values = new Map([
      ["x", new Float64Array(3 * classes).fill(least)],
      ["label", Float64Array.from(labels)],
    ]);
    const got = await execute(executor, gpu, graph, values);
    const rows = new Array<number[]>(3).fill(new Array<number>(classes).fill(least));
    for (const [name, want] of Object.entries(exact(rows)))
      expect(excess(got.get(name)!, want, 1e-6, 1e-6), name).toBeLessThanOrEqual(0);
  });
});
