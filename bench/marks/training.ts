/** A ViT training step with AdamW, from images to loss: in f16 with f32 master weights, and in f32. */
import type { Precision } from "../../compiler/index.ts";
import { type VitConfig, vitStage } from "../model/vit.ts";
import { join, type MarkGroup } from "./mark.ts";
import { halfOptions } from "./precision.ts";
import type { Shapes } from "./shapes.ts";
import { compared, stepFor, trainingSteps } from "./steps.ts";

const configOf = (s: Shapes): VitConfig => ({
  ...{ batch: s.batch, tokens: (s.image / s.patch) ** 2 + 1, width: s.width, heads: s.heads, mlp: 4 * s.width },
  ...{ depth: s.depth, image: s.image, patch: s.patch, classes: s.classes },
});

const names = (s: Shapes) => {
  const what = `ViT step, width ${s.width}, ${s.depth} blocks, batch ${s.batch}`;
  return { f16: `${what}, f16`, f32: `${what}, f32` };
};

export const stepOf = (s: Shapes, precision: Precision) => stepFor(vitStage(configOf(s)), precision);

export const training: MarkGroup = {
  name: "train",
  marks: (s) => ({
    [names(s).f16]: { unit: "ms", first: 130, goal: 70 },
    [names(s).f32]: { unit: "ms", first: 520, goal: 450 },
  }),
  measure: async (context, record) => {
    const { shapes } = context;
    const half = halfOptions(context);
    for (const precision of ["f16", "f32"] as const) {
      const isHalf = precision === "f16";
      const config = configOf(shapes);
      const { sample, milliseconds, weights } = await trainingSteps(context, vitStage(config), config, precision);
      record(names(shapes)[precision], {
        value: milliseconds,
        sample,
        tolerance: isHalf ? 2e-2 : 1e-3,
        peer: { run: "train", precision, weights, steps: compared, ...config },
        ...join(isHalf ? half.note : undefined),
      });
    }
  },
};
