/** The `config.json` of GPT-2 (model_type gpt2). */
import type { ConfigCodec } from "../../dsl/index.ts";
import {
  all,
  bookkeeping,
  checkFields,
  type Fields,
  fieldNotes,
  fieldReader,
  mostLayers,
  only,
} from "../config-fields.ts";
import type { Gpt2Config } from "./gpt2.ts";

const what = "GPT-2's config";

const fields: Fields = {
  ...bookkeeping,
  ...all("read", "n_embd n_layer n_head n_inner n_positions vocab_size layer_norm_epsilon"),
  // Dropout, which the stage here does not apply; summaries, of other heads; and the storage precision.
  ...all(
    "none",
    `n_ctx resid_pdrop embd_pdrop attn_pdrop summary_type summary_use_proj summary_activation summary_proj_to_labels
     summary_first_dropout reorder_and_upcast_attn`,
  ),
  activation_function: only("gelu_new", "gelu_pytorch_tanh"), // two names of one function
  scale_attn_weights: only(true),
  scale_attn_by_inverse_layer_idx: only(false),
  tie_word_embeddings: only(true),
};

export const gpt2Codec: ConfigCodec<Gpt2Config> = {
  types: ["gpt2"],
  read(json) {
    checkFields(json, fields, what);
    const { number, size } = fieldReader(json, what);
    const width = size("n_embd");
    return {
      width,
      depth: size("n_layer", mostLayers),
      heads: size("n_head"),
      mlp: json.n_inner == null ? 4 * width : size("n_inner"),
      vocab: size("vocab_size"),
      positions: size("n_positions"),
      epsilon: number("layer_norm_epsilon", 1e-5),
    };
  },
  notes: (json) => fieldNotes(json, fields, what),
  write: (c) => ({
    architectures: ["GPT2LMHeadModel"],
    model_type: "gpt2",
    n_embd: c.width,
    n_layer: c.depth,
    n_head: c.heads,
    n_inner: c.mlp === 4 * c.width ? null : c.mlp,
    n_positions: c.positions,
    n_ctx: c.positions,
    vocab_size: c.vocab,
    layer_norm_epsilon: c.epsilon,
    activation_function: "gelu_new",
    tie_word_embeddings: true,
    bos_token_id: c.vocab - 1,
    eos_token_id: c.vocab - 1,
  }),
};
