/** Attention without the [query, key] matrix, forward and backward, at lengths around every tile edge. */
import { describe, expect } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { differentiate, type Graph, inputName, makeGraph, type Node, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { draw, seeded } from "../support/samples.ts";
import { asHardware, mistakes, runOn } from "./support.ts";

interface Shape {
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly mask?: "causal" | "padding" | "all hidden";
  /** Key heads, each shared by two query heads. */
  readonly grouped?: boolean;
  /** A number added to the logit of each head and pair, with its gradient. */
  readonly biased?: boolean;
}

const axis = (name: string, size: number) => ({ name, size });

/** The result and the gradients of q, k and v for a random cotangent. */
function attentionGraph(s: Shape): Graph {
  const heads = s.grouped ? [axis("group", 2), axis("h", 2)] : [axis("h", 2)];
  const q = ops.input("q", "f32", [axis("b", 2), axis("query", s.queries), ...heads, axis("d", s.dim)]);
  const k = ops.input("k", "f32", [axis("b", 2), axis("key", s.keys), axis("h", 2), axis("d", s.dim)]);
  const v = ops.input("v", "f32", [axis("b", 2), axis("key", s.keys), axis("h", 2), axis("d", s.dim)]);
  const bias = ops.input("bias", "f32", [axis("h", 2), axis("query", s.queries), axis("key", s.keys)]);
  const axes = { dot: "d", over: "key", scale: s.dim ** -0.5 };
  const y = s.biased
    ? ops.biasedAttention(q, k, v, bias, axes, maskNode(s))
    : ops.attention(q, k, v, axes, maskNode(s));
  const dy = ops.input("dy", "f32", y.type.axes);
  const loss = ops.reduceSum(
    ops.mul(y, dy),
    y.type.axes.map((a) => a.name),
  );
  const [dq, dk, dv, dbias] = differentiate(loss, s.biased ? [q, k, v, bias] : [q, k, v]);
  const outputs = { y, dq: dq!, dk: dk!, dv: dv!, ...(dbias && { dbias }) };
  return makeGraph(
    "attention",
    Object.entries(outputs).map(([name, node]) => ({ name, node })),
  );
}

function maskNode(s: Shape): Node | undefined {
  const [query, key] = [ops.iota(axis("query", s.queries)), ops.iota(axis("key", s.keys))];
  if (s.mask === "causal") return ops.ge(query, key);
  if (s.mask === "padding") return ops.lt(key, ops.input("length", "i32", [axis("b", 2)]));
  if (s.mask === "all hidden") return ops.lt(key, ops.mul(query, 0));
  return undefined;
}

function values(graph: Graph): Map<string, Float64Array> {
  const next = seeded(5);
  return new Map(
    graph.inputs.map((n) => {
      const name = inputName(n);
      return [name, name === "length" ? Float64Array.of(1, 3) : draw(n.type, { low: -2, high: 2 }, next)];
    }),
  );
}

const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 65];

describe("attention", () => {
  gpuTest.for(lengths)("is right at length %i", async (n, { gpu }) => {
    const graph = attentionGraph({ queries: n, keys: n, dim: 8 });
    expect(await mistakes(gpu, graph, values(graph))).toEqual([]);
  });

  const shapes: readonly [string, Shape][] = [
    ["a causal mask", { queries: 17, keys: 17, dim: 4, mask: "causal" }],
    ["a padding mask", { queries: 5, keys: 9, dim: 4, mask: "padding" }],
    ["rows that see no key", { queries: 5, keys: 3, dim: 4, mask: "all hidden" }],
    ["one query", { queries: 1, keys: 33, dim: 16 }],
    ["heads of odd width", { queries: 9, keys: 6, dim: 5 }],
    ["wide heads", { queries: 5, keys: 5, dim: 128 }],
    ["a bias behind a mask", { queries: 5, keys: 9, dim: 4, mask: "padding", biased: true }],
    ["a bias of grouped queries", { queries: 5, keys: 7, dim: 4, grouped: true, biased: true }],
    ["grouped queries", { queries: 5, keys: 7, dim: 4, grouped: true }],
  ];
  gpuTest.for(shapes)("is right with %s", async ([, shape], { gpu }) => {
    const graph = attentionGraph(shape);
    expect(await mistakes(gpu, graph, values(graph))).toEqual([]);
  });

  gpuTest.for(shapes)("is right within eight bindings with %s", async ([, shape], { gpu }) => {
    const graph = attentionGraph(shape);
    expect(await mistakes(asHardware(gpu), graph, values(graph))).toEqual([]);
  });

  gpuTest("gives zeros, not NaN, where all keys are hidden", async ({ gpu }) => {
    const graph = attentionGraph({ queries: 5, keys: 3, dim: 4, mask: "all hidden" });
    const got = await runOn(gpu, graph, values(graph));
    for (const { data } of Object.values(got)) expect(new Set(data)).toEqual(new Set([0]));
    expect([...evaluate(graph, values(graph)).get("y")!.data].every((v) => v === 0)).toBe(true);
  });
});
