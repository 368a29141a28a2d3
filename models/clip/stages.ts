/**
 * CLIP's contrastive training. Radford et al. 2021, section 2.5 and tables 18 to 20. Crops are OpenCLIP's: the paper
 * gives no numbers for its random square of a resized image.
 */
import {
  type Config,
  cosine,
  defineStage,
  type ImagePlan,
  type Optimizer,
  partOf,
  probability,
  type StageRecipe,
  scaledWarmUp,
  settled,
  stageData,
  type TextCodec,
  textRows,
} from "../../dsl/index.ts";
import { foundBy, type PictureTower, pairLoss, type TwoTowers } from "./clip.ts";
import type { ClipTextConfig } from "./text.ts";

/** The published training settings of a model. */
export interface Training {
  readonly batch: number;
  readonly rate: number;
  /** Samples seen, counting repeats. */
  readonly samples: number;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** The fraction of patches kept in training, of image towers that can drop some: vision transformers. */
  readonly keep?: number;
  /** Optimizer settings by configuration, if not unclipped AdamW at one rate. */
  readonly optimizer?: (config: Config) => Pick<Optimizer, "rule" | "clip" | "rateScale">;
}

/** OpenAI's: 32 epochs of 400 million pairs. */
export const clipTraining = (rate: number): Training => ({
  ...{ batch: 32_768, rate, samples: 32 * 400e6, warmup: 2_000 },
  ...{ weightDecay: 0.2, beta2: 0.98, epsilon: 1e-6, keep: 1 },
});

/** As in OpenCLIP, weight decay applies to all but gains, biases, the temperature and the class token. */
const decays = (path: string): boolean => !/(^|[._])(norm\w*|bn\d|bias|class_embedding|logit_scale)(\.|$)/.test(path);

type Towers<V extends { readonly image: number }> = Config & TwoTowers<V>;

/** A stage's name, and what it starts from. */
export interface Phase {
  readonly name: string;
  readonly startsFrom: string;
}

/** Trains two towers from scratch, or from the weights given by `--from`. */
export const contrastive =
  <V extends { readonly image: number }, C extends Towers<V>>(
    tower: PictureTower<V>,
    training: Training,
    { name, startsFrom }: Phase = { name: "contrastive", startsFrom: "nothing" },
  ): StageRecipe<C> =>
  (c, given, text) => {
    const { batch, rate, weightDecay, beta2, epsilon } = training;
    const allSteps = Math.ceil(training.samples / batch);
    const published = { steps: allSteps, batch, rate, crop: 0.9, flip: 0 };
    const s = settled(training.keep === undefined ? published : { ...published, keep: training.keep }, given);
    const settings: { readonly crop: number; readonly flip: number; readonly keep?: number } = s;
    const { warmup, notes } = scaledWarmUp(training.warmup, allSteps, s.steps);
    const config: C = { ...c, text: endingAs(c.text, text) };
    const besides = training.optimizer?.(config) ?? {};
    return {
      config,
      stage: defineStage({
        name,
        loss: (p) => pairLoss(p, config, tower, settings.keep),
        optimizer: {
          rate: cosine({ peak: s.rate, steps: s.steps, warmup }),
          ...(besides.rule ? {} : { beta1: 0.9, beta2, epsilon }),
          ...{ weightDecay, decays, ...besides },
        },
      }),
      ...{ steps: s.steps, batch: s.batch, rate: s.rate },
      settings: { crop: s.crop, flip: s.flip, ...(settings.keep !== undefined && { keep: settings.keep }) },
      rules: { crop: partOf, flip: probability, keep: partOf },
      notes,
      startsFrom: [startsFrom],
      data: pairs(config, s),
      validation: foundBy(config, tower),
    };
  };

/** Takes EOS from the run's tokenizer. */
const endingAs = (c: ClipTextConfig, text: TextCodec | undefined): ClipTextConfig =>
  text === undefined || (c.eos === 0 && text.eos === text.vocabularySize - 1) ? c : { ...c, eos: text.eos };

const pairs = (
  c: TwoTowers<{ readonly image: number }>,
  { crop, flip }: { readonly crop: number; readonly flip: number },
) => {
  const image: ImagePlan = {
    size: c.vision.image,
    fit: "crop",
    augmentation: { ...(crop < 1 && { scale: [crop, 1] as const }), flip },
  };
  return stageData<"pairs">({
    kind: "pairs",
    image,
    vocabulary: c.text.vocab,
    feeds: (rows, { text }) => ({
      ids: textRows(
        text,
        rows.map((row) => row.text),
        c.text.context,
      ),
    }),
  });
};
