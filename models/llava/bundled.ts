/** LLaVA-1.5 in both sizes as named models. */
import { defineModel, input, type Model, positive, type SettingRules, whole } from "../../dsl/index.ts";
import {
  bareTemplate,
  decodeStep,
  limitedBy,
  prefill,
  textAxes,
  textLimit,
  tinyText,
  vicunaTemplate,
  wordCopies,
} from "../internvl/index.ts";
import { textSettings } from "../internvl/setting-rules.ts";
import { clipPixels } from "./clip-vision.ts";
import {
  type LlavaConfig,
  languageModel,
  llava,
  llava7b,
  llava13b,
  llavaImageTokens,
  llavaPrefill,
  llavaScores,
} from "./llava.ts";
import { llavaPictures } from "./pictures.ts";
import { llavaCodec } from "./published-config.ts";
import { llavaPretraining, llavaTuning } from "./stages.ts";
import { llavaOriginalRules, llavaParts, llavaRules, llavaRules5 } from "./weights.ts";

const sizes = whole(1, 2 ** 20);
const tower: SettingRules = { width: sizes, depth: whole(1, 1000), heads: sizes, mlp: sizes };
const rules: SettingRules = {
  vision: { ...tower, image: whole(1, 2 ** 14), patch: whole(1, 2 ** 14), epsilon: positive },
  text: textSettings,
  features: whole(-1001, -1),
};

const imageRun = (c: LlavaConfig) => ({ id: c.imageToken, length: llavaImageTokens(c) });

const size = (name: string, language: string, config: LlavaConfig) =>
  defineModel<LlavaConfig>({
    name,
    summary: `LLaVA-1.5: CLIP ViT-L/14's patches at 336 pixels through an MLP to ${language}`,
    config,
    configs: {
      tiny: { vision: { width: 16, depth: 2, heads: 2, mlp: 32, image: 28 }, text: tinyText, imageToken: 260 },
    },
    rules,
    stages: { pretrain: llavaPretraining, finetune: llavaTuning },
    checkpoints: {
      layouts: [llavaRules, llavaRules5, llavaOriginalRules],
      parts: llavaParts,
      config: llavaCodec(name),
      copies: (c) => wordCopies(c.text),
    },
    paper: { source: "Liu et al. 2023, arXiv:2310.03744" },
    preprocessing: llavaPictures,
    modes: {
      chat: { begin: "prefill", step: "decode", templates: (c) => limitedBy(c.text, [vicunaTemplate, bareTemplate]) },
      generate: { step: "decode", limit: (c) => textLimit(c.text, vicunaTemplate) },
    },
    build: (p, c) => {
      const a = textAxes(c.text);
      const ids = input("ids", "i32", [a.batch, a.token]);
      return { logits: llavaScores(p, llava(p, clipPixels(c.vision), ids, c).last, a, c) };
    },
    runs: (c) => ({ ids: imageRun(c) }),
    graphs: {
      prefill: {
        summary: "prefill of a prompt with an image: next-token logits, keys and values",
        build: llavaPrefill,
        runs: (c) => ({ input_ids: imageRun(c) }),
      },
      "text-prefill": {
        summary: "prefill of a prompt without an image: next-token logits, keys and values",
        build: (p, c) => prefill(languageModel(p), c.text),
      },
      decode: {
        summary: "a decoding step with the KV cache: logits of the next tokens, updated keys and values",
        build: (p, c) => decodeStep(languageModel(p), c.text),
      },
    },
  });

export const llavaModels = [
  size("llava-1.5-7b", "Vicuna-7B", llava7b),
  size("llava-1.5-13b", "Vicuna-13B", llava13b),
] as const;

/** All models of the family. */
export const llavaFamily: readonly Model[] = llavaModels.map((model) => model as unknown as Model);
