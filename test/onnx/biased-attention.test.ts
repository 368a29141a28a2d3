/** Attention with a bias as ONNX, with all its gradients, where the bias hides keys and where a mask does. */
import { expect, it } from "vitest";
import { exportOnnx } from "../../backends/onnx/index.ts";
import { attentionGraph, attentionValues, type Shape } from "../kernels/attention-cases.ts";
import { excess } from "../support/samples.ts";
import { reference, throughOnnx } from "./support.ts";

const gradients = ["q", "k", "v", "bias"] as const;
const shape: Shape = {
  queries: 5,
  keys: 7,
  dim: 4,
  heads: 2,
  batch: 2,
  bias: ["h", "query", "key"],
  gradients,
  dtype: "f32",
};

it.each<Shape>([
  shape,
  { ...shape, bias: ["query", "key"], mask: "some rows hidden", group: 2 },
  { ...shape, bias: ["query", "key"], hides: true },
  { ...shape, bias: ["b", "key"], mask: "causal" },
])("$bias, mask $mask, hides $hides", async (s) => {
  const graph = attentionGraph(s);
  const values = attentionValues(graph, s);
  const got = await throughOnnx(graph, values);
  for (const [name, want] of reference(graph, values))
    expect(excess(got.get(name)!, want, 1e-5, 1e-4), name).toBeLessThanOrEqual(0);
});

it("is a softmax of a sum, which the gradients share", () => {
  const types = exportOnnx(attentionGraph(shape)).model.graph!.node!.map((n) => n.opType);
  expect(types.filter((t) => t === "Softmax")).toHaveLength(1);
  expect(types).not.toContain("Exp");
});
