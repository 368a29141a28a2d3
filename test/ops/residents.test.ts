/** What a run needs in its store: the tensors that its graph reads, on every executor. */
import { expect, it } from "vitest";
import { hostTensor, makeGraph, ops, zeros } from "../../compiler/index.ts";
import { allExecutors, runOnce } from "../models/executors.ts";

const a = { name: "a", size: 3 };
const weight = ops.parameter("weight", "f32", [a], zeros);
const spare = ops.parameter("spare", "f32", [a], zeros);
const x = ops.input("x", "f32", [a]);
const graph = makeGraph("scaled", [{ name: "y", node: ops.mul(x, weight) }], [x, weight, spare]);
const of = (...values: number[]) => hostTensor("f32", [a], Float32Array.from(values));

it.each(allExecutors)("$name runs without a tensor that the graph does not read", async (executor) => {
  const { y } = await runOnce(executor, graph, { x: of(1, 2, 3) }, new Map([["weight", of(2, 3, 4)]]));
  expect(Array.from(y!.data)).toEqual([2, 6, 12]);
});

it.each(allExecutors)("$name names a tensor that the graph reads and the store lacks", async (executor) => {
  const run = runOnce(executor, graph, { x: of(1, 2, 3) }, new Map([["wieght", of(2, 3, 4)]]));
  await expect(run).rejects.toThrow(/the store has no tensor "weight".*wieght/);
});
