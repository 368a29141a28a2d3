/** What stages of families have of their papers and released scripts, setting by setting. */
import { expect, test } from "vitest";
import { bundledModels } from "../../models/index.ts";

const recipeOf = (name: string, stage: string) => {
  const { stages, config } = bundledModels.find((m) => m.name === name)!;
  return stages![stage]!(config);
};

test.each([
  // scripts/v1_5/pretrain.sh and finetune.sh over 558,128 and 665,298 samples; TrainingArguments' max_grad_norm.
  ["llava-1.5-7b", "pretrain", { batch: 256, rate: 1e-3, steps: 2181 }, { weightDecay: 0, clip: 1 }],
  ["llava-1.5-7b", "finetune", { batch: 128, rate: 2e-5, steps: 5198 }, { weightDecay: 0, clip: 1 }],
  ["internvl-chat-vicuna-7b", "3.1", { batch: 256, rate: 1e-3 }, { weightDecay: 0, clip: 1 }],
  ["internvl-chat-vicuna-7b", "3.2", { batch: 128, rate: 2e-5 }, { weightDecay: 0, clip: 1 }],
  ["internvl-g", "retrieval", { batch: 1024, rate: 1e-6, steps: 1417 }, { weightDecay: 0.05, clip: 1 }],
  ["clip-vit-l-14", "contrastive", { batch: 32_768, rate: 4e-4 }, { weightDecay: 0.2, beta2: 0.98, epsilon: 1e-6 }],
  ["clip-rn50", "contrastive", { batch: 32_768, rate: 5e-4 }, { weightDecay: 0.2, beta2: 0.999, epsilon: 1e-8 }],
  // Weights of LAION-2B: trained_models_info.csv of the paper's repository; bigG's are of LAION's report.
  ["openclip-vit-l-14", "contrastive", { batch: 86_016, rate: 1e-3, steps: 372_024 }, { beta2: 0.98, epsilon: 1e-6 }],
  [
    "openclip-vit-h-14",
    "contrastive",
    { batch: 79_104, rate: 5e-4, steps: 438_985 },
    { weightDecay: 0.2, beta2: 0.98 },
  ],
  ["openclip-vit-g-14", "contrastive", { batch: 64_000, rate: 5e-4, steps: 190_753 }, { weightDecay: 0.2 }],
  ["openclip-vit-bigg-14", "contrastive", { batch: 160_256, rate: 2e-3, settings: { keep: 0.5 } }, { beta2: 0.95 }],
  ["openclip-vit-bigg-14", "unmasked", { rate: 5.5e-5, steps: 24_961, settings: { keep: 1 } }, { beta2: 0.95 }],
  // The scripts in the README of EVA-CLIP.
  ["eva02-clip-b-16", "contrastive", { rate: 2e-4, steps: 61_036, settings: { keep: 1 } }, { clip: 5 }],
  ["eva02-clip-e-14", "contrastive", { batch: 115_200, rate: 4e-4, settings: { keep: 0.5 } }, { clip: 5 }],
  ["eva02-clip-l-14", "contrastive", { batch: 131_072, rate: 4e-4, steps: 30_518 }, { weightDecay: 0.05, clip: 5 }],
  ["blip2-qformer", "1", { batch: 1680, rate: 1e-4, steps: 250_000 }, { weightDecay: 0.05, beta2: 0.98 }],
  ["viclip-l-14", "video-text", { rate: 4e-4 }, { weightDecay: 0.2, beta1: 0.9, beta2: 0.98 }],
  ["deit-b-16", "classes", { batch: 1024, rate: 1e-3 }, { weightDecay: 0.05 }],
  ["vit-b-16", "classes", { batch: 512, rate: 0.03, steps: 20_000 }, { weightDecay: 0, clip: 1 }],
] as const)("%s, stage %s", (name, stage, settings, optimizer) => {
  const recipe = recipeOf(name, stage);
  expect(recipe).toMatchObject(settings);
  expect(recipe.stage.optimizer).toMatchObject(optimizer);
  if (!("clip" in optimizer)) expect(recipe.stage.optimizer.clip).toBeUndefined();
});

test("EVA-CLIP's towers learn by LAMB, each at its rate and slower towards its beginning", () => {
  const { optimizer } = recipeOf("eva02-clip-e-14", "contrastive").stage;
  expect(optimizer.rule?.name).toBe("lamb");
  const rate = (path: string) => optimizer.rateScale!(path);
  expect(rate("vision.blocks.63.attn.q.weight")).toBeCloseTo(0.9);
  expect(rate("vision.blocks.0.attn.q.weight")).toBeCloseTo(0.9 ** 64);
  expect(rate("vision.patches.weight")).toBeCloseTo(0.9 ** 65);
  expect([rate("vision.projection.weight"), rate("text.projection.weight")]).toEqual([1, 0.1]);
  expect(rate("text.blocks.23.mlp.fc1.weight")).toBeCloseTo(0.1 * 0.75);
  expect(rate("text.tokens.weight")).toBeCloseTo(0.1 * 0.75 ** 25);
  expect(rate("logit_scale")).toBe(1.25); // 5e-4 over 4e-4
});

test("a tower without patches drops none, and a second phase comes after the first", () => {
  expect(recipeOf("clip-rn50", "contrastive").settings).toEqual({ crop: 0.9, flip: 0 });
  const { startsFrom, stage } = recipeOf("openclip-vit-bigg-14", "unmasked");
  expect([startsFrom, stage.name]).toEqual([["contrastive"], "unmasked"]);
});
