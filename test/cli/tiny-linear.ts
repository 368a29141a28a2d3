/** A small InternViT with a linear head for three classes of places. */
import { defineModel, type Model } from "../../dsl/index.ts";
import { bundledModels, type SegmentationConfig } from "../../models/index.ts";
import tiny from "./tiny-model.ts";

const published = bundledModels.find(
  (m) => m.name === "internvit-6b-segmentation",
) as unknown as Model<SegmentationConfig>;

export default defineModel<SegmentationConfig>({
  ...published,
  name: "tiny-linear",
  config: { ...published.config, vision: tiny.config.vision, classes: 3, blocks: [2] },
});
