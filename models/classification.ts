/** What families that tell the classes of a picture apart have in common: the input, the stage `classes`, what it is fed. */
import {
  add,
  axis,
  axisOf,
  type Config,
  crossEntropy,
  defineStage,
  imageAxes,
  input,
  logsumexp,
  type Model,
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

/** Settings of every such model. */
export interface PictureConfig {
  /** Pixels of the square input. */
  readonly image: number;
  readonly classes: number;
}

/** Normalized RGB pictures [batch, channel, row, column]. */
export function pixelsInput({ image }: Pick<PictureConfig, "image">): Pixels {
  const { channel, row, column } = imageAxes(image);
  return input("pixels", "f32", [axis("batch", "batch"), channel, row, column]);
}

/** Scores [batch, class] of pixels; running statistics that a training step keeps are put among the updates. */
export type Scoring<C> = (p: Params, pixels: Pixels, config: C, updates: StateUpdate[]) => Scores;

/** A model among others, whatever its settings. */
export const listed = <C extends Config>(model: Model<C>): Model => model as unknown as Model;

/** Pictures of ImageNet's training set, of which an epoch is made. */
export const imagenetPictures = 1_281_167;

/** A stage as it is published; a run may say each otherwise. */
export type PublishedClasses = {
  readonly steps: number;
  readonly batch: number;
  readonly rate: number;
  /** The least part of a picture's area that a view covers, and the probability that it is mirrored. */
  readonly crop: number;
  readonly flip: number;
  /** What part of a target is spread over all classes. Szegedy et al. 2016, arXiv:1512.00567, section 7. */
  readonly labelSmoothing: number;
};

/** What a schedule is made of; the warm-up is as large a part of the steps as was published. */
export interface Course {
  readonly rate: number;
  readonly steps: number;
  readonly warmup: number;
}

export interface ClassesStage {
  readonly published: PublishedClasses;
  /** Published steps of warm-up; default none. */
  readonly warmup?: number;
  readonly optimizer: (course: Course) => Optimizer;
  /** What is learned, by path pattern; default everything. */
  readonly trainable?: readonly string[];
  readonly startsFrom?: string;
}

/** Mean cross-entropy of labelled pictures: folders of classes, as ImageNet has them. `prepare` makes the stage's configuration. */
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

/** Of targets that are a class's own but for a part, which all classes share. */
function classesLoss(scores: Scores, smoothing: number): Tensor<never> {
  const [rows, classes] = [axisOf(scores, "batch"), axisOf(scores, "class")];
  const own = crossEntropy(scores, labelsOf(scores), classes);
  if (smoothing === 0) return mean(own, rows);
  const spread = sub(logsumexp(scores, classes), mean(scores, classes));
  return mean(add(mul(own, 1 - smoothing), mul(spread, smoothing)), rows);
}
