/** Checkpoint layouts of the Q-Former and BLIP-2. */
import { same, type TensorCopy, type TensorRule, under } from "../../dsl/index.ts";

const affine = (path: string, name: string, out: string, from: string): TensorRule[] => [
  { path: `${path}.weight`, name: `${name}.weight`, axes: `${out} ${from}` },
  { path: `${path}.bias`, name: `${name}.bias`, axes: out },
];
const norm = (path: string, name: string): TensorRule[] =>
  ["weight", "bias"].map((x) => ({ path: `${path}.${x}`, name: `${name}.${x}`, axes: "embed" }));

/** BERT's attention; LAVIS and transformers name the projections differently, one level deeper. */
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

/** LAVIS's layout, with the language modelling head. */
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

/** `Blip2ForImageTextRetrieval` of transformers: contrastive and matching, without generation. */
export const qformerHubRules: readonly TensorRule[] = [
  ...heads("vision_projection", "text_projection"),
  ...norm("ln_vision", "vision_model.post_layernorm"),
  ...embeddings("embeddings"),
  ...norm("embeddings.norm", "qformer.layernorm"),
  ...under("layer.{}", "qformer.encoder.layer.{}", layer("attention")),
];

const joined: readonly TensorRule[] = ["q", "k", "v"].flatMap((x, i) => [
  { path: `attn.${x}.weight`, name: "self_attn.qkv.weight", axes: `${i}/3*heads*head_dim embed` },
  { path: `attn.${x}.bias`, name: "self_attn.qkv.bias", axes: `${i}/3*heads*head_dim` },
]);

/** `Blip2ForConditionalGeneration` of transformers, with OPT. */
export const blip2HubRules: readonly TensorRule[] = [
  ...under("vision", "vision_model", [
    { path: "class_embedding", name: "embeddings.class_embedding", axes: "1 1 embed" },
    { path: "positions", name: "embeddings.position_embedding", axes: "1 token embed" },
    ...affine("patches", "embeddings.patch_embedding", "embed", "channel patch_row patch_column"),
    ...under("blocks.{}", "encoder.layers.{}", [
      ...norm("norm1", "layer_norm1"),
      ...norm("norm2", "layer_norm2"),
      ...joined,
      ...affine("attn.out", "self_attn.projection", "embed", "heads*head_dim"),
      ...affine("mlp.fc1", "mlp.fc1", "hidden", "embed"),
      ...affine("mlp.fc2", "mlp.fc2", "embed", "hidden"),
    ]),
    ...norm("norm", "post_layernorm"),
  ]),
  ...under("qformer", "", [
    same("query_tokens", "1 token embed"),
    ...norm("embeddings.norm", "qformer.layernorm"),
    ...under("layer.{}", "qformer.encoder.layer.{}", layer("attention")),
  ]),
  ...affine("language_projection", "language_projection", "embed_out", "embed"),
  ...under("language_model", "language_model.model.decoder", [
    { path: "tokens.weight", name: "embed_tokens.weight", axes: "vocab embed" },
    { path: "positions.weight", name: "embed_positions.weight", axes: "position embed" },
    ...under("layers.{}", "layers.{}", [
      ...norm("norm1", "self_attn_layer_norm"),
      ...norm("norm2", "final_layer_norm"),
      ...["q", "k", "v"].flatMap((x) => affine(`attn.${x}`, `self_attn.${x}_proj`, "heads*head_dim", "embed")),
      ...affine("attn.out", "self_attn.out_proj", "embed", "heads*head_dim"),
      ...affine("fc1", "fc1", "hidden", "embed"),
      ...affine("fc2", "fc2", "embed", "hidden"),
    ]),
    ...norm("norm", "final_layer_norm"),
  ]),
];

/** The output matrix is tied to the embedding and may be stored again. */
export const blip2Copies = (): readonly TensorCopy[] => [
  {
    name: "language_model.lm_head.weight",
    of: "language_model.model.decoder.embed_tokens.weight",
    setting: "tie_word_embeddings",
  },
];
