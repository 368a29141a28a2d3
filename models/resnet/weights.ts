/** Checkpoint layouts of ResNet. */
import { same, type TensorRule, under } from "../../dsl/index.ts";

const convolution = "channel_out channel kernel_row kernel_column";
const statistics = ["weight", "bias", "running_mean", "running_var"];

/** A convolution and its norm: parameter paths, and tensor names. */
const unit = (paths: readonly [string, string], names: readonly [string, string] = paths): TensorRule[] => [
  { path: `${paths[0]}.weight`, name: `${names[0]}.weight`, axes: convolution },
  ...under(
    paths[1],
    names[1],
    statistics.map((x) => same(x, "channel")),
  ),
];

const units = [1, 2, 3];
const own = (i: number): [string, string] => [`conv${i}`, `bn${i}`];
const shortcut: [string, string] = ["downsample.0", "downsample.1"];

/** Rules of the four stages; `path` and `name` are a block's. */
const inStages = (name: (stage: number) => string, rules: readonly TensorRule[]) =>
  units.concat(4).flatMap((stage) => under(`layer${stage}.{}`, name(stage), rules));

/** As `torchvision.models.resnet50().state_dict()`, and timm, name tensors. */
export const torchvisionRules: readonly TensorRule[] = [
  ...unit(own(1)),
  ...inStages((stage) => `layer${stage}.{}`, [...units.flatMap((i) => unit(own(i))), ...unit(shortcut)]),
  same("fc.weight", "class channel"),
  same("fc.bias", "class"),
];

const published = (scope: string): [string, string] => [`${scope}.convolution`, `${scope}.normalization`];

/** `ResNetForImageClassification` of Hugging Face transformers. */
export const transformersRules: readonly TensorRule[] = [
  ...unit(own(1), published("resnet.embedder.embedder")),
  ...inStages(
    (stage) => `resnet.encoder.stages.${stage - 1}.layers.{}`,
    [...units.flatMap((i) => unit(own(i), published(`layer.${i - 1}`))), ...unit(shortcut, published("shortcut"))],
  ),
  { path: "fc.weight", name: "classifier.1.weight", axes: "class channel" },
  { path: "fc.bias", name: "classifier.1.bias", axes: "class" },
];
