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
