/** The ResNet family: ResNet-18 to ResNet-152 as named models. */
import {
  axisOf,
  count,
  defineModel,
  fitHeads,
  imagenetPreprocessing,
  listOf,
  type Model,
  type SettingRules,
  sgd,
  steppedRate,
  transpose,
  whole,
  word,
} from "../../dsl/index.ts";
import { classesStage, imagenetPictures, pixelsInput } from "../classification.ts";
import { classesOfTensors, incidental, pictureCodec } from "../picture-config.ts";
import { timmReader } from "../timm-config.ts";
import { readResnetConfig, resnetFields, resnetWhat, writeResnetConfig } from "./config.ts";
import { type ResnetConfig, resnetMaps, resnetScores } from "./resnet.ts";
import { torchvisionRules, transformersRules } from "./weights.ts";

export { readResnetConfig, writeResnetConfig } from "./config.ts";
export * from "./resnet.ts";

import { listed } from "../listed.ts";

const rules: SettingRules = {
  image: whole(1, 2 ** 14),
  stem: count,
  widths: listOf(whole(4, 2 ** 20)),
  depths: listOf(whole(1, 1000)),
  block: word("basic", "bottleneck"),
  classes: count,
};

const epoch = Math.ceil(imagenetPictures / 256);

/**
 * 90 epochs with batches of 256 by SGD with momentum, the rate divided by 10 every 30 epochs: section 3.4 of the paper,
 * which lowers the rate when the error plateaus, with the epochs of torchvision's training script. Norms and biases
 * decay too.
 */
const classes = classesStage<ResnetConfig>(resnetScores, {
  published: { steps: 90 * epoch, batch: 256, rate: 0.1, crop: 0.08, flip: 0.5, labelSmoothing: 0 },
  optimizer: ({ rate, steps }) => ({
    rule: sgd({ momentum: 0.9 }),
    rate: steppedRate({ rate, after: [1, 2].map((third) => Math.max(1, Math.round((third * steps) / 3))) }),
    weightDecay: 1e-4,
    decays: () => true,
  }),
});

/** The published bottleneck and basic widths. */
const widths = { bottleneck: [256, 512, 1024, 2048], basic: [64, 128, 256, 512] } as const;

function resnet(layers: number, block: keyof typeof widths, depths: readonly number[], any = false): Model {
  const config: ResnetConfig = {
    image: 224,
    stem: 64,
    widths: widths[block],
    depths,
    block,
    halvesFirst: false,
    halvesInFirstStage: false,
    classes: 1000,
  };
  return listed(
    defineModel<ResnetConfig>({
      name: `resnet-${layers}`,
      summary: `ResNet-${layers}: ${depths.join(", ")} ${block} blocks, 1000 classes of ImageNet`,
      config,
      configs: { tiny: { image: 32, stem: 8, widths: [8, 16, 24, 32], depths: [1, 1, 1, 1], classes: 10 } },
      rules,
      paper: { source: "He et al. 2016, arXiv:1512.03385" },
      preprocessing: { ...imagenetPreprocessing, margin: 256 / 224, interpolation: "bilinear" },
      modes: { features: { graph: "states" }, classify: { output: "scores" } },
      stages: { classes },
      checkpoints: {
        layouts: [transformersRules, torchvisionRules],
        config: pictureCodec({
          ...{ type: "resnet", profile: config, any, fields: resnetFields, what: resnetWhat },
          ...{ read: readResnetConfig, write: writeResnetConfig },
        }),
        otherConfigs: [
          timmReader<ResnetConfig>({
            ...{ architecture: `resnet${layers}`, pooling: "avg", incidental },
            settings: (c, read) => ({ ...c, ...read }),
          }),
        ],
        fit: fitHeads(["fc"]),
        sizedByTensors: (c, shapeOf) => classesOfTensors(c, shapeOf, ["classifier.1.weight", "fc.weight"]),
      },
      build: (p, c) => ({ scores: resnetScores(p, pixelsInput(c), c) }),
      graphs: {
        states: {
          summary: "the feature map before the first stage and after each, for feature extraction",
          build: (p, c) =>
            Object.fromEntries(
              resnetMaps(p, pixelsInput(c), c).map((map, stage) => [
                `block.${stage}`,
                transpose(
                  map,
                  (["batch", "row", "column", "channel"] as const).map((a) => axisOf(map, a)),
                ),
              ]),
            ),
        },
      },
    }),
  );
}

/** The last is the fallback for a config.json of unpublished sizes. */
export const resnetFamily: readonly Model[] = [
  resnet(18, "basic", [2, 2, 2, 2]),
  resnet(34, "basic", [3, 4, 6, 3]),
  resnet(101, "bottleneck", [3, 4, 23, 3]),
  resnet(152, "bottleneck", [3, 8, 36, 3]),
  resnet(50, "bottleneck", [3, 4, 6, 3], true),
];
