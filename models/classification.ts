/** Shared by image classifiers: the input, the stage `classes`, and its data. */
import {
  add,
  axis,
  axisOf,
  crossEntropy,
  defineStage,
  imageAxes,
  input,
  logsumexp,
  mean,
  mul,
  type Optimizer,
  type Params,
  partOf,
  perRow,
  probability,
  type StageRecipe,
  type StateUpdate,
  scaledWarmUp,
  settled,
  share,
  stageData,
  sub,
  type Tensor,
} from "../dsl/index.ts";

export type Pixels = Tensor<"batch" | "channel" | "row" | "column">;
export type Scores = Tensor<"batch" | "class">;

/** Settings of every image classifier. */
export interface PictureConfig {
  /** Side of the square input, in pixels. */
  readonly image: number;
  readonly classes: number;
}

/** Normalized RGB images [batch, channel, row, column]. */
export function pixelsInput({ image }: Pick<PictureConfig, "image">): Pixels {
  const { channel, row, column } = imageAxes(image);
  return input("pixels", "f32", [axis("batch", "batch"), channel, row, column]);
}

/** Class logits [batch, class] of pixels; running statistics that training updates are appended to `updates`. */
export type Scoring<C> = (p: Params, pixels: Pixels, config: C, updates: StateUpdate[]) => Scores;

/** The size of ImageNet's training set, for epochs. */
export const imagenetPictures = 1_281_167;

/** A stage's published settings, which a run may override. */
export type PublishedClasses = {
  readonly steps: number;
  readonly batch: number;
  readonly rate: number;
  /** The smallest random crop, as a fraction of the image's area, and the probability of a horizontal flip. */
  readonly crop: number;
  readonly flip: number;
  /** The fraction of a target that is spread over all classes. Szegedy et al. 2016, arXiv:1512.00567, section 7. */
  readonly labelSmoothing: number;
};

/** The parameters of a schedule; the warm-up keeps its published fraction of the steps. */
export interface Course {
  readonly rate: number;
  readonly steps: number;
  readonly warmup: number;
}

export interface ClassesStage {
  readonly published: PublishedClasses;
  /** Published warm-up steps; default none. */
  readonly warmup?: number;
  readonly optimizer: (course: Course) => Optimizer;
  /** Trained parameters, by path pattern; default all. */
  readonly trainable?: readonly string[];
  readonly startsFrom?: string;
}

/**
 * Trains with the mean cross-entropy of labelled images: a folder for each class, as in ImageNet. `prepare` makes the
 * stage's configuration.
 */
export const classesStage =
  <C extends PictureConfig>(
    scoring: Scoring<C>,
    of: ClassesStage,
    prepare: (config: C) => C = (config) => config,
  ): StageRecipe<C> =>
  (usual, given) => {
    const config = prepare(usual);
    const { crop, flip, labelSmoothing, ...s } = settled(of.published, given);
    const { warmup, notes } = scaledWarmUp(of.warmup ?? 0, of.published.steps, s.steps);
    return {
      config,
      ...s,
      notes: of.warmup === undefined ? [] : notes,
      settings: { crop, flip, labelSmoothing },
      rules: { crop: partOf, flip: probability, labelSmoothing: share },
      startsFrom: [of.startsFrom ?? "nothing"],
      stage: defineStage({
        name: "classes",
        ...(of.trainable && { trainable: of.trainable }),
        loss: (p) => {
          const updates: StateUpdate[] = [];
          const scores = scoring(p, pixelsInput(config), config, updates);
          return { loss: classesLoss(scores, labelSmoothing), updates };
        },
        optimizer: of.optimizer({ ...s, warmup }),
      }),
      data: stageData<"labels">({
        kind: "labels",
        image: {
          size: config.image,
          fit: "crop",
          augmentation: { ...(crop < 1 && { scale: [crop, 1] as const }), flip },
        },
        classes: config.classes,
        feeds: (rows) => ({ label: perRow(rows.map((row) => row.label)) }),
      }),
      validation: (p) => {
        const scores = scoring(p, pixelsInput(config), config, []);
        return { classified: { scores, label: labelsOf(scores) } };
      },
    };
  };

const labelsOf = (scores: Scores) => input("label", "i32", [axisOf(scores, "batch")]);

/** Cross-entropy with label smoothing. */
function classesLoss(scores: Scores, smoothing: number): Tensor<never> {
  const [rows, classes] = [axisOf(scores, "batch"), axisOf(scores, "class")];
  const own = crossEntropy(scores, labelsOf(scores), classes);
  if (smoothing === 0) return mean(own, rows);
  const spread = sub(logsumexp(scores, classes), mean(scores, classes));
  return mean(add(mul(own, 1 - smoothing), mul(spread, smoothing)), rows);
}
