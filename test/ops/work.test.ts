/** Operations are counted once, in the records: what a graph is said to cost is what its kernels are said to do. */
import { expect, it } from "vitest";
import {
  baselineFacts,
  build,
  compileKernels,
  costOf,
  countMacs,
  differentiate,
  makeGraph,
  nodesOf,
  opRecords,
  ops,
} from "../../compiler/index.ts";
import { graphOf, inputsOf } from "../support/samples.ts";

const axes = (text: Record<string, number>) => Object.entries(text).map(([name, size]) => ({ name, size }));
const q = ops.input("q", "f32", axes({ b: 2, t: 3, d: 4 }));
const k = ops.input("k", "f32", axes({ b: 2, s: 5, d: 4 }));
const v = ops.input("v", "f32", axes({ b: 2, s: 5, w: 7 }));
const attend = { dot: "d", over: "s", scale: 0.5 };
const pairs = 2 * 3 * 5;

it("counts the products over the pairs of rows and keys of each attention op", () => {
  const mixed = ops.attention(q, k, v, attend);
  expect(costOf(mixed).macs).toBe(pairs * 4 + pairs * 7);
  expect(costOf(ops.attentionLse(q, k, undefined, attend)).macs).toBe(pairs * 4);
  const grads = differentiate(ops.reduceSum(mixed, ["b", "t", "w"]), [q, k, v]);
  const macs = Object.fromEntries(nodesOf(graphOf("g", [], ops.concat(grads.map(flat), "i"))).map(named));
  expect(macs.attention_grad_q).toBe(2 * pairs * 4 + pairs * 7);
  expect(macs.attention_grad_k).toBe(2 * pairs * 4 + pairs * 7);
  expect(macs.attention_grad_v).toBe(pairs * 4 + pairs * 7);

  function flat(g: (typeof grads)[number]) {
    const names = g.type.axes.map((a) => a.name);
    return ops.merge(g, names, "i");
  }
  function named(n: (typeof grads)[number]) {
    return [n.op, costOf(n).macs] as const;
  }
});

it.each(
  opRecords()
    .filter((r) => r.core?.kind === "contraction" || r.core?.kind === "attention")
    .flatMap((r) => r.cases.map((c, i) => ({ name: `${r.name} case ${i + 1}`, r, c }))),
)("$name: its kernels do the multiply-accumulates that the graph is said to cost", ({ r, c }) => {
  const inputs = inputsOf(c);
  // Each operand is a tensor here, more than the least adapter binds.
  const program = compileKernels(graphOf("g", inputs, build(r.name, inputs, c.attrs)), {
    ...baselineFacts,
    maxBindings: 10,
  });
  const flops = program.kernels.reduce((n, kernel) => n + Number(kernel.flops), 0);
  expect(flops).toBe(2 * countMacs(program.graph, {}));
  expect(flops).toBeGreaterThan(0);
});

it("counts a training step's kernels as its graph", () => {
  const loss = ops.reduceSum(ops.attention(q, k, v, attend), ["b", "t", "w"]);
  const grads = differentiate(loss, [q, k, v]);
  const program = compileKernels(
    makeGraph("step", [{ name: "loss", node: loss }, ...grads.map((node, i) => ({ name: `d${i}`, node }))]),
  );
  const cored = nodesOf(program.graph).filter((n) => opRecords().find((r) => r.name === n.op)!.core);
  const flops = program.kernels.reduce((n, kernel) => n + Number(kernel.flops), 0);
  expect(flops).toBe(cored.reduce((n, node) => n + costOf(node).flops, 0));
});

it("counts one operation for each element that is computed or folded, and none for movement", () => {
  const x = ops.input("x", "f32", axes({ a: 3, b: 5 }));
  expect(costOf(ops.exp(x))).toEqual({ macs: 0, flops: 15, bytes: 120 });
  expect(costOf(ops.reduceSum(x, ["b"]))).toEqual({ macs: 0, flops: 15, bytes: 72 });
  expect(costOf(ops.transpose(x, ["b", "a"])).flops).toBe(0);
});
