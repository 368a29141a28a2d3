/** Attention alone, with the shapes of InternViT-6B at 448 pixels: forward, and forward with its three gradients. */
import { differentiate, type Graph, type Node, ops } from "../../compiler/index.ts";
import { halfOr, join, type MarkGroup } from "./mark.ts";
import { patternsOf } from "./pattern.ts";
import { intoStates, measureKernels } from "./products.ts";
import type { Shapes } from "./shapes.ts";

export function attentionGraph(s: Shapes, dtype: "f32" | "f16", gradients: boolean): Graph {
  const axes = (token: string) => [
    { name: "batch", size: s.attentionBatch },
    { name: "heads", size: s.attentionHeads },
    { name: token, size: s.attentionTokens },
    { name: "head_dim", size: s.headWidth },
  ];
  const of = (name: string, token: string, std: number): Node =>
    ops.parameter(name, dtype, axes(token), { kind: "normal", mean: 0, std });
  const [q, k, v] = [of("q", "query", 0.6), of("k", "key", 0.6), of("v", "key", 0.6)];
  const y = ops.attention(q, k, v, { dot: "head_dim", over: "key", scale: s.headWidth ** -0.5 });
  if (!gradients) return intoStates("attention", { y });
  const cotangent = ops.parameter("g", dtype, y.type.axes, { kind: "normal", mean: 0, std: 0.6 });
  // The loss itself is not an output, so only its gradients are computed.
  const loss = ops.reduceSum(
    ops.mul(y, cotangent),
    y.type.axes.map((a) => a.name),
  );
  const [dq, dk, dv] = differentiate(loss, [q, k, v]) as [Node, Node, Node];
  return intoStates("attention-gradients", { y, dq, dk, dv });
}

const names = (s: Shapes) => {
  const of = `f16 attention [${s.attentionBatch}, ${s.attentionHeads}, ${s.attentionTokens}, ${s.headWidth}]`;
  return { forward: `${of} forward`, both: `${of} forward, backward` };
};

export const attentions: MarkGroup = {
  name: "attention",
  marks: (s) => ({
    [names(s).forward]: { unit: "TFLOP/s", first: 120, goal: 300 },
    [names(s).both]: { unit: "TFLOP/s", first: 80, goal: 200 },
  }),
  measure: async (context, record) => {
    const s = context.shapes;
    const { dtype, note } = halfOr(context);
    const forward = 4 * s.attentionBatch * s.attentionHeads * s.attentionTokens ** 2 * s.headWidth;
    // By the usual count, backward is 2.5 times forward, including recomputing forward.
    for (const { name, gradients, flops } of [
      { name: names(s).forward, gradients: false, flops: forward },
      { name: names(s).both, gradients: true, flops: 3.5 * forward },
    ]) {
      const graph = attentionGraph(s, dtype, gradients);
      const { sample, milliseconds } = await measureKernels(context, graph, dtype, gradients ? "dq" : "y");
      record(name, {
        value: flops / milliseconds / 1e9,
        sample,
        tolerance: 1e-2,
        peer: { run: "attention", gradients, dtype, weights: patternsOf(graph) },
        ...join(note),
      });
    }
  },
};
