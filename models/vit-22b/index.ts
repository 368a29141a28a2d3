/** ViT-22B as a named model. No weights were published, so the tensor names are heddle's. */
import {
  type AnyTensor,
  axisOf,
  cosine,
  count,
  defineModel,
  fitHeads,
  type Model,
  positive,
  type SettingRules,
  same,
  sgd,
  type TensorRule,
  transpose,
  under,
  whole,
  word,
} from "../../dsl/index.ts";
import { classesStage, imagenetPictures, pixelsInput } from "../classification.ts";
import { classesOfTensors } from "../picture-config.ts";
import { type Vit22bConfig, vit22bScores, vit22bStates, vit22bVector } from "./vit-22b.ts";

export * from "./vit-22b.ts";

import { listed } from "../listed.ts";

const linear = (path: string, axes: string): TensorRule[] => [
  same(`${path}.weight`, axes),
  same(`${path}.bias`, axes.split(" ")[0]!),
];
const attention: readonly TensorRule[] = [
  ...["q", "k", "v"].flatMap((x) => linear(x, "heads*head_dim embed")),
  ...linear("out", "embed heads*head_dim"),
];
const mlp: readonly TensorRule[] = [...linear("fc1", "hidden embed"), ...linear("fc2", "embed hidden")];
const at = (path: string, rules: readonly TensorRule[]) => under(path, path, rules);

/** Matrices in PyTorch's layout, under the parameters' own names. */
const layout: readonly TensorRule[] = [
  ...linear("patch_embed", "embed channel patch_row patch_column"),
  same("positions", "token embed"),
  ...at("blocks.{}", [
    same("norm.weight", "embed"),
    ...at("attn", [...attention, same("q_norm.weight", "head_dim"), same("k_norm.weight", "head_dim")]),
    ...at("mlp", mlp),
  ]),
  same("norm.weight", "embed"),
  same("pool.probe", "token embed"),
  same("pool.norm.weight", "embed"),
  ...at("pool.attn", attention),
  ...at("pool.mlp", mlp),
  ...linear("head", "class embed"),
];

const pixels = whole(1, 2 ** 14);

const rules: SettingRules = {
  ...{ width: count, depth: whole(1, 1000), heads: count, mlp: count, image: pixels, patch: pixels },
  classes: whole(0, 2 ** 20),
  norm: word("rms", "layer"),
  gelu: word("tanh", "exact"),
  epsilon: positive,
};

const config: Vit22bConfig = {
  ...{ width: 6144, depth: 48, heads: 48, mlp: 24576, image: 224, patch: 14, classes: 0 },
  ...{ norm: "rms", epsilon: 1e-6, gelu: "tanh", outBias: true },
};

/**
 * A linear probe of the frozen model: 10 epochs of SGD with momentum, mild crops, horizontal flips, no decay. Section
 * 4.1.
 */
const classes = classesStage<Vit22bConfig>(
  vit22bScores,
  {
    published: {
      ...{ steps: 10 * Math.ceil(imagenetPictures / 1024), batch: 1024, rate: 0.1 },
      ...{ crop: 0.5, flip: 0.5, labelSmoothing: 0 },
    },
    startsFrom: "a pre-trained ViT-22B",
    trainable: ["head.**"],
    optimizer: ({ rate, steps }) => ({
      rule: sgd({ momentum: 0.9 }),
      rate: cosine({ peak: rate, steps }),
      weightDecay: 0,
    }),
  },
  (c) => ({ ...c, classes: c.classes === 0 ? 1000 : c.classes }),
);

export const vit22bFamily: readonly Model[] = [
  listed(
    defineModel<Vit22bConfig>({
      name: "vit-22b",
      summary: "ViT-22B: 48 parallel blocks of width 6144, an image embedding; classes=1000 for a linear probe",
      config,
      configs: { tiny: { width: 16, depth: 2, heads: 2, mlp: 32, image: 28 } },
      rules,
      paper: { source: "Dehghani et al. 2023, arXiv:2302.05442" },
      preprocessing: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
      modes: { features: { graph: "states" }, classify: { output: "scores" } },
      stages: { classes },
      checkpoints: {
        layouts: [layout],
        fit: fitHeads(["head"]),
        sizedByTensors: (c, shapeOf) => classesOfTensors(c, shapeOf, ["head.weight"]),
      },
      build: (p, c): Readonly<Record<string, AnyTensor>> =>
        c.classes > 0 ? { scores: vit22bScores(p, pixelsInput(c), c) } : { vector: vit22bVector(p, pixelsInput(c), c) },
      graphs: {
        states: {
          summary: "all tokens before the first block and after each, for feature extraction",
          build: (p, c) =>
            Object.fromEntries(
              vit22bStates(p, pixelsInput(c), c).map((x, i) => {
                const axes = (["batch", "token", "embed"] as const).map((a) => axisOf(x, a));
                return [`block.${i}`, transpose(x, axes)];
              }),
            ),
        },
      },
    }),
  ),
];
