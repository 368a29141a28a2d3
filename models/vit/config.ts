/** Reads and writes the config.json files of transformers' ViT, DeiT and DINOv2. */
import { type JsonRecord, shown, UsageError } from "../../dsl/index.ts";
import {
  all,
  bookkeeping,
  checkFields,
  type Fields,
  fieldReader,
  mostLayers,
  only,
  type PublishedConfig,
  trained,
} from "../config-fields.ts";
import { classCount, unnamedClasses } from "../picture-config.ts";
import type { VitConfig } from "./vit.ts";

const shared: Fields = {
  ...bookkeeping,
  ...all("read", "hidden_size num_hidden_layers num_attention_heads image_size patch_size layer_norm_eps"),
  num_channels: only(3),
  hidden_act: only("gelu"),
  qkv_bias: only(true),
  hidden_dropout_prob: trained(0),
  attention_probs_dropout_prob: trained(0),
};

const vitFields: Fields = {
  ...shared,
  ...all("read", "intermediate_size architectures"),
  ...all("none", "encoder_stride pooler_output_size pooler_act"), // of other heads
};

const dinov2Fields: Fields = {
  ...shared,
  ...all("read", "mlp_ratio use_swiglu_ffn layerscale_value drop_path_rate num_register_tokens architectures"),
  ...all("none", "out_features out_indices stage_names apply_layernorm reshape_hidden_states"), // of a backbone
  use_mask_token: "none", // replaces masked patches in pre-training
};

export type VitType = "vit" | "deit" | "dinov2" | "dinov2_with_registers";

const isDinov2 = (type: VitType): boolean => type === "dinov2" || type === "dinov2_with_registers";

export const fieldsOf = (type: VitType): Fields => (isDinov2(type) ? dinov2Fields : vitFields);

export const whatOf = (type: VitType): string => `the ${type} config`;

/** The hidden width of DINOv2's SwiGLU: two thirds of the plain MLP's, rounded up to a multiple of 8. */
const gatedWidth = (width: number, ratio: number): number =>
  Math.ceil(Math.floor((Math.floor(width * ratio) * 2) / 3) / 8) * 8;

const hasHead = ({ architectures }: PublishedConfig): boolean =>
  !Array.isArray(architectures) || architectures.some((name) => String(name).includes("ForImageClassification"));

/** Rejects DeiT with a distillation token but without a head for it, which is another model. */
function checkTeacher({ architectures }: PublishedConfig): void {
  if (!Array.isArray(architectures) || architectures.some((name) => String(name).includes("WithTeacher"))) return;
  throw new UsageError(
    `${whatOf("deit")}: "architectures" is ${shown(architectures)}; only DeiTForImageClassificationWithTeacher is supported`,
  );
}

export function readVitConfig(type: VitType, json: PublishedConfig, config: VitConfig): VitConfig {
  const what = whatOf(type);
  checkFields(json, fieldsOf(type), what);
  if (type === "deit") checkTeacher(json);
  const { number, size, boolean } = fieldReader(json, what);
  const width = size("hidden_size");
  const common: VitConfig = {
    ...config,
    width,
    depth: size("num_hidden_layers", mostLayers),
    heads: size("num_attention_heads"),
    patch: size("patch_size"),
    classes: classCount(json),
  };
  const side = size("image_size");
  if (!isDinov2(type))
    return {
      ...common,
      mlp: size("intermediate_size"),
      epsilon: number("layer_norm_eps", 1e-12),
      image: side,
      positions: 0,
    };
  const isGated = boolean("use_swiglu_ffn", false);
  const ratio = number("mlp_ratio", 4);
  const image = Math.min(config.image, side); // positions may be for larger images than the processor makes
  return {
    ...common,
    image,
    positions: image === side ? 0 : side,
    mlp: isGated ? gatedWidth(width, ratio) : Math.floor(width * ratio),
    feedForward: isGated ? "swiglu" : "gelu",
    epsilon: number("layer_norm_eps", 1e-6),
    layerScale: number("layerscale_value", 1),
    dropPath: number("drop_path_rate", 0),
    registers: type === "dinov2" ? 0 : number("num_register_tokens", 4),
    classes: hasHead(json) ? common.classes : 0,
  };
}

/** DINOv2's MLP ratio; undefined if none gives the hidden width. */
function ratioOf({ width, mlp, feedForward }: VitConfig): number | undefined {
  if (feedForward !== "swiglu") return Number.isInteger(mlp / width) ? mlp / width : undefined;
  return [4, ...Array.from({ length: 16 }, (_, i) => i + 1)].find((ratio) => gatedWidth(width, ratio) === mlp);
}

export function writeVitConfig(type: VitType, c: VitConfig): JsonRecord | undefined {
  const ratio = ratioOf(c);
  const heads = { class: "vit", distilled: "deit", mean: "dinov2" }[c.head];
  if (heads === undefined || !type.startsWith(heads)) return undefined;
  const common = {
    model_type: type,
    hidden_size: c.width,
    num_hidden_layers: c.depth,
    num_attention_heads: c.heads,
    image_size: c.positions === 0 ? c.image : c.positions,
    patch_size: c.patch,
    num_channels: 3,
    hidden_act: "gelu",
    layer_norm_eps: c.epsilon,
    qkv_bias: true,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
    ...(c.classes > 0 && unnamedClasses(c.classes)),
  };
  if (!isDinov2(type)) {
    if (c.registers > 0 || c.layerScale > 0 || c.feedForward !== "gelu") return undefined;
    const architecture = type === "vit" ? "ViTForImageClassification" : "DeiTForImageClassificationWithTeacher";
    return { architectures: [architecture], ...common, intermediate_size: c.mlp };
  }
  if (ratio === undefined || c.layerScale === 0 || c.registers > 0 !== (type === "dinov2_with_registers"))
    return undefined;
  const name = type === "dinov2" ? "Dinov2" : "Dinov2WithRegisters";
  return {
    architectures: [`${name}${c.classes > 0 ? "ForImageClassification" : "Model"}`],
    ...common,
    mlp_ratio: ratio,
    use_swiglu_ffn: c.feedForward === "swiglu",
    layerscale_value: c.layerScale,
    drop_path_rate: c.dropPath,
    ...(type === "dinov2" ? { use_mask_token: false } : { num_register_tokens: c.registers }),
  };
}
