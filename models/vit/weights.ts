/** Checkpoint layouts of ViT. */
import { same, type TensorRule, under } from "../../dsl/index.ts";

const moved = (path: string, name: string, axes: string): TensorRule => ({ path, name, axes });

/** A weight, and a bias along the weight's first axes. */
const linear = (path: string, name: string, axes: string): TensorRule[] => [
  moved(`${path}.weight`, `${name}.weight`, axes),
  moved(`${path}.bias`, `${name}.bias`, axes.split(" ")[0]!),
];
const norm = (path: string, name = path): TensorRule[] => linear(path, name, "embed");

const pixels = "embed channel patch_row patch_column";
const [perHead, fromHeads] = ["heads*head_dim embed", "embed heads*head_dim"];

/** Names outside the blocks, and the prefix of blocks. */
const timmAround = (registers: string): TensorRule[] => [
  same("cls_token", "1 token embed"),
  same("dist_token", "1 token embed"),
  moved("reg_token", registers, "1 token embed"),
  same("pos_embed", "1 token embed"),
  ...linear("patch_embed.proj", "patch_embed.proj", pixels),
  ...norm("norm"),
  ...linear("head", "head", "class embed"),
  ...linear("head_dist", "head_dist", "class embed"),
];

const timmBlock: readonly TensorRule[] = [
  ...norm("norm1"),
  ...["q", "k", "v"].flatMap((x, i) => linear(`attn.${x}`, "attn.qkv", `${i}/3*${perHead}`)),
  ...linear("attn.out", "attn.proj", fromHeads),
  same("ls1.gamma", "embed"),
  ...norm("norm2"),
  ...linear("mlp.fc1", "mlp.fc1", "hidden embed"),
  ...linear("mlp.fc2", "mlp.fc2", "embed hidden"),
  same("ls2.gamma", "embed"),
];

/** SwiGLU, with gate and up projection fused in one tensor. */
const gated = (joined: string, out: string): TensorRule[] => [
  ...linear("mlp.gate_proj", joined, "0/2*hidden embed"),
  ...linear("mlp.up_proj", joined, "1/2*hidden embed"),
  ...linear("mlp.down_proj", out, "embed hidden"),
];

const inBlocks = (name: string, rules: readonly TensorRule[]) => under("blocks.{}", name, rules);

/** timm's tensor names, which DeiT's original files share. */
export const timmRules: readonly TensorRule[] = [
  ...timmAround("reg_token"),
  ...inBlocks("blocks.{}", [...timmBlock, ...gated("mlp.fc1", "mlp.fc2")]),
];

/** DINOv2's original files. */
export const dinov2Rules: readonly TensorRule[] = [
  ...timmAround("register_tokens"),
  ...inBlocks("blocks.{}", [...timmBlock, ...gated("mlp.w12", "mlp.w3")]),
];

/** Tensors outside the blocks in files of transformers. */
const transformersAround = (model: string): TensorRule[] =>
  under("", model, [
    moved("cls_token", "embeddings.cls_token", "1 token embed"),
    moved("dist_token", "embeddings.distillation_token", "1 token embed"),
    moved("reg_token", "embeddings.register_tokens", "1 token embed"),
    moved("pos_embed", "embeddings.position_embeddings", "1 token embed"),
    ...linear("patch_embed.proj", "embeddings.patch_embeddings.projection", pixels),
    ...norm("norm", "layernorm"),
  ]);

const transformersAttention: readonly TensorRule[] = [
  ...(["query", "key", "value"] as const).flatMap((x) => linear(`attn.${x[0]}`, `attention.attention.${x}`, perHead)),
  ...linear("attn.out", "attention.output.dense", fromHeads),
];

/** `ViTForImageClassification`, and `DeiTForImageClassificationWithTeacher` of two heads. */
export const transformersRules = (model: "vit" | "deit"): readonly TensorRule[] => [
  ...transformersAround(model),
  ...inBlocks(`${model}.encoder.layer.{}`, [
    ...transformersAttention,
    ...norm("norm1", "layernorm_before"),
    ...norm("norm2", "layernorm_after"),
    ...linear("mlp.fc1", "intermediate.dense", "hidden embed"),
    ...linear("mlp.fc2", "output.dense", "embed hidden"),
  ]),
  ...linear("head", model === "deit" ? "cls_classifier" : "classifier", "class embed"),
  ...linear("head_dist", "distillation_classifier", "class embed"),
];

/** `Dinov2ForImageClassification` and `Dinov2WithRegistersForImageClassification`; their bare models have no prefix. */
export const transformersDinov2Rules = (model: "dinov2" | "dinov2_with_registers"): readonly TensorRule[] => [
  ...transformersAround(model),
  ...inBlocks(`${model}.encoder.layer.{}`, [
    ...transformersAttention,
    ...norm("norm1"),
    moved("ls1.gamma", "layer_scale1.lambda1", "embed"),
    ...norm("norm2"),
    ...linear("mlp.fc1", "mlp.fc1", "hidden embed"),
    ...linear("mlp.fc2", "mlp.fc2", "embed hidden"),
    ...gated("mlp.weights_in", "mlp.weights_out"),
    moved("ls2.gamma", "layer_scale2.lambda1", "embed"),
  ]),
  ...linear("head", "classifier", "class embed"),
];
