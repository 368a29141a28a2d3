/** Fine-tuning for segmentation on ADE20K. Chen et al. 2023, arXiv:2312.14238, tables 5, 22 and 23; released configs. */
import { defineStage, div, lt, min, mul, type Schedule, select, sub } from "../../dsl/index.ts";
import type { VisionConfig } from "./internvit.ts";
import { type SegmentationConfig, segmentationLinear, segmentationLoss, segmentationUperNet } from "./segmentation.ts";
import { decaysAsStored, type Recipe } from "./stages.ts";
import { segmentationRules } from "./weights.ts";

/** What is trained beside the heads: nothing, or the encoder too. */
export type SegmentationTuning = "linear" | "head" | "full";

/** A straight line from the peak to 0, while a warm-up from a millionth of it lasts, times that. MMSegmentation's "poly". */
export const polynomial = (peak: number, steps: number, warmup: number): Schedule => {
  const least = 1e-6;
  return (step) => {
    const line = mul(sub(1, div(step, steps)), peak);
    const begun = min(div(step, warmup), 1);
    const rising = sub(1, mul(sub(1, begun), 1 - least));
    return select(lt(step, warmup), mul(line, rising), line);
  };
};

/** The factor of a parameter's rate: blocks by their distance from the last, embeddings one further, heads 1. */
const encoderDecay =
  (c: VisionConfig, decay: number) =>
  (path: string): number => {
    if (!path.startsWith("vision_model.")) return 1;
    const block = /^vision_model\.encoder\.layers\.(\d+)\./.exec(path);
    return decay ** (block ? c.depth - Number(block[1]) : c.depth + 1);
  };

/**
 * ADE20K by tuning: a linear head alone, UperNet alone, or UperNet with the encoder. The encoder has positions of the
 * crop's own grid: those of the weights that it starts from are resized once, when they are read, as in the released code.
 */
export function segmentationTuning(
  tuning: SegmentationTuning,
  c: SegmentationConfig = tuning === "linear" ? segmentationLinear : segmentationUperNet,
): Recipe<SegmentationConfig> {
  const full = tuning === "full";
  const vision: VisionConfig = { ...c.vision, positions: 0, dropPath: full ? 0.4 : 0, dropPathRule: "linear" };
  const config: SegmentationConfig = { ...c, vision, auxiliary: full ? 2 : 1 };
  const heads = tuning === "linear" ? ["decode_head.**"] : ["decode_head.**", "auxiliary_head.**", "backbone.**"];
  const steps = 80_000;
  return {
    config,
    stage: defineStage({
      name: `segmentation-${tuning}`,
      loss: (p) => segmentationLoss(p, config),
      ...(!full && { trainable: heads }),
      optimizer: {
        rate: polynomial(4e-5, steps, 1_500),
        ...(full && { rateScale: encoderDecay(config.vision, 0.95) }),
        decays: decaysAsStored(segmentationRules),
        weightDecay: tuning === "linear" ? 0 : 0.05,
      },
    }),
    batch: 16,
    steps,
    startsFrom: ["stage 1"],
  };
}
