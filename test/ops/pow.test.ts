/** Powers of negative numbers and of 0, and their gradients, by every executor. */
import { describe, expect } from "vitest";
import { differentiate, makeGraph, type Node, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { execute, executorNames } from "../support/executors.ts";
import { excess } from "../support/samples.ts";

const bases = [-3, -1.5, -1, -0.25, 0, 0.25, 1, 2.5];
const axis = { name: "a", size: bases.length };
const x = ops.input("x", "f32", [axis]);
const at = new Map([["x", Float64Array.from(bases)]]);

const slope = (y: Node, of: Node) => differentiate(ops.reduceSum(y, ["a"]), [of])[0]!;

describe.each(executorNames)("by %s", (executor) => {
  gpuTest.for([2, 3, 4, 5, -1, -2])("x to the power %d and its slope", async (n, { gpu }) => {
    // The exponent as a constant, which may be rewritten as a product, and as a value that only the run knows.
    const exponent = ops.input("n", "f32", []);
    const [fixed, open] = [ops.pow(x, n), ops.pow(x, exponent)];
    const outputs = { fixed, open, ofFixed: slope(fixed, x), ofOpen: slope(open, x) };
    const graph = makeGraph(
      "pow",
      Object.entries(outputs).map(([name, node]) => ({ name, node })),
      [x, exponent],
    );
    const got = await execute(executor, gpu, graph, new Map([...at, ["n", Float64Array.of(n)]]));
    const kept = bases.flatMap((b, i) => (n < 0 && b === 0 ? [] : [i]));
    const of = (name: string) => kept.map((i) => got.get(name)![i]!);
    const power = kept.map((i) => bases[i]! ** n);
    const derivative = kept.map((i) => n * bases[i]! ** (n - 1));
    for (const [name, want] of [
      ["fixed", power],
      ["open", power],
      ["ofFixed", derivative],
      ["ofOpen", derivative],
    ] as const)
      expect(excess(of(name), want, 1e-6, 1e-4), name).toBeLessThanOrEqual(0);
  });

  gpuTest("a fraction of a negative base is nan, and 0 of a constant 0 has no slope", async ({ gpu }) => {
    const [half, none] = [ops.pow(x, 0.5), ops.pow(x, 0)];
    const graph = makeGraph("pow", [
      { name: "half", node: half },
      { name: "none", node: none },
      { name: "ofNone", node: slope(none, x) },
    ]);
    const got = await execute(executor, gpu, graph, at);
    const roots = bases.map((b) => (b < 0 ? Number.NaN : Math.sqrt(b)));
    expect([...(got.get("half") as Float64Array)].map(Number.isNaN)).toEqual(roots.map(Number.isNaN));
    expect([...(got.get("none") as Float64Array)]).toEqual(bases.map(() => 1));
    expect([...(got.get("ofNone") as Float64Array)]).toEqual(bases.map(() => 0));
  });

  gpuTest("the slope by the exponent is that of PyTorch: 0 at a = 0 ≤ b, nan below 0", async ({ gpu }) => {
    const b = ops.input("b", "f32", [axis]);
    const graph = makeGraph("pow", [{ name: "slope", node: slope(ops.pow(x, b), b) }], [x, b]);
    const exponents = [2, 3, 0.5, 2, 0, 2, 3, -1];
    const values = new Map([...at, ["b", Float64Array.from(exponents)]]);
    const got = [...((await execute(executor, gpu, graph, values)).get("slope") as Float64Array)];
    for (const [i, base] of bases.entries()) {
      const want = base === 0 ? 0 : base ** exponents[i]! * Math.log(base);
      if (base < 0) expect(got[i]).toBeNaN();
      else expect(Math.abs(got[i]! - want)).toBeLessThan(1e-4);
    }
  });
});
