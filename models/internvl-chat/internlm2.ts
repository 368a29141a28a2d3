/**
 * InternLM2: LLaMA with grouped-query attention, its own tensor names, and one fused matrix of queries, keys and
 * values: for each key/value head its queries, then its key, then its value. Cai et al. 2024, arXiv:2403.17297, section
 * 2.2.
 */
import { shown, type TensorRule, UsageError, under } from "../../dsl/index.ts";
import { checkFields, type Fields, fieldNotes, only, type PublishedConfig } from "../config-fields.ts";
import { readTextConfig, type TextConfig, textFields, vicuna7b, writeTextConfig } from "../internvl/index.ts";

/** InternLM2-20B: 19,861,149,696 parameters. */
export const internlm2With20b: TextConfig = {
  ...vicuna7b,
  width: 6144,
  depth: 48,
  heads: 48,
  keyHeads: 8,
  mlp: 16384,
  vocab: 92544,
  rotaryBase: 1e6,
};

const renamed = (path: string, name: string, axes: string): TensorRule => ({ path, name, axes });

/** A part of the fused matrix and its bias: the query or queries of a key/value head, its key, its value. */
const joined = (x: "q" | "k" | "v", own: string): TensorRule[] => [
  renamed(`self_attn.${x}_proj.weight`, "attention.wqkv.weight", `heads*${own}*head_dim embed`),
  renamed(`self_attn.${x}_proj.bias`, "attention.wqkv.bias", `heads*${own}*head_dim`),
];

/** `InternLM2ForCausalLM`. */
export const internlm2Rules: readonly TensorRule[] = [
  ...under("model", "model", [
    renamed("embed_tokens.weight", "tok_embeddings.weight", "vocab embed"),
    ...under("layers.{}", "layers.{}", [
      renamed("input_layernorm.weight", "attention_norm.weight", "embed"),
      ...joined("q", "0/group+1+1"),
      ...joined("k", "1/group+1+1"),
      ...joined("v", "2/group+1+1"),
      ...joined("q", "0/3"),
      ...joined("k", "1/3"),
      ...joined("v", "2/3"),
      renamed("self_attn.o_proj.weight", "attention.wo.weight", "embed heads*group*head_dim"),
      renamed("self_attn.o_proj.weight", "attention.wo.weight", "embed heads*head_dim"),
      renamed("self_attn.o_proj.bias", "attention.wo.bias", "embed"),
      renamed("post_attention_layernorm.weight", "ffn_norm.weight", "embed"),
      renamed("mlp.gate_proj.weight", "feed_forward.w1.weight", "hidden embed"),
      renamed("mlp.up_proj.weight", "feed_forward.w3.weight", "hidden embed"),
      renamed("mlp.down_proj.weight", "feed_forward.w2.weight", "embed hidden"),
    ]),
    renamed("norm.weight", "norm.weight", "embed"),
  ]),
  renamed("lm_head.weight", "output.weight", "vocab embed"),
];

const what = "InternLM2's config";

const { attention_bias: _, mlp_bias: __, rotary: ___, ...ofLlama } = textFields;

/** LLaMA's fields, except that attention biases have another name and the MLP has none. */
export const internlm2Fields: Fields = {
  ...ofLlama,
  attn_implementation: "none",
  head_dim: only(null),
  tie_word_embeddings: only(false),
  rope_pos_id_version: only("default"),
  rope_pos_id_stride: only(null),
};

/** `config.json` of InternLM2, which has biases by default. `context` stays symbolic. */
export function readInternlm2Config(json: PublishedConfig): TextConfig {
  checkFields(json, internlm2Fields, what);
  const { bias = true, rope_scaling: scaling, ...rest } = json;
  return readTextConfig({ ...rest, attention_bias: bias, ...(isDynamic(scaling) ? {} : { rope_scaling: scaling }) });
}

/** "dynamic" equals no scaling up to `max_position_embeddings` tokens. */
const isDynamic = (scaling: unknown): boolean => (scaling as PublishedConfig | null | undefined)?.type === "dynamic";

/** Messages about a config. */
export function internlm2Notes(json: PublishedConfig): string[] {
  const { rope_scaling: scaling, max_position_embeddings: most = 2048 } = json;
  const told = `${what}: "rope_scaling.type" is "dynamic", which changes positions in texts of more than ${shown(most)} tokens; heddle does not scale the positions of longer texts`;
  return [...fieldNotes(json, internlm2Fields, what), ...(isDynamic(scaling) ? [told] : [])];
}

/** The config of an InternLM2. Throws UsageError for settings that it cannot express. */
export function writeInternlm2Config(c: TextConfig): PublishedConfig {
  const json = writeTextConfig(c);
  const stray = ["head_dim", "mlp_bias"].find((key) => json[key] !== undefined);
  if (stray !== undefined || json.tie_word_embeddings === true)
    throw new UsageError(`${what} has no field for ${stray ?? "tie_word_embeddings"}: save the model as a LLaMA`);
  const { attention_bias: __, ...rest } = json;
  return {
    ...rest,
    architectures: ["InternLM2ForCausalLM"],
    model_type: "internlm2",
    bias: c.attentionBias,
  };
}
