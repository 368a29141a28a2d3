/**
 * Checkpoint layout of Flamingo: no weights were published, so the names are those of OpenFlamingo, an open
 * reproduction.
 */
import { same, type TensorRule, under } from "../../dsl/index.ts";
import { openVisionRules } from "../clip/layouts.ts";
import { gpt2HeadRules } from "../gpt2/index.ts";

const at = (path: string, name: string, axes: string): TensorRule => ({ path, name, axes });
const norm = (path: string, name: string): TensorRule[] =>
  ["weight", "bias"].map((x) => at(`${path}.${x}`, `${name}.${x}`, "embed"));

/** Queries, and fused keys and values; without biases. */
const attention = (path: string, name: string): TensorRule[] => [
  at(`${path}.q.weight`, `${name}.to_q.weight`, "heads*head_dim embed"),
  at(`${path}.k.weight`, `${name}.to_kv.weight`, "0/2*heads*head_dim embed"),
  at(`${path}.v.weight`, `${name}.to_kv.weight`, "1/2*heads*head_dim embed"),
  at(`${path}.out.weight`, `${name}.to_out.weight`, "embed heads*head_dim"),
];

const feedForward = (path: string, name: string): TensorRule[] => [
  ...norm(`${path}.norm`, `${name}.0`),
  at(`${path}.fc1.weight`, `${name}.1.weight`, "hidden embed"),
  at(`${path}.fc2.weight`, `${name}.3.weight`, "embed hidden"),
];

/** OpenCLIP's tower, whose projection is not used. */
const tower = [
  ...openVisionRules.filter(({ path }) => !path.startsWith("projection.")),
  at("patches.weight", "conv1.weight", "embed channel patch_row patch_column"),
];

export const flamingoRules: readonly TensorRule[] = [
  ...under("vision", "vision_encoder", tower),
  ...under("perceiver", "perceiver", [
    same("latents", "token embed"),
    at("time", "frame_embs", "time embed"),
    ...under("layers.{}", "layers.{}", [
      ...norm("norm_media", "0.norm_media"),
      ...norm("norm_latents", "0.norm_latents"),
      ...attention("attn", "0"),
      ...feedForward("ff", "1"),
    ]),
    ...norm("norm", "norm"),
  ]),
  ...under("gated.{}", "lang_encoder.gated_cross_attn_layers.{}", [
    ...norm("norm", "attn.norm"),
    ...attention("attn", "attn"),
    at("attn_gate", "attn_gate", "1"),
    ...feedForward("ff", "ff"),
    at("ff_gate", "ff_gate", "1"),
  ]),
  ...gpt2HeadRules.map(({ path, name, axes }) => at(`lm.${path}`, `lang_encoder.${name}`, axes)),
];

/** Prefixes missing where parts are published alone: a GPT-2's `transformer.`, and OpenCLIP's tower. */
export const flamingoParts: readonly string[] = ["lang_encoder.", "vision_encoder."];
