/**
 * config.json files of published checkpoints that no record here was written after: which model they are, to the last
 * parameter.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { modelOfFolder } from "../../cli/checkpoint.ts";
import { recordName, sizesInWords } from "../../cli/family-name.ts";
import { ownConfigOf } from "../../cli/own-config.ts";
import { countParameters } from "../../compiler/index.ts";
import { fileOfCodec, trace } from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { inScratch } from "./checkpoint-folder.ts";

const modelOf = (json: object, file = "config.json") =>
  inScratch((at) => {
    writeFileSync(join(at, file), JSON.stringify(json));
    return modelOfFolder(at);
  });

const llama3 = (width: number, depth: number, mlp: number, factor: number, more: object) => ({
  ...{ model_type: "llama", hidden_size: width, num_hidden_layers: depth, intermediate_size: mlp, ...more },
  ...{ num_attention_heads: 32, num_key_value_heads: 8, vocab_size: 128256, rms_norm_eps: 1e-5, rope_theta: 5e5 },
  ...{ max_position_embeddings: 131072, attention_bias: false, mlp_bias: false, hidden_act: "silu" },
  rope_scaling: {
    ...{ rope_type: "llama3", factor, low_freq_factor: 1, high_freq_factor: 4 },
    original_max_position_embeddings: 8192,
  },
});

const clip = (vision: object, text: object, hidden_act: string) => ({
  ...{ model_type: "clip", projection_dim: 768 },
  vision_config: { ...{ hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24 }, ...vision, hidden_act },
  text_config: { ...{ hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 }, ...text, hidden_act },
});

const opt27 = {
  ...{ model_type: "opt", hidden_size: 2560, num_hidden_layers: 32, num_attention_heads: 32, ffn_dim: 10240 },
  ...{ word_embed_proj_dim: 2560, vocab_size: 50304, eos_token_id: 50118 },
};

test.each([
  // meta-llama/Llama-3.1-8B and Llama-3.2-1B, whose model cards say 8,030,261,248 and 1,235,814,400.
  [llama3(4096, 32, 14336, 8, { tie_word_embeddings: false }), "llama", 8_030_261_248],
  [llama3(2048, 16, 8192, 32, { tie_word_embeddings: true, head_dim: 64 }), "llama", 1_235_814_400],
  // openai/clip-vit-large-patch14-336, whose end of text is of the older kind; 427.94 M in OpenCLIP's table.
  [
    clip({ num_attention_heads: 16, image_size: 336, patch_size: 14 }, { eos_token_id: 2 }, "quick_gelu"),
    "clip-vit-l-14-336",
    427_944_193,
  ],
  // The 224 pixels of laion's, with the exact GELU.
  [clip({ num_attention_heads: 16, patch_size: 14 }, {}, "gelu"), "openclip-vit-l-14", 427_616_513],
  // gpt2-medium, and Salesforce/blip2-opt-2.7b with 32 words more than at first.
  [
    { model_type: "gpt2", n_embd: 1024, n_layer: 24, n_head: 16, n_positions: 1024, vocab_size: 50257 },
    "gpt2-medium",
    354_823_168,
  ],
  [{ model_type: "blip-2", text_config: opt27 }, "blip2-opt-2.7b", 3_744_679_936 + 32 * 2560],
])("%j is %s of so many parameters", async (json, name, parameters) => {
  const model = await modelOf(json);
  expect([model.name, countParameters(trace(model)).parameters]).toEqual([name, parameters]);
});

const written = bundledModels.flatMap((model) => {
  const config = model.checkpoints?.config;
  const json = config?.write(model.config);
  return config && json ? [{ model, config, json, file: fileOfCodec(config).name }] : [];
});

test.each(written)("$model.name is known by its $file", async ({ config, json, file }) => {
  const found = await modelOf(json, file);
  expect(config.write(found.config)).toEqual(json);
  const named = bundledModels.find((m) => m.name === found.name)!;
  expect(config.write(named.config)).toEqual(json); // DeiT's and ViT's are alike
});

test.each(written)(
  "other sizes than those of $model.name have the name of no published model",
  async ({ json, file }) => {
    const depths = new Set("num_hidden_layers n_layer depths layers".split(" "));
    const deeper = JSON.parse(JSON.stringify(json), (key, value) =>
      !depths.has(key) ? value : typeof value === "number" ? value + 96 : value.map((n: number) => n + 96),
    );
    const { name } = await modelOf(deeper, file);
    expect(bundledModels.map((m) => m.name)).not.toContain(name);
  },
);

test("a size of gpt2's that is none of the published is not called gpt2", async () => {
  const sizes = { n_embd: 64, n_layer: 3, n_head: 2, n_positions: 32, vocab_size: 100 };
  const model = await modelOf({ model_type: "gpt2", ...sizes });
  expect([model.name, sizesInWords(model)]).toEqual(["gpt2-like", "3 layers, width 64, 2 heads"]);
});

test("settings in heddle's own form are found again, and called after the model only where they are its own", async () => {
  const found = async (settings: object) => (await modelOf({ heddle_model: "vit-22b", ...settings })).name;
  expect([await found({}), await found({ depth: 2 })]).toEqual(["vit-22b", "vit-22b-like"]);
  const small = { image_size: 28, patch_size: 14, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2 };
  const sizes = { hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, use_qformer_text_input: true };
  const qformer = await modelOf({
    model_type: "blip-2",
    vision_config: small,
    qformer_config: { ...sizes, encoder_hidden_size: 32 },
  });
  expect(qformer.name).toBe("blip-2");
  const kept = await modelOf(ownConfigOf(recordName(qformer), qformer.config));
  expect([kept.name, kept.config]).toEqual(["blip2-qformer-like", qformer.config]);
});

const internvl = { model_type: "internvl_chat", downsample_ratio: 0.5, vision_config: {}, ps_version: "v2" };

test.each([
  // Mini-InternVL-Chat-4B-V1-5 and 2B, InternVL2-1B.
  [{ ...internvl, template: "phi3-chat", llm_config: { model_type: "phi3" } }, /"model_type" is "phi3"; only "llama"/],
  [{ ...internvl, template: "Hermes-2", llm_config: { model_type: "qwen2" } }, /"model_type" is "qwen2"; only "llama"/],
  [{ model_type: "siglip", text_config: {}, vision_config: {} }, /"model_type" is "siglip", but must be one of/],
  [{ model_type: "mistral", hidden_size: 4096, sliding_window: 4096 }, /"model_type" is "mistral", but must be one of/],
  // Salesforce/blip2-flan-t5-xl.
  [{ model_type: "blip-2", text_config: { model_type: "t5" } }, /"model_type" is "t5"; only "opt"/],
])("%j is refused by name", async (json, why) => {
  await expect(modelOf(json)).rejects.toThrow(why);
});

test.each([
  ["vit-b-16", { image_size: [224, 196] }],
  ["vit-b-16", { patch_size: [16, 8] }],
  ["vit-b-16", { hidden_act: "quick_gelu" }],
  ["resnet-50", { depths: [3, 4, 6] }],
  ["resnet-50", { hidden_act: "gelu" }],
  ["gpt2", { scale_attn_by_inverse_layer_idx: true }],
  ["dinov2-vit-b-14-registers", { qkv_bias: false }],
  ["llava-1.5-7b", { vision_feature_layer: [-2, -5] }],
  ["vicuna-7b", { partial_rotary_factor: 0.5 }],
])("a config.json like that of %s but for %j is refused by the field", async (name, changed) => {
  const { json } = written.find(({ model }) => model.name === name)!;
  await expect(modelOf({ ...json, ...changed })).rejects.toThrow(`"${Object.keys(changed)[0]!}"`);
});

const vicuna = {
  ...{
    model_type: "llama",
    hidden_size: 4096,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    intermediate_size: 11008,
  },
  ...{ vocab_size: 32000, rms_norm_eps: 1e-5 },
};
const tower = { image_size: 448, patch_size: 14, hidden_size: 3200, num_hidden_layers: 45, num_attention_heads: 25 };
const clipTower = { model_type: "clip_vision_model" };

test.each([
  ["vicuna-7b", 4096, vicuna],
  ["llava-1.5-7b", 4096, { model_type: "llava", vision_config: clipTower, text_config: vicuna }],
  [
    "internvl_chat", // of sizes that no bundled model has
    32768,
    {
      ...{ model_type: "internvl_chat", llm_config: vicuna, vision_config: { ...tower, intermediate_size: 12800 } },
      template: "internlm2-chat",
    },
  ],
])("%s has its checkpoint's limit on texts, and its name", async (name, usual, json) => {
  const limitsOf = async (positions: object) => {
    const text = { ...vicuna, ...positions };
    const parts = {
      ...json,
      ...("text_config" in json && { text_config: text }),
      ...("llm_config" in json && { llm_config: text }),
    };
    const model = await modelOf(json === vicuna ? text : parts);
    const { generate, chat } = model.modes!;
    const templates = typeof chat!.templates === "function" ? chat!.templates(model.config) : chat!.templates;
    const limit = typeof generate!.limit === "function" ? generate!.limit(model.config) : generate!.limit;
    return [model.name, limit, templates[0]!.limit];
  };
  expect(await limitsOf({ max_position_embeddings: 777 })).toEqual([name, 777, 777]);
  expect(await limitsOf({})).toEqual([name, usual, usual]); // of the prompt format
});

test("a model that names its key heads reads a checkpoint without groups", async () => {
  const text = { ...vicuna, num_key_value_heads: 32 };
  for (const name of ["nous-hermes-2-yi-34b", "internlm2-20b"]) {
    const { checkpoints, config } = bundledModels.find((m) => m.name === name)!;
    const model_type = checkpoints!.config!.types.find((type) => name.startsWith(type)) ?? "llama";
    expect(checkpoints!.config!.read({ ...text, model_type, bias: false }, config)).toMatchObject({ keyHeads: 32 });
  }
});
