/**
 * What no row sees may be no number: rows that see nothing are 0 in every schedule of attention, and so are their
 * gradients.
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { baselineFacts, compileKernels, lowering, makeGraph, nodesOf, opRecord } from "../../compiler/index.ts";
import { excess } from "../support/samples.ts";
import {
  attentionGraph,
  attentionKernels,
  attentionValues,
  onlyAttention,
  recorded,
  type Shape,
} from "./attention-cases.ts";
import { interpretProgram } from "./support.ts";

/** Two batches, of which the second sees none of its keys; its values are nan and infinities. */
const shape: Shape = { queries: 9, keys: 17, dim: 32, width: 24, batch: 2, mask: "padding" };

function poisoned(s: Shape) {
  const graph = attentionGraph(s);
  const values = attentionValues(graph, s);
  values.set("length", Float64Array.of(5, 0));
  const v = values.get("v")!;
  values.set(
    "v",
    v.map((x, i) => (i < v.length / 2 ? x : [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][i % 3]!)),
  );
  return { graph, values };
}

const schedules = [
  ["rows-in-registers", "f32", baselineFacts, {}],
  ["rows-in-registers", "f16", recorded("nvidia-h200"), {}],
  ["rows-in-registers", "f32", { ...baselineFacts, software: true }, {}],
  ["shared-tiles", "f32", baselineFacts, { queries: 33, keys: 33 }],
  ["few-rows", "f32", baselineFacts, { queries: 1, keys: 150, group: 3 }],
  ["subgroup-matrices", "f16", recorded("nvidia-h200"), {}],
  ["subgroup-matrices", "f32", recorded("apple-m"), {}],
] as const;

describe.each(schedules)("%s in %s", (name, dtype, facts, other) => {
  // Of few rows there is no backward kernel here: one walks many keys.
  it.each([{}, ...(name === "few-rows" ? [] : [{ gradients: ["q", "k", "v"] } as const])])("%j", (more) => {
    const { graph, values } = poisoned({ ...shape, ...other, ...more, dtype });
    const program = compileKernels(graph, facts, { schedules: onlyAttention(name, () => true) });
    const kernels = attentionKernels(program);
    expect(new Set(kernels.map((k) => k.schedule))).toEqual(new Set([name]));
    const got = interpretProgram(program, values);
    for (const [output, want] of evaluate(graph, values)) {
      expect(want.data.every(Number.isFinite), output).toBe(true);
      expect(excess(got.get(output)!, want.data, 1e-2, 1e-2), output).toBeLessThanOrEqual(0);
    }
  });
});

it("runs of the keys", () => {
  const { graph, values } = poisoned({ ...shape, queries: 1, keys: 700, dtype: "f32" });
  const program = compileKernels(graph, baselineFacts, { schedules: lowering.scheduleTables });
  expect(attentionKernels(program).map((k) => k.name)).toEqual(["attention_parts+attention_parts_lse"]);
  const got = interpretProgram(program, values);
  for (const [output, want] of evaluate(graph, values))
    expect(excess(got.get(output)!, want.data, 1e-4, 1e-4), output).toBeLessThanOrEqual(0);
});

it("what the ops are made of", () => {
  const { graph, values } = poisoned({ ...shape, dtype: "f32", gradients: ["q", "k", "v"] });
  const want = evaluate(graph, values);
  const composites = nodesOf(graph).filter((n) => opRecord(n.op).core?.kind === "attention");
  expect(composites.length).toBeGreaterThan(3);
  for (const node of composites) {
    const whole = makeGraph("whole", [{ name: "x", node }]);
    const apart = opRecord(node.op).decompose!(node.operands, node.attrs, node.type);
    const [a, b] = [whole, makeGraph("apart", [{ name: "x", node: apart }])].map(
      (g) => evaluate(g, values).get("x")!.data,
    );
    expect(excess(b!, a!, 1e-6, 1e-6), node.op).toBeLessThanOrEqual(0);
  }
  expect(want.get("y")!.data.some((x) => x !== 0)).toBe(true);
});
