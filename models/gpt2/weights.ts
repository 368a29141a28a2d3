/** Checkpoint layouts of GPT-2: its linears are stored for x @ W ("Conv1D" in transformers). */
import { same, type TensorRule, under } from "../../dsl/index.ts";

const norm = (path: string) => [same(`${path}.weight`, "embed"), same(`${path}.bias`, "embed")];

/** `GPT2Model`, as in the published files. */
export const gpt2Rules: readonly TensorRule[] = [
  same("wte.weight", "vocab embed"),
  same("wpe.weight", "position embed"),
  ...under("h.{}", "h.{}", [
    ...norm("ln_1"),
    same("attn.c_attn.weight", "embed qkv*heads*head_dim"),
    same("attn.c_attn.bias", "qkv*heads*head_dim"),
    same("attn.c_proj.weight", "heads*head_dim embed"),
    same("attn.c_proj.bias", "embed"),
    ...norm("ln_2"),
    same("mlp.c_fc.weight", "embed hidden"),
    same("mlp.c_fc.bias", "hidden"),
    same("mlp.c_proj.weight", "hidden embed"),
    same("mlp.c_proj.bias", "embed"),
  ]),
  ...norm("ln_f"),
];

/** `GPT2LMHeadModel`, as transformers writes it. */
export const gpt2HeadRules: readonly TensorRule[] = under("", "transformer", gpt2Rules);
