/** Attention whose logits are far beyond what exp holds, forward and backward, by every executor. */
import { describe, expect } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { differentiate, makeGraph, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { execute, executorNames } from "../support/executors.ts";
import { excess } from "../support/samples.ts";

const [query, key, dot, width] = [
  { name: "query", size: 2 },
  { name: "key", size: 3 },
  { name: "dot", size: 2 },
  { name: "width", size: 2 },
];
const q = ops.input("q", "f32", [query, dot]);
const k = ops.input("k", "f32", [key, dot]);
const v = ops.input("v", "f32", [key, width]);
const mask = ops.le(ops.iota(key), ops.add(ops.iota(query), 1));

/** Attention with its gradients. */
const graphOf = (masked: boolean) => {
  const y = ops.attention(q, k, v, { dot: "dot", over: "key", scale: 1 }, masked ? mask : undefined);
  const loss = ops.reduceSum(ops.mul(y, ops.table([1, -2, 3, 0.5], [query, width])), ["query", "width"]);
  const outputs = [y, ...differentiate(loss, [q, k, v])];
  return makeGraph(
    "attend",
    outputs.map((node, i) => ({ name: ["y", "dq", "dk", "dv"][i]!, node })),
    [q, k, v],
  );
};

/** Logits near `size` that differ by halves, and are exact in f32: the second axis carries the difference. */
const valuesAt = (size: number) =>
  new Map([
    ["q", Float64Array.of(size, 1, size, -1)],
    ["k", Float64Array.of(1, 0.5, 1, 1, 1, -0.5)],
    ["v", Float64Array.of(1, 2, -3, 4, 0.5, -1)],
  ]);

describe.each(executorNames)("by %s", (executor) => {
  describe.each([false, true])("masked: %s", (masked) => {
    gpuTest.for([1, 100, -100, 4096, -4096])("logits of about %d", async (size, { gpu }) => {
      const graph = graphOf(masked);
      const values = valuesAt(size);
      const want = evaluate(graph, values);
      const got = await execute(executor, gpu, graph, values);
      expect(excess(got.get("y")!, want.get("y")!.data, 1e-5, 1e-5), "y").toBeLessThanOrEqual(0);
      // The row statistic of the backward pass rounds to 2^-24 of its size, as FlashAttention's does; k's cotangent has
      // q's size.
      const rounding = 1e-5 + Math.abs(size) * 2 ** -23;
      for (const name of ["dq", "dk", "dv"]) {
        const scale = name === "dk" ? Math.abs(size) : 1;
        expect(excess(got.get(name)!, want.get(name)!.data, 8 * rounding * scale, 1e-5), name).toBeLessThanOrEqual(0);
      }
    });
  });
});
