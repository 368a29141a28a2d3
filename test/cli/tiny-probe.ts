/** A small InternViT under a linear probe for three classes. */
import { defineModel, type Model } from "../../dsl/index.ts";
import { bundledModels, type ProbeConfig } from "../../models/index.ts";
import tiny from "./tiny-model.ts";

const published = bundledModels.find((m) => m.name === "internvit-6b-probe") as unknown as Model<ProbeConfig>;

export default defineModel<ProbeConfig>({
  ...published,
  name: "tiny-probe",
  config: { ...published.config, vision: tiny.config.vision, classes: 3, embed: 8, poolingHeads: 2 },
});
