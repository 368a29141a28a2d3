/** LLaVA-1.5's preprocessing: images padded to a square with their mean colour, with CLIP's mean and std. */
import type { ImagePlan, Preprocessing } from "../../dsl/index.ts";

export const clipNormalization = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const satisfies ImagePlan["normalization"];

export const llavaPictures: Preprocessing = { ...clipNormalization, fit: { chat: "pad" } };
