/** The stage `classes` of ViT, DeiT and DINOv2, each as published. */
import { cosine, sgd } from "../../dsl/index.ts";
import { type ClassesStage, classesStage, imagenetPictures } from "../classification.ts";
import { type VitConfig, vitScores } from "./vit.ts";

const epochs = (count: number, batch: number): number => count * Math.ceil(imagenetPictures / batch);

/**
 * ViT: fine-tuning from pre-trained weights by SGD with momentum, without decay, gradients clipped to a norm of 1.
 * Dosovitskiy et al. 2021, appendix B.1.1 and table 4, with the third of its four rates.
 */
const fineTuning: ClassesStage = {
  published: { steps: 20_000, batch: 512, rate: 0.03, crop: 0.05, flip: 0.5, labelSmoothing: 0 },
  warmup: 500,
  startsFrom: "a pre-trained ViT",
  optimizer: ({ rate, steps, warmup }) => ({
    rule: sgd({ momentum: 0.9 }),
    rate: cosine({ peak: rate, steps, warmup }),
    weightDecay: 0,
    clip: 1,
  }),
};

/** DeiT: 300 epochs of AdamW from scratch, 5 of them warm-up. Touvron et al. 2021, arXiv:2012.12877, table 9. */
const fromNothing: ClassesStage = {
  published: { steps: epochs(300, 1024), batch: 1024, rate: 1e-3, crop: 0.08, flip: 0.5, labelSmoothing: 0.1 },
  warmup: epochs(5, 1024),
  optimizer: ({ rate, steps, warmup }) => ({
    rate: cosine({ peak: rate, steps, warmup, floor: 1e-5 }),
    weightDecay: 0.05,
  }),
};

/**
 * DINOv2: its linear classifier on a frozen encoder, by SGD with momentum. Oquab et al. 2023, arXiv:2304.07193,
 * appendix B.3, and the released script; the rate is from the middle of those it tries.
 */
const probe: ClassesStage = {
  published: { steps: 12_500, batch: 1024, rate: 0.02, crop: 0.08, flip: 0.5, labelSmoothing: 0 },
  startsFrom: "a pre-trained DINOv2",
  trainable: ["head.**"],
  optimizer: ({ rate, steps }) => ({
    rule: sgd({ momentum: 0.9 }),
    rate: cosine({ peak: rate, steps }),
    weightDecay: 0,
  }),
};

/** Positions of the image's own grid: those of the initial weights are interpolated once at loading. */
const ofOwnGrid = (c: VitConfig): VitConfig => ({ ...c, positions: 0 });

export const vitClasses = classesStage<VitConfig>(vitScores, fineTuning, ofOwnGrid);
export const deitClasses = classesStage<VitConfig>(vitScores, fromNothing, ofOwnGrid);

/** On a frozen encoder, whose positions keep their grid. */
export const dinov2Classes = classesStage<VitConfig>(vitScores, probe, (c) => ({
  ...c,
  classes: c.classes === 0 ? 1000 : c.classes,
}));
