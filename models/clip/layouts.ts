/** Checkpoint layouts of CLIP: of transformers' CLIPModel, and of OpenAI and OpenCLIP. */
import { same, type TensorRule, under } from "../../dsl/index.ts";

const moved = (path: string, name: string, axes: string): TensorRule => ({ path, name, axes });

/** A weight and a bias of one axis, for norms. */
export const normRules = (path: string, name: string, axes = "embed"): TensorRule[] =>
  ["weight", "bias"].map((part) => moved(`${path}.${part}`, `${name}.${part}`, axes));

/** A weight, and a bias along the weight's first dimension. */
export const linearRules = (path: string, name: string, axes: string): TensorRule[] => [
  moved(`${path}.weight`, `${name}.weight`, axes),
  moved(`${path}.bias`, `${name}.bias`, axes.split(" ")[0]!),
];

const projections = ["q", "k", "v"] as const;

const apartBlock: readonly TensorRule[] = [
  ...normRules("norm1", "layer_norm1"),
  ...normRules("norm2", "layer_norm2"),
  ...projections.flatMap((x) => linearRules(`attn.${x}`, `self_attn.${x}_proj`, "heads*head_dim embed")),
  ...linearRules("attn.out", "self_attn.out_proj", "embed heads*head_dim"),
  ...linearRules("mlp.fc1", "mlp.fc1", "hidden embed"),
  ...linearRules("mlp.fc2", "mlp.fc2", "embed hidden"),
];

/** transformers' CLIPModel: separate queries, keys and values. */
export const transformersRules: readonly TensorRule[] = [
  ...under("vision", "vision_model", [
    moved("class_embedding", "embeddings.class_embedding", "embed"),
    moved("positions", "embeddings.position_embedding.weight", "token embed"),
    moved("patches.weight", "embeddings.patch_embedding.weight", "embed channel patch_row patch_column"),
    ...normRules("norm_pre", "pre_layrnorm"), // spelt as in the checkpoint
    ...under("blocks.{}", "encoder.layers.{}", apartBlock),
    ...normRules("norm_post", "post_layernorm"),
  ]),
  moved("vision.projection.weight", "visual_projection.weight", "feature embed"),
  ...under("text", "text_model", [
    moved("tokens.weight", "embeddings.token_embedding.weight", "vocab embed"),
    moved("positions", "embeddings.position_embedding.weight", "token embed"),
    ...under("blocks.{}", "encoder.layers.{}", apartBlock),
    ...normRules("norm", "final_layer_norm"),
  ]),
  moved("text.projection.weight", "text_projection.weight", "feature embed"),
  same("logit_scale", ""),
];

const joinedBlock: readonly TensorRule[] = [
  ...normRules("norm1", "ln_1"),
  ...normRules("norm2", "ln_2"),
  ...projections.flatMap((x, i) => [
    moved(`attn.${x}.weight`, "attn.in_proj_weight", `${i}/3*heads*head_dim embed`),
    moved(`attn.${x}.bias`, "attn.in_proj_bias", `${i}/3*heads*head_dim`),
  ]),
  ...linearRules("attn.out", "attn.out_proj", "embed heads*head_dim"),
  ...linearRules("mlp.fc1", "mlp.c_fc", "hidden embed"),
  ...linearRules("mlp.fc2", "mlp.c_proj", "embed hidden"),
];

/** The text tower of OpenAI's code and OpenCLIP, with tensors at the root or under `text`. */
export const openTextRules: readonly TensorRule[] = [
  moved("tokens.weight", "token_embedding.weight", "vocab embed"),
  moved("positions", "positional_embedding", "token embed"),
  ...under("blocks.{}", "transformer.resblocks.{}", joinedBlock),
  ...normRules("norm", "ln_final"),
  moved("projection.weight", "text_projection", "embed feature"),
];

/** The vision transformer of OpenAI's code and OpenCLIP, except its patches. */
export const openVisionRules: readonly TensorRule[] = [
  moved("class_embedding", "class_embedding", "embed"),
  moved("positions", "positional_embedding", "token embed"),
  ...normRules("norm_pre", "ln_pre"),
  ...under("blocks.{}", "transformer.resblocks.{}", joinedBlock),
  ...normRules("norm_post", "ln_post"),
  moved("projection.weight", "proj", "embed feature"),
];

/** OpenAI's code and OpenCLIP: fused queries, keys and values; projections stored for x @ W. */
export const openRules: readonly TensorRule[] = [
  ...under("vision", "visual", [
    ...openVisionRules,
    moved("patches.weight", "conv1.weight", "embed channel patch_row patch_column"),
  ]),
  ...under("text", "", openTextRules),
  same("logit_scale", ""),
];

/** A convolution and its batch norm. */
const convolved = (
  path: string,
  [conv, bn]: readonly [string, string],
  names: readonly [string, string],
): TensorRule[] => [
  moved(`${path}${conv}.weight`, `${names[0]}.weight`, "channel_out channel kernel_row kernel_column"),
  ...["weight", "bias", "running_mean", "running_var"].map((part) =>
    moved(`${path}${bn}.${part}`, `${names[1]}.${part}`, "channel"),
  ),
];

const threeConvolutions = [1, 2, 3].flatMap((i) => convolved("", [`conv${i}`, `bn${i}`], [`conv${i}`, `bn${i}`]));

/** OpenAI's and OpenCLIP's files with a ResNet. */
export const openResNetRules: readonly TensorRule[] = [
  ...under("vision", "visual", [
    ...threeConvolutions,
    ...under("layers.{}.{}", "layer{}.{}", threeConvolutions),
    ...under("layers.{}.{}", "layer{}.{}", convolved("side.", ["conv", "bn"], ["downsample.0", "downsample.1"])),
    moved("attnpool.positions", "attnpool.positional_embedding", "key_token channel"),
    ...projections.flatMap((x) => linearRules(`attnpool.${x}`, `attnpool.${x}_proj`, "heads*head_dim channel")),
    ...linearRules("attnpool.out", "attnpool.c_proj", "feature heads*head_dim"),
  ]),
  ...under("text", "", openTextRules),
  same("logit_scale", ""),
];
