/**
 * Graphs cut into parts: one after the other they compute what the whole computes, and equal blocks are equal parts.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  bindSizes,
  type Graph,
  inputName,
  keepParametersAs,
  makeGraph,
  type Node,
  ops,
  type Part,
  partition,
  partNames,
  rewriteNodes,
} from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { internvlFamily } from "../../models/index.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";

/** The graph with its float inputs as parameters. */
function learned(graph: Graph): Graph {
  const change = (n: Node) =>
    n.op === "input" && n.type.dtype === "f32"
      ? ops.parameter(inputName(n), "f32", n.type.axes, { kind: "constant", value: 0 })
      : n;
  const result = rewriteNodes(
    graph.outputs.map((o) => o.node),
    change,
  );
  return makeGraph(
    graph.name,
    graph.outputs.map(({ name, node }) => ({ name, node: result.get(node)! })),
  );
}

function evaluateParts(parts: readonly Part[], values: ReadonlyMap<string, Float64Array>): Map<string, Float64Array> {
  const results: Map<string, { readonly data: Float64Array }>[] = [];
  const outputs = new Map<string, Float64Array>();
  for (const part of parts) {
    const own = new Map(values);
    part.weights.forEach((name, i) => void own.set(partNames.weight(i), values.get(name)!));
    part.values.forEach(
      (v, i) => void own.set(partNames.value(i), results[v.part]!.get(partNames.result(v.result))!.data),
    );
    const wanted = new Map(part.graph.inputs.map((n) => [inputName(n), own.get(inputName(n))!]));
    const made = evaluate(part.graph, wanted);
    results.push(made);
    for (const { name, result } of part.outputs) outputs.set(name, made.get(partNames.result(result))!.data);
  }
  return outputs;
}

it.each([1, 100, 4000])("parts of %s bytes compute what the whole computes", (most) => {
  const check = (random: Graph, seed: number) => {
    const graph = learned(random);
    const values = inputValues(graph, seed);
    const whole = evaluate(graph, values);
    const outputs = evaluateParts(partition(graph, most), values);
    for (const [name, { data }] of whole) expect(outputs.get(name)).toEqual(data);
  };
  fc.assert(fc.property(graphArbitrary({ maxSteps: 20 }), fc.nat(), check), { numRuns: 80 });
});

const distinct = (parts: readonly Part[]): number => new Set(parts.map((p) => p.graph.outputs[0]!.node)).size;

describe("published models in parts of 1 GB", () => {
  it.each([
    ["internvit-6b", "f16", 12, 2],
    ["internvit-6b", "f32", 24, 2],
    ["qllama-8b", "f16", 17, 3],
    ["internvl-c", "f16", 30, 6],
  ] as const)("%s in %s: %i parts, %i of them different", (name, dtype, count, different) => {
    const model = internvlFamily.find((m) => m.name === name)!;
    const parts = partition(bindSizes(keepParametersAs(trace(model), dtype), { batch: 2 }), 1e9);
    expect([parts.length, distinct(parts)]).toEqual([count, different]);
    expect(Math.max(...parts.map((p) => p.bytes))).toBeLessThanOrEqual(1e9);
  });
});

/** A chain of products with shared weights, run on two inputs, each followed by the same chain backward. */
function twoRuns(layers: number): Graph {
  const [k, out] = [
    { name: "k", size: 8 },
    { name: "out", size: 8 },
  ];
  const weights = Array.from({ length: layers }, (_, i) =>
    ops.parameter(`w${i}`, "f32", [k, out], { kind: "constant", value: 0 }),
  );
  const run = (name: string, rows: number): Node[] => {
    const states = [ops.input(name, "f32", [{ name: "row", size: rows }, k])];
    for (const w of weights) states.push(ops.rename(ops.exp(ops.contract(states.at(-1)!, w, ["k"])), "out", "k"));
    let g = states.at(-1)!;
    for (const w of [...weights].reverse()) g = ops.contract(ops.rename(g, "k", "out"), w, ["out"]);
    return [states.at(-1)!, g];
  };
  const outputs = [...run("a", 3), ...run("b", 5)].map((node, i) => ({ name: `o${i}`, node }));
  return makeGraph("two_runs", outputs);
}

it("brings the weights of layers that two inputs share once for both", () => {
  const graph = twoRuns(6);
  for (const most of [1, 256, 600]) {
    const parts = partition(graph, most);
    const brought = parts.flatMap((p) => p.weights);
    for (let i = 0; i < 6; i++) expect(brought.filter((name) => name === `w${i}`).length).toBeLessThanOrEqual(2);
    const values = inputValues(graph, 7);
    const whole = evaluate(graph, values);
    for (const [name, { data }] of whole) expect(evaluateParts(parts, values).get(name)).toEqual(data);
  }
});
