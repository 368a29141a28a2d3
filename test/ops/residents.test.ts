/** What a run needs in its store: the tensors that its graph reads, on every executor. */
import { expect, it } from "vitest";
import { hostTensor, makeGraph, mulDims, ops, symbol, zeros } from "../../compiler/index.ts";
import { allExecutors, runOnce, storeWith } from "../models/executors.ts";

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

it.each(allExecutors)("$name runs without a state that the graph declares and does not read", async ({ make }) => {
  const open = [{ name: "b", size: symbol("length") }];
  const given = ops.input("given", "f32", open);
  const declared = [
    x,
    given,
    ops.state("fixed", "f32", [a]),
    ops.state("open", "i32", [{ name: "b", size: mulDims(2, symbol("length")) }]),
    ops.state("written", "f32", [a]),
    ops.state("cached", "f32", open),
  ];
  const outputs = [
    { name: "y", node: ops.mul(x, weight) },
    { name: "next", node: ops.add(x, x) },
    { name: "cache", node: ops.add(given, given) },
  ];
  const stateful = makeGraph("stateful", outputs, declared, { next: "written", cache: "cached" });
  const backend = await make();
  const store = await storeWith(backend, new Map([["weight", of(2, 3, 4)]]));
  const executable = await backend.compile(stateful);
  for (const length of [2, 5]) {
    const b = hostTensor("f32", [{ name: "b", size: length }], new Float32Array(length).fill(length));
    const { y } = await executable.run({ x: of(1, length, 3), given: b }, store);
    expect(Array.from(y!.data)).toEqual([2, 3 * length, 12]);
    expect(Array.from((await store.read("written")).data)).toEqual([2, 2 * length, 6]);
    expect(Array.from((await store.read("cached")).data)).toEqual(Array(length).fill(2 * length));
    store.remove("cached"); // its size is that of the run before
  }
  expect(store.names()).not.toContain("fixed");
  for (const one of [executable, store, backend]) one.dispose();
});

it.each(allExecutors)("$name names a tensor that the graph reads and the store lacks", async (executor) => {
  const run = runOnce(executor, graph, { x: of(1, 2, 3) }, new Map([["wieght", of(2, 3, 4)]]));
  await expect(run).rejects.toThrow(/the store has no tensor "weight".*wieght/);
});
