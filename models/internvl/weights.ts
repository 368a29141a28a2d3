/** Checkpoint layouts of the InternVL family. */
import { same, type TensorRule, under } from "../../dsl/index.ts";

/** InternViT, as in OpenGVLab/InternViT-6B-224px: 4 tensors and 13 for each block. */
export const visionRules: readonly TensorRule[] = [
  same("embeddings.class_embedding", "1 token embed"),
  same("embeddings.position_embedding", "1 token embed"),
  same("embeddings.patch_embedding.weight", "embed channel patch_row patch_column"),
  same("embeddings.patch_embedding.bias", "embed"),
  ...under("encoder.layers.{}", "encoder.layers.{}", [
    same("norm1.weight", "embed"),
    same("attn.qkv.weight", "qkv*heads*head_dim embed"),
    same("attn.q_norm.weight", "heads*head_dim"),
    same("attn.k_norm.weight", "heads*head_dim"),
    same("attn.proj.weight", "embed heads*head_dim"),
    same("attn.proj.bias", "embed"),
    same("ls1", "embed"),
    same("norm2.weight", "embed"),
    same("mlp.fc1.weight", "hidden embed"),
    same("mlp.fc1.bias", "hidden"),
    same("mlp.fc2.weight", "embed hidden"),
    same("mlp.fc2.bias", "embed"),
    same("ls2", "embed"),
  ]),
];

/** LLaMA without its output matrix: `LlamaModel` of Hugging Face transformers. */
export const llamaRules: readonly TensorRule[] = [
  same("embed_tokens.weight", "vocab embed"),
  ...under("layers.{}", "layers.{}", [
    same("input_layernorm.weight", "embed"),
    ...["q", "k", "v"].flatMap((x) => [
      same(`self_attn.${x}_proj.weight`, "heads*head_dim embed"),
      same(`self_attn.${x}_proj.bias`, "heads*head_dim"),
    ]),
    same("self_attn.q_proj.weight", "heads*group*head_dim embed"),
    same("self_attn.q_proj.bias", "heads*group*head_dim"),
    same("self_attn.o_proj.weight", "embed heads*head_dim"),
    same("self_attn.o_proj.weight", "embed heads*group*head_dim"),
    same("self_attn.o_proj.bias", "embed"),
    same("post_attention_layernorm.weight", "embed"),
    ...["gate", "up"].flatMap((x) => [
      same(`mlp.${x}_proj.weight`, "hidden embed"),
      same(`mlp.${x}_proj.bias`, "hidden"),
    ]),
    same("mlp.down_proj.weight", "embed hidden"),
    same("mlp.down_proj.bias", "embed"),
  ]),
  same("norm.weight", "embed"),
];

/** LLaMA with its output matrix: `LlamaForCausalLM`; also Vicuna, and InternLM, which has biases. */
export const causalRules: readonly TensorRule[] = [
  ...under("model", "model", llamaRules),
  same("lm_head.weight", "vocab embed"),
];

/** QLLaMA's cross-attention in every second layer: 6 tensors each. */
const crossAttentionRules: readonly TensorRule[] = [
  same("norm1.weight", "embed"),
  same("norm2.weight", "vision_embed"),
  same("q_proj.weight", "heads*head_dim embed"),
  same("k_proj.weight", "heads*head_dim vision_embed"),
  same("v_proj.weight", "heads*head_dim vision_embed"),
  same("o_proj.weight", "embed heads*head_dim"),
];

/** An attention-pooling block: 14 tensors; the checkpoint stores the biases of q, k and v outside their layers. */
export const poolingRules: readonly TensorRule[] = ["q", "k", "v"]
  .flatMap((x): TensorRule[] => [
    same(`norm1_${x}.weight`, "embed"),
    same(`norm1_${x}.bias`, "embed"),
    same(`cross_attn.${x}.weight`, "heads*head_dim embed"),
    { path: `cross_attn.${x}.bias`, name: `cross_attn.${x}_bias`, axes: "heads*head_dim" },
  ])
  .concat([same("cross_attn.proj.weight", "feature heads*head_dim"), same("cross_attn.proj.bias", "feature")]);

/** InternVL-C as stored in OpenGVLab/InternVL-14B-224px. The text projection is stored for x @ W. */
export const contrastiveRules: readonly TensorRule[] = [
  ...under("vision_model", "vision_model", visionRules),
  ...under("clip_projector", "clip_projector", poolingRules),
  ...under("qllama.model", "qllama.model", llamaRules),
  { path: "text_projection.weight", name: "text_projection", axes: "embed feature" },
  same("logit_scale", ""),
];

/** InternVL-14B, all of OpenGVLab/InternVL-14B-224px: 1,048 tensors. */
export const generativeRules: readonly TensorRule[] = [
  ...contrastiveRules,
  same("query_tokens", "1 token embed"),
  ...under("qllama.model.layers.{}.cross_attn", "qllama.model.layers.{}.cross_attn", crossAttentionRules),
  same("qllama.lm_head.weight", "vocab embed"),
  ...under("clip_projector2", "clip_projector2", poolingRules),
  same("itm_head.weight", "match embed"),
  same("itm_head.bias", "match"),
];

/** A projector: linear, GELU, linear. */
const projectorRules = [same("{}.weight", "embed_out embed"), same("{}.bias", "embed_out")];

/**
 * InternVL-Chat: the language model and projectors as in LLaVA (`mlp2x_gelu` for path A, `two_mlp` for path B), the
 * vision side as in InternVL-14B.
 */
export const chatRules: readonly TensorRule[] = [
  ...under("vision_model", "vision_model", visionRules),
  ...causalRules,
  ...["", ".mlp1", ".mlp2"].flatMap((x) => under(`model.mm_projector${x}`, `model.mm_projector${x}`, projectorRules)),
  same("query_tokens", "1 token embed"),
  ...under("qllama.model", "qllama.model", llamaRules),
  ...under("qllama.model.layers.{}.cross_attn", "qllama.model.layers.{}.cross_attn", crossAttentionRules),
];

const batchNormRules = (axis: string): TensorRule[] =>
  ["weight", "bias", "running_mean", "running_var"].map((x) => same(x, axis));

/** The probes: norm and head as in the released classification code, encoder and pooling as in InternVL-14B. */
export const probeRules: readonly TensorRule[] = [
  ...under("vision_model", "vision_model", visionRules),
  ...under("clip_projector", "clip_projector", poolingRules),
  ...under("norm", "norm", batchNormRules("feature")),
  same("head.weight", "class feature"),
  same("head.bias", "class"),
];

const upsamplingRules = [same("weight", "embed embed_out kernel_row kernel_column"), same("bias", "embed_out")];
const convolutionRules = [
  same("conv.weight", "embed_out embed kernel_row kernel_column"),
  ...under("bn", "bn", batchNormRules("embed")),
];
const classifierRules = [same("weight", "class embed kernel_row kernel_column"), same("bias", "class")];
const at = (path: string, rules: readonly TensorRule[]) => under(path, path, rules);

/** The segmentation heads as MMSegmentation names their tensors; the encoder as in InternVL-14B. */
export const segmentationRules: readonly TensorRule[] = [
  ...at("vision_model", visionRules),
  ...["backbone.up1.0", "backbone.up1.3", "backbone.up2.0"].flatMap((path) => at(path, upsamplingRules)),
  ...at("backbone.up1.1", [same("weight", "embed"), same("bias", "embed")]),
  ...at("decode_head.norm", batchNormRules("embed")),
  ...["psp_modules.{}.{}", "bottleneck", "lateral_convs.{}", "fpn_convs.{}", "fpn_bottleneck"].flatMap((path) =>
    at(`decode_head.${path}`, convolutionRules),
  ),
  ...at("auxiliary_head.convs.{}", convolutionRules),
  ...["decode_head", "auxiliary_head"].flatMap((path) => at(`${path}.conv_seg`, classifierRules)),
];

/**
 * The whole family in one layout: names and prefixes differ, so no parameter has two conflicting places. InternViT with
 * its own tensors at the root, InternVL-14B, the chat models, and the heads.
 */
export const familyRules: readonly TensorRule[] = [
  ...visionRules,
  ...generativeRules,
  ...chatRules,
  ...probeRules,
  ...segmentationRules,
];
