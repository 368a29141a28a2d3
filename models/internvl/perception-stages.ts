/**
 * Fine-tuning for segmentation on ADE20K. Chen et al. 2023, arXiv:2312.14238, tables 5, 22 and 23; released configs.
 */
import {
  add,
  cosine,
  defineStage,
  div,
  lt,
  min,
  mul,
  partOf,
  probability,
  type Recipe,
  type Schedule,
  type SettingRule,
  type StageRecipe,
  type StageSettings,
  scaledWarmUp,
  select,
  settled,
  sgd,
  share,
  sub,
} from "../../dsl/index.ts";
import { pixelsInput, type VisionConfig } from "./internvit.ts";
import { labelInput, type ProbeConfig, probe, probeLoss } from "./probes.ts";
import {
  classifiedPlaces,
  type SegmentationConfig,
  segmentationLinear,
  segmentationLoss,
  segmentationUperNet,
} from "./segmentation.ts";
import { probeData, segmentationData } from "./stage-data.ts";
import { decaysAsStored, recipeOf } from "./stages.ts";
import { segmentationRules } from "./weights.ts";

/** What is trained: a linear head or UperNet alone, or with the encoder. */
export type SegmentationTuning = "linear" | "few-shot" | "head" | "full";

/** A fraction of the images, written as "1/16". */
const parts: SettingRule = {
  needed: "1 or a fraction such as 1/16",
  accepts: (value) => typeof value === "string" && /^1(\/[1-9]\d*)?$/.test(value),
};

const partNamed = (text: string): number => 1 / Number(text.split("/")[1] ?? 1);

/**
 * Linear decay from the peak to 0, multiplied during warm-up by a linear ramp from a millionth. MMSegmentation's
 * "poly".
 */
export const polynomial = (peak: number, steps: number, warmup: number): Schedule => {
  const least = 1e-6;
  return (step) => {
    const line = mul(sub(steps, step), peak / steps);
    const begun = min(div(step, warmup), 1);
    const rising = add(mul(begun, 1 - least), least); // not 1 − (1 − begun)(1 − least), which cancels in f32 at first
    return select(lt(step, warmup), mul(line, rising), line);
  };
};

/** Layer-wise decay of a parameter's rate: blocks by their distance from the last, embeddings one further, heads 1. */
const encoderDecay =
  (c: VisionConfig, decay: number) =>
  (path: string): number => {
    if (!path.startsWith("vision_model.")) return 1;
    const block = /^vision_model\.encoder\.layers\.(\d+)\./.exec(path);
    return decay ** (block ? c.depth - Number(block[1]) : c.depth + 1);
  };

/**
 * Fine-tuning on ADE20K: a linear head or UperNet, alone or with the encoder ("few-shot", with a linear head on the
 * last block, is published for fractions of the images: `share` takes that fraction of the images and of the steps).
 * The encoder has positions of the crop's own grid: those of the initial weights are resized once at loading, as in the
 * released code.
 */
export function segmentationTuning(
  tuning: SegmentationTuning,
  c: SegmentationConfig = tuning === "linear" || tuning === "few-shot" ? segmentationLinear : segmentationUperNet,
  given?: StageSettings,
): Recipe<SegmentationConfig> {
  const linear = tuning === "linear" || tuning === "few-shot";
  const whole = tuning === "few-shot" || tuning === "full";
  const taken = String(given?.share ?? "1");
  const portion = partNamed(taken);
  const published = {
    ...{ steps: Math.round(80_000 * portion), batch: 16, rate: 4e-5 },
    ...{ dropPath: whole ? 0.4 : 0, rateDecay: whole ? 0.95 : 1, crop: 0.25, flip: 0.5, fromOne: true },
  };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(1_500, 80_000, s.steps);
  const vision: VisionConfig = { ...c.vision, positions: 0, dropPath: s.dropPath, dropPathRule: "linear" };
  const blocks = tuning === "few-shot" ? [vision.depth] : c.blocks;
  const config: SegmentationConfig = { ...c, vision, blocks, auxiliary: tuning === "full" ? 2 : 1 };
  const heads = linear ? ["decode_head.**"] : ["decode_head.**", "auxiliary_head.**", "backbone.**"];
  return {
    ...recipeOf(tuning === "few-shot" ? { ...s, share: taken } : s, notes),
    rules: { dropPath: share, rateDecay: partOf, crop: partOf, flip: probability, share: parts },
    config,
    stage: defineStage({
      name: `segmentation-${tuning}`,
      loss: (p) => segmentationLoss(p, config),
      ...(!whole && { trainable: heads }),
      optimizer: {
        rate: polynomial(s.rate, s.steps, warmup),
        ...(whole && { rateScale: encoderDecay(config.vision, s.rateDecay) }),
        decays: decaysAsStored(segmentationRules),
        weightDecay: tuning === "linear" ? 0 : 0.05,
      },
    }),
    data: { ...segmentationData(config, s), ...(portion < 1 && { filters: [`share=${taken}`] }) },
    validation: (p) => ({ classified: classifiedPlaces(p, config) }),
    startsFrom: ["stage 1"],
  };
}

/** What a probe trains; the encoder is frozen. */
const probeHeads: Readonly<Record<string, readonly string[]>> = {
  concat: ["norm.**", "head.**"],
  pooling: ["norm.**", "head.**", "clip_projector.**"],
};

/**
 * Probes on ImageNet: 10 epochs of 1.28 M images by SGD with Nesterov momentum, one of them warm-up. Section 4.2; table
 * 4.
 */
export const probeTuning: StageRecipe<ProbeConfig> = (config, given) => {
  const epoch = Math.ceil(1_281_167 / 1024);
  const published = { ...{ steps: 10 * epoch, batch: 1024, rate: 0.2 }, ...{ crop: 0.08, flip: 0.5 } };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(epoch, published.steps, s.steps);
  return {
    ...recipeOf(s, notes),
    rules: { crop: partOf, flip: probability },
    config,
    stage: defineStage({
      name: "probe",
      loss: (p) => probeLoss(p, config),
      trainable: probeHeads[config.features] ?? ["norm.**", "head.**"],
      optimizer: {
        rule: sgd({ momentum: 0.9, nesterov: true }),
        rate: cosine({ peak: s.rate, steps: s.steps, warmup }),
        weightDecay: 0,
      },
    }),
    data: probeData(config, s),
    validation: (p) => ({
      classified: { scores: probe(p, pixelsInput(config.vision), config).scores, label: labelInput() },
    }),
    startsFrom: ["stage 1"],
  };
};
