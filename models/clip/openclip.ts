/**
 * How OpenCLIP's weights of LAION-2B were trained. Batches are local batches times GPUs, and samples are epochs times
 * samples of one, of the table of trained models of Cherti et al. 2022, arXiv:2212.07143
 * (LAION-AI/scaling-laws-openclip, trained_models_info.csv). β, ε and weight decay, which the table does not have, are
 * OpenCLIP's defaults for vision transformers.
 */
import type { Training } from "./stages.ts";

const usual = { weightDecay: 0.2, beta2: 0.98, epsilon: 1e-6, keep: 1 };

/** An epoch of the runs of B/32, H/14 and g/14, which they saved their weights after. */
const epoch = 135_646_078;

/** By profile, with the tag of the weights. */
export const openclipTraining = {
  /** laion2b_s34b_b79k */
  "vit-b-32": { ...usual, batch: 824 * 96, samples: 256 * epoch, rate: 1e-3, warmup: 2_000 },
  /** laion2b_s34b_b88k */
  "vit-b-16": { ...usual, batch: 344 * 256, samples: 171 * 200_092_953, rate: 1e-3, warmup: 10_000 },
  /** laion2b_s32b_b82k: the batch of the last 18 billion samples; 79k before. */
  "vit-l-14": { ...usual, batch: 384 * 224, samples: 160 * 200e6, rate: 1e-3, warmup: 10_000 },
  /** laion2b_s32b_b79k */
  "vit-h-14": { ...usual, batch: 824 * 96, samples: 256 * epoch, rate: 5e-4, warmup: 2_000 },
  /** laion2b_s12b_b42k: the batch of the last 4 billion samples; half of it before. */
  "vit-g-14": { ...usual, batch: 800 * 80, samples: 90 * epoch, rate: 5e-4, warmup: 2_000 },
  /**
   * laion2b_s39b_b160k, phase 1: half of the patches, more warm-up, a smaller β2. Wortsman 2023,
   * laion.ai/blog/giant-openclip; the batch is that of 512 GPUs.
   */
  "vit-bigg-14": { ...usual, batch: 512 * 313, samples: 32e9, rate: 2e-3, warmup: 13_000, beta2: 0.95, keep: 0.5 },
} satisfies Readonly<Record<string, Training>>;

const bigg = openclipTraining["vit-bigg-14"];

/**
 * Phase 2 of bigG: all patches. Of the three runs whose weights were averaged, the second, which has a schedule of its
 * own: a rate of 5.5e-5, 4 billion samples, 200 million of warm-up.
 */
export const unmaskedTraining: Training = {
  ...bigg,
  ...{ samples: 4e9, rate: 5.5e-5, warmup: Math.round(200e6 / bigg.batch), keep: 1 },
};
