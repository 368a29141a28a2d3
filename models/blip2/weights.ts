/** Where a Q-Former's parameters lie in checkpoints. */
import { same, type TensorRule, under } from "../../dsl/index.ts";

const affine = (path: string, name: string, out: string, from: string): TensorRule[] => [
  { path: `${path}.weight`, name: `${name}.weight`, axes: `${out} ${from}` },
  { path: `${path}.bias`, name: `${name}.bias`, axes: out },
];
const norm = (path: string, name: string): TensorRule[] =>
  ["weight", "bias"].map((x) => ({ path: `${path}.${x}`, name: `${name}.${x}`, axes: "embed" }));

/** Attention as BERT has it; what projects is one word deeper, and called otherwise by LAVIS and transformers. */
const attention = (path: string, name: string, inner: string): TensorRule[] => [
  ...Object.entries({ q: "query", k: "key", v: "value" }).flatMap(([x, word]) =>
    affine(`${path}.${x}`, `${name}.${inner}.${word}`, "heads*head_dim", "embed"),
  ),
  ...affine(`${path}.out`, `${name}.output.dense`, "embed", "heads*head_dim"),
  ...norm(`${path}_norm`, `${name}.output.LayerNorm`),
];

const feedForward = (path: string, suffix: string): TensorRule[] => [
  ...affine(`${path}.fc1`, `intermediate${suffix}.dense`, "hidden", "embed"),
  ...affine(`${path}.fc2`, `output${suffix}.dense`, "embed", "hidden"),
  ...norm(`${path}_norm`, `output${suffix}.LayerNorm`),
];

const layer = (inner: string): TensorRule[] => [
  ...attention("self", "attention", inner),
  ...attention("cross", "crossattention", inner),
  ...feedForward("text", ""),
  ...feedForward("query", "_query"),
];

const embeddings = (name: string): TensorRule[] => [
  { path: "embeddings.word.weight", name: `${name}.word_embeddings.weight`, axes: "vocab embed" },
  { path: "embeddings.position.weight", name: `${name}.position_embeddings.weight`, axes: "position embed" },
];

const heads = (vision: string, text: string): TensorRule[] => [
  same("query_tokens", "1 token embed"),
  ...affine("vision_proj", vision, "feature", "embed"),
  ...affine("text_proj", text, "feature", "embed"),
  ...affine("itm_head", "itm_head", "match", "embed"),
];

/** As LAVIS keeps it, with the head that writes. */
export const qformerRules: readonly TensorRule[] = [
  ...heads("vision_proj", "text_proj"),
  same("temp", ""),
  ...norm("ln_vision", "ln_vision"),
  ...embeddings("Qformer.bert.embeddings"),
  ...norm("embeddings.norm", "Qformer.bert.embeddings.LayerNorm"),
  ...under("layer.{}", "Qformer.bert.encoder.layer.{}", layer("self")),
  ...affine("head.dense", "Qformer.cls.predictions.transform.dense", "embed_out", "embed"),
  ...norm("head.norm", "Qformer.cls.predictions.transform.LayerNorm"),
  { path: "head.bias", name: "Qformer.cls.predictions.bias", axes: "vocab" },
];

/** `Blip2ForImageTextRetrieval` of transformers, which compares and matches and does not write. */
export const qformerHubRules: readonly TensorRule[] = [
  ...heads("vision_projection", "text_projection"),
  ...norm("ln_vision", "vision_model.post_layernorm"),
  ...embeddings("embeddings"),
  ...norm("embeddings.norm", "qformer.layernorm"),
  ...under("layer.{}", "qformer.encoder.layer.{}", layer("attention")),
];
