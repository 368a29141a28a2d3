/** The published sizes of the family as named models, each with its checkpoint layout. */
import type { Model } from "../../dsl/index.ts";
import { patches, queries } from "./bundled/chat.ts";
import { internvlC } from "./bundled/contrastive.ts";
import { internvitModels } from "./bundled/encoders.ts";
import { internvlG } from "./bundled/generative.ts";
import { languageModels } from "./bundled/language-models.ts";
import { probeModel, segmenters } from "./bundled/perception.ts";
import { qllamaModel } from "./bundled/qllama.ts";
import { internlm7b, vicuna7b, vicuna13b } from "./chat.ts";

export { internvlC } from "./bundled/contrastive.ts";
export { internvitModels } from "./bundled/encoders.ts";
export { internvlG } from "./bundled/generative.ts";
export type { QllamaModelConfig } from "./bundled/qllama.ts";

import { listed } from "../listed.ts";

/** All models of the family. */
export const internvlFamily: readonly Model[] = [
  ...internvitModels.map(listed),
  listed(qllamaModel),
  listed(internvlC),
  listed(internvlG),
  patches("vicuna-7b", "Vicuna-7B", vicuna7b),
  queries("vicuna-7b", "Vicuna-7B", vicuna7b),
  patches("vicuna-13b", "Vicuna-13B", vicuna13b),
  queries("vicuna-13b", "Vicuna-13B", vicuna13b),
  patches("internlm-7b", "InternLM-7B", internlm7b),
  ...languageModels.map(listed),
  listed(probeModel),
  ...segmenters.map(listed),
];
