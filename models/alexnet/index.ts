/** AlexNet as a named model. */
import {
  axisOf,
  count,
  defineModel,
  fitHeads,
  imagenetPreprocessing,
  listOf,
  type Model,
  type SettingRules,
  same,
  sgd,
  share,
  steppedRate,
  type TensorRule,
  transpose,
  whole,
} from "../../dsl/index.ts";
import { classesStage, imagenetPictures, pixelsInput } from "../classification.ts";
import { classesOfTensors } from "../picture-config.ts";
import { type AlexnetConfig, alexnetMaps, alexnetScores } from "./alexnet.ts";

export * from "./alexnet.ts";

import { listed } from "../listed.ts";

const both = (path: string, axes: string): TensorRule[] => [
  same(`${path}.weight`, axes),
  same(`${path}.bias`, axes.split(" ")[0]!),
];

/**
 * Tensor names of `torchvision.models.alexnet().state_dict()`; the first hidden layer's input is flattened channel by
 * channel.
 */
const torchvisionRules: readonly TensorRule[] = [
  ...both("features.{}", "channel_out channel kernel_row kernel_column"),
  ...both("classifier.1", "hidden channel*row*column"),
  ...both("classifier.4", "hidden_out hidden"),
  ...both("classifier.6", "class hidden"),
];

const rules: SettingRules = {
  image: whole(63, 2 ** 14),
  widths: listOf(count),
  hidden: count,
  dropout: share,
  classes: count,
};

const config: AlexnetConfig = {
  ...{ image: 224, widths: [64, 192, 384, 256, 256], hidden: 4096, dropout: 0.5, classes: 1000 },
};

const epoch = Math.ceil(imagenetPictures / 128);

/**
 * 90 epochs with batches of 128 by SGD with momentum, the rate divided by 10 three times. Krizhevsky et al. 2012,
 * section 5.
 */
const classes = classesStage<AlexnetConfig>(alexnetScores, {
  published: { steps: 90 * epoch, batch: 128, rate: 0.01, crop: 0.08, flip: 0.5, labelSmoothing: 0 },
  optimizer: ({ rate, steps }) => ({
    rule: sgd({ momentum: 0.9 }),
    rate: steppedRate({ rate, after: [1, 2, 3].map((part) => Math.max(1, Math.round((part * steps) / 4))) }),
    weightDecay: 5e-4,
    decays: () => true,
  }),
});

export const alexnetFamily: readonly Model[] = [
  listed(
    defineModel<AlexnetConfig>({
      name: "alexnet",
      summary: "AlexNet: five convolutions and three layers, 1000 classes of ImageNet",
      config,
      configs: { tiny: { image: 63, widths: [8, 12, 16, 12, 12], hidden: 32, classes: 10 } },
      rules,
      paper: { source: "Krizhevsky 2014, arXiv:1404.5997" },
      preprocessing: { ...imagenetPreprocessing, margin: 256 / 224, interpolation: "bilinear" },
      modes: { features: { graph: "states" }, classify: { output: "scores" } },
      stages: { classes },
      checkpoints: {
        layouts: [torchvisionRules],
        fit: fitHeads(["classifier.6"]),
        sizedByTensors: (c, shapeOf) => classesOfTensors(c, shapeOf, ["classifier.6.weight"]),
      },
      build: (p, c) => ({ scores: alexnetScores(p, pixelsInput(c), c) }),
      graphs: {
        states: {
          summary: "the pixels and the feature map after each convolution, for feature extraction",
          build: (p, c) =>
            Object.fromEntries(
              alexnetMaps(p, pixelsInput(c), c).map((map, i) => {
                const axes = (["batch", "row", "column", "channel"] as const).map((a) => axisOf(map, a));
                return [`block.${i}`, transpose(map, axes)];
              }),
            ),
        },
      },
    }),
  ),
];
