/** Checkpoint layouts of InternVL-Chat 1.2 and 1.5. */
import { same, type TensorRule, under } from "../../dsl/index.ts";
import { causalRules, llamaRules, visionRules } from "../internvl/index.ts";
import { internlm2Rules } from "./internlm2.ts";

const glue: readonly TensorRule[] = [
  same("0.weight", "embed"),
  same("0.bias", "embed"),
  ...["1", "3"].flatMap((x) => [same(`${x}.weight`, "embed_out embed"), same(`${x}.bias`, "embed_out")]),
];

const published = (language: readonly TensorRule[]): readonly TensorRule[] => [
  ...under("vision_model", "vision_model", visionRules),
  ...under("mlp1", "mlp1", glue),
  ...under("language_model", "language_model", language),
];

/** The authors' form, with a LLaMA, as in 1.2. */
export const chatLlamaRules = published(causalRules);

/** The authors' form, with InternLM2, as in 1.5. */
export const chatInternlm2Rules = published(internlm2Rules);

/** InternViT in transformers' form: other names for norms and scales, and separate matrices of q, k and v. */
const towerRules: readonly TensorRule[] = [
  { path: "embeddings.class_embedding", name: "embeddings.cls_token", axes: "1 token embed" },
  { path: "embeddings.position_embedding", name: "embeddings.position_embeddings", axes: "1 token embed" },
  ...under("embeddings.patch_embedding", "embeddings.patch_embeddings.projection", [
    same("weight", "embed channel patch_row patch_column"),
    same("bias", "embed"),
  ]),
  ...under("encoder.layers.{}", "encoder.layer.{}", [
    { path: "norm1.weight", name: "layernorm_before.weight", axes: "embed" },
    { path: "attn.qkv.weight", name: "attention.{qkv:q,k,v}_proj.weight", axes: "heads*head_dim embed" },
    { path: "attn.q_norm.weight", name: "attention.q_norm.weight", axes: "heads*head_dim" },
    { path: "attn.k_norm.weight", name: "attention.k_norm.weight", axes: "heads*head_dim" },
    { path: "attn.proj.weight", name: "attention.projection_layer.weight", axes: "embed heads*head_dim" },
    { path: "attn.proj.bias", name: "attention.projection_layer.bias", axes: "embed" },
    { path: "ls1", name: "lambda_1", axes: "embed" },
    { path: "norm2.weight", name: "layernorm_after.weight", axes: "embed" },
    ...under("mlp", "mlp", [
      same("fc1.weight", "hidden embed"),
      same("fc1.bias", "hidden"),
      same("fc2.weight", "embed hidden"),
      same("fc2.bias", "embed"),
    ]),
    { path: "ls2", name: "lambda_2", axes: "embed" },
  ]),
];

const hubGlue: readonly TensorRule[] = glue.map((rule) => ({
  ...rule,
  name: rule.name.replace(/^0/, "layer_norm").replace(/^1/, "linear_1").replace(/^3/, "linear_2"),
}));

/** transformers' form, with a LLaMA: files on the hub, and those that transformers 5 writes. */
export const [chatHubRules, chatHubRules5] = [
  [
    ...under("vision_model", "vision_tower", towerRules),
    ...under("mlp1", "multi_modal_projector", hubGlue),
    ...under("language_model", "language_model", causalRules),
  ],
  [
    ...under("vision_model", "model.vision_tower", towerRules),
    ...under("mlp1", "model.multi_modal_projector", hubGlue),
    ...under("language_model.model", "model.language_model", llamaRules),
    { path: "language_model.lm_head.weight", name: "lm_head.weight", axes: "vocab embed" },
  ],
] as const satisfies readonly (readonly TensorRule[])[];
