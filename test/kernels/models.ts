/** Small models whose kernels are counted and compared as text. */
import { bindSizes, type Graph, type Precision } from "../../compiler/index.ts";
import {
  add,
  at,
  attention,
  axis,
  constantInit,
  constantRate,
  crossEntropy,
  defineStage,
  geluMlp,
  input,
  linear,
  mean,
  mul,
  type Params,
  rename,
  rmsNorm,
  type Tensor,
  type TrainingStep,
  trainingStep,
} from "../../dsl/index.ts";

export interface VitSizes {
  readonly batch: number;
  readonly tokens: number;
  readonly width: number;
  readonly heads: number;
  readonly mlp: number;
  readonly depth: number;
}

type Tokens = Tensor<"batch" | "token" | "embed">;

/** A pre-norm block with fused qkv, QK-norm over the whole width, LayerScale and a GELU MLP, as in InternViT. */
export function block(p: Params, x: Tokens, s: VitSizes): Tokens {
  const [embed, heads, dim] = [axis("embed", s.width), axis("heads", s.heads), axis("head_dim", s.width / s.heads)];
  const [role, token, key] = [axis("qkv", 3), axis("token", s.tokens), axis("key_token", s.tokens)];
  const scaleOf = (name: string) => p.parameter(name, [embed], constantInit(0.1));
  const qkv = linear(p.scope("qkv"), rmsNorm(p.scope("norm1"), x, [embed]), [embed], [role, heads, dim], {
    bias: false,
  });
  const q = rmsNorm(p.scope("q_norm"), at(qkv, role, 0), [heads, dim]);
  const k = rename(rmsNorm(p.scope("k_norm"), at(qkv, role, 1), [heads, dim]), token, key);
  const v = rename(at(qkv, role, 2), token, key);
  const mixed = linear(p.scope("proj"), attention(q, k, v, { dot: dim, over: key }), [heads, dim], [embed]);
  const y = add(x, mul(mixed, scaleOf("ls1")));
  const hidden = geluMlp(p.scope("mlp"), rmsNorm(p.scope("norm2"), y, [embed]), embed, axis("hidden", s.mlp));
  return add(y, mul(hidden, scaleOf("ls2")));
}

export const tokensInput = (s: VitSizes): Tokens =>
  input("x", "f32", [axis("batch", s.batch), axis("token", s.tokens), axis("embed", s.width)]);

export function encoder(p: Params, s: VitSizes): Tokens {
  let x = tokensInput(s);
  for (let i = 0; i < s.depth; i++) x = block(p.scope(`blocks.${i}`), x, s);
  return x;
}

/** One AdamW step of a classifier of token means. */
export const classifierStep = (s: VitSizes, classes = 10): Graph =>
  bindSizes(trainedClassifier(s, { classes }).graph, {});

export function trainedClassifier(
  s: VitSizes,
  { classes = 10, precision = "f32" }: { readonly classes?: number; readonly precision?: Precision },
): TrainingStep {
  const stage = defineStage({
    name: "vit",
    precision,
    loss: (p) => {
      const pooled = mean(encoder(p, s), axis("token", s.tokens));
      const kind = axis("class", classes);
      const logits = linear(p.scope("head"), pooled, [axis("embed", s.width)], [kind]);
      const batch = axis("batch", s.batch);
      return { loss: mean(crossEntropy(logits, input("label", "i32", [batch]), kind), batch) };
    },
    optimizer: { rate: constantRate(1e-3), clip: 1 },
  });
  return trainingStep(stage);
}
