import { describe, expect, test } from "vitest";
import {
  countMacs,
  countParameters,
  type Graph,
  graphSymbols,
  type Node,
  nodesOf,
  symbol,
} from "../../compiler/index.ts";
import { checkpointLayout, trace, trainingStep } from "../../dsl/index.ts";
import {
  bundledModels,
  causalRules,
  chatConfig,
  chatQueriesConfig,
  decaysAsStored,
  generativeRules,
  internlm7b,
  internvit6b,
  internvlCConfig,
  internvlFamily,
  internvlGConfig,
  isText,
  layerwiseRate,
  patchSteps,
  qllama8b,
  querySteps,
  readChatConfig,
  readGenerativeConfig,
  readPublishedConfig,
  readTextConfig,
  readVisionConfig,
  retrievalTuning,
  segmentationTuning,
  stageOne,
  stageOneFull,
  stageTwo,
  vicuna7b,
  vicuna13b,
  visionRules,
  withPublishedSizes,
  writeGenerativeConfig,
  writePublishedConfig,
  writeTextConfig,
  writeVisionConfig,
} from "../../models/index.ts";

const find = (name: string) => bundledModels.find((m) => m.name === name)!;
/** Each model is traced once for all tests. */
const traced = new Map<string, Graph>();
function graphOf(name: string): Graph {
  const graph = traced.get(name) ?? trace(find(name));
  traced.set(name, graph);
  return graph;
}
const elements = (nodes: readonly Node[]) =>
  nodes.reduce((n, x) => n + x.type.axes.reduce((k, a) => k * (a.size as number), 1), 0);

describe("the published models", () => {
  test.each([
    ["internvit-6b", 628, 5_902_793_600],
    ["internvit-6b-45", 589, 5_534_038_400],
    ["qllama-8b", 388, 7_842_306_048],
    ["vicuna-7b", 291, 6_738_415_616],
    ["vicuna-13b", 363, 13_015_864_320],
    ["internlm-7b", 419, 7_321_948_160],
    ["internvit-6b-probe", 628 + 4, 5_902_793_600 + 6_413_800],
    ["internvl-c", 934, 12_620_029_697],
    ["internvl-g", 1048, 13_834_975_747],
    // The blocks after the one that the chat reads are not there, nor is what path B leaves out of QLLaMA.
    ["internvl-chat-vicuna-7b", 589 + 291 + 4, 5_534_038_400 + 6_738_415_616 + 29_892_608],
    ["internvl-chat-vicuna-13b", 589 + 363 + 4, 5_534_038_400 + 13_015_864_320 + 42_608_640],
    ["internvl-chat-internlm-7b", 589 + 291 + 128 + 4, 5_534_038_400 + 7_321_948_160 + 29_892_608],
    [
      "internvl-chat-vicuna-7b-qllama",
      628 + 291 + 8 + 386,
      5_902_793_600 + 6_738_415_616 + 63_455_232 + 7_842_306_048 - 2 * 49_954 * 4096,
    ],
    [
      "internvl-chat-vicuna-13b-qllama",
      628 + 363 + 8 + 386,
      5_902_793_600 + 13_015_864_320 + 89_804_800 + 7_842_306_048 - 2 * 49_954 * 4096,
    ],
  ])("%s has %i tensors and %i parameters", (name, tensors, parameters) => {
    const found = countParameters(graphOf(name));
    expect([found.tensors, found.parameters]).toEqual([tensors, parameters]);
  });

  test("have names that differ, and a place in a checkpoint for every parameter", () => {
    expect(new Set(bundledModels.map((m) => m.name)).size).toBe(bundledModels.length);
    for (const { name, checkpoints } of internvlFamily) {
      const published = checkpointLayout(graphOf(name), checkpoints!.layouts[0]!);
      const places = published.map(({ name: tensor, shared = [] }) => JSON.stringify([tensor, shared]));
      expect(new Set(places).size).toBe(published.length);
    }
  });

  test("have the shapes of InternViT-6B-224px", () => {
    const shapes = new Map(checkpointLayout(graphOf("internvit-6b"), visionRules).map((t) => [t.name, t.shape]));
    expect(shapes.get("embeddings.class_embedding")).toEqual([1, 1, 3200]);
    expect(shapes.get("embeddings.position_embedding")).toEqual([1, 257, 3200]);
    expect(shapes.get("embeddings.patch_embedding.weight")).toEqual([3200, 3, 14, 14]);
    expect(shapes.get("encoder.layers.47.attn.qkv.weight")).toEqual([9600, 3200]);
    expect(shapes.get("encoder.layers.0.attn.k_norm.weight")).toEqual([3200]);
    expect(shapes.get("encoder.layers.9.mlp.fc2.weight")).toEqual([3200, 12800]);
    expect(shapes.get("encoder.layers.9.ls2")).toEqual([3200]);
  });

  test("have the shapes of InternVL-14B-224px", () => {
    const tensors = checkpointLayout(graphOf("internvl-g"), generativeRules);
    const shapes = new Map(tensors.map((t) => [t.name, t.shape]));
    expect(tensors.reduce((n, t) => n + t.shape.reduce((k, s) => k * s, 1), 0)).toBe(13_834_975_747);
    expect(shapes.get("query_tokens")).toEqual([1, 96, 4096]);
    expect(shapes.get("text_projection")).toEqual([4096, 768]);
    expect(shapes.get("logit_scale")).toEqual([]);
    expect(shapes.get("clip_projector.cross_attn.q.weight")).toEqual([3200, 3200]);
    expect(shapes.get("clip_projector2.cross_attn.v_bias")).toEqual([4096]);
    expect(shapes.get("clip_projector2.cross_attn.proj.weight")).toEqual([768, 4096]);
    expect(shapes.get("qllama.lm_head.weight")).toEqual([49954, 4096]);
    expect(shapes.get("qllama.model.layers.30.cross_attn.k_proj.weight")).toEqual([4096, 3200]);
    expect(shapes.has("qllama.model.layers.31.cross_attn.k_proj.weight")).toBe(false);
    expect(shapes.get("qllama.model.layers.1.mlp.down_proj.weight")).toEqual([4096, 11008]);
    expect(shapes.get("itm_head.weight")).toEqual([2, 4096]);
  });
});

describe("the published stages", () => {
  test.each([
    ["stage 1 at 224 pixels", () => stageOneFull(), 12_620_029_697, 3_052],
    ["stage 2", () => stageTwo(), 1_010_334_467, 80_000],
    ["stage 3 path A", () => patchSteps[1]!(chatConfig(vicuna7b)), 29_892_608 + 6_738_415_616, 5_196],
    ["stage 3 path B", () => querySteps[0]!(chatQueriesConfig(vicuna7b)), 63_455_232, 7_793],
    ["stage 3 path B, 13B", () => querySteps[0]!(chatQueriesConfig(vicuna13b)), 89_804_800, 7_793],
  ])("%s trains what it should", (_, recipe, parameters, steps) => {
    const found = recipe();
    expect(elements(trainingStep(found.stage).trained)).toBe(parameters);
    expect(found.steps).toBe(steps);
  });

  test("begin stage 1 at 196 pixels with half of the patches", () => {
    const { config, steps } = stageOne();
    expect([config.vision.image, config.vision.dropPath, steps]).toEqual([196, 0.2, 171_948]);
    const { config: small, stage } = stageOne(tiny());
    const step = trainingStep(stage).graph;
    expect(small.vision.image).toBe(196);
    const keep = nodesOf(step).find((n) => n.op === "random" && String(n.attrs.name).endsWith("keep"));
    expect(keep?.type.axes.map((a) => a.size)).toEqual([symbol("batch"), 196]);
  });

  test.each([
    // 1297 positions at 504 pixels, 257 at 224.
    ["linear", 486_550, 5_534_038_400 + 1040 * 3200],
    ["head", 479_847_340, 5_902_793_600 + 1040 * 3200],
  ] as const)("for segmentation train what they should: %s", (tuning, trained, frozen) => {
    const step = trainingStep(segmentationTuning(tuning).stage);
    expect([elements(step.trained), elements(step.frozen)]).toEqual([trained, frozen]);
  });

  test.each([
    ["1", 80_000, undefined],
    ["1/16", 5_000, ["share=1/16"]],
  ])("for segmentation by few pictures train all, for %s of the steps", (share, steps, filters) => {
    const recipe = segmentationTuning("few-shot", undefined, { share });
    expect([recipe.steps, recipe.data!.filters, recipe.config.blocks]).toEqual([steps, filters, [48]]);
    expect(recipe.stage.trainable).toBeUndefined();
  });

  test("differentiate nothing below what stage 2 trains", () => {
    const { trained, frozen } = trainingStep(stageTwo(tiny()).stage);
    expect(trained.some((n) => String(n.attrs.name).startsWith("vision_model."))).toBe(false);
    expect(frozen.some((n) => n.attrs.name === "text_projection.weight")).toBe(true);
  });

  test("fine-tune for retrieval with rates that fall with depth", () => {
    const rate = layerwiseRate(internvlGConfig, 0.9);
    expect(rate("vision_model.encoder.layers.47.ls1")).toBeCloseTo(0.9);
    expect(rate("vision_model.encoder.layers.0.ls1")).toBeCloseTo(0.9 ** 48);
    expect(rate("vision_model.embeddings.position_embedding")).toBeCloseTo(0.9 ** 49);
    expect(rate("qllama.model.layers.0.cross_attn.q_proj.weight")).toBeCloseTo(0.9 ** 32);
    for (const early of ["qllama.model.embed_tokens.weight", "query_tokens", "logit_scale"])
      expect(rate(early)).toBeCloseTo(0.9 ** 33);
    for (const head of ["clip_projector.norm1_q.bias", "qllama.model.norm.weight", "itm_head.bias"])
      expect(rate(head)).toBe(1);
    const { config } = retrievalTuning(tiny());
    expect(config.vision.image / config.vision.patch).toBe(26);
    expect(config.vision.positions).toBe(0); // of its own grid
  });

  test("fine-tune for retrieval with 677 positions", () => {
    const { trained, frozen } = trainingStep(retrievalTuning().stage);
    const positions = trained.find((n) => n.attrs.name === "vision_model.embeddings.position_embedding")!;
    expect(elements([positions])).toBe(677 * 3200);
    expect([elements(trained), frozen.length]).toEqual([13_631_708_163, 0]);
  });

  test("let weights decay but for what is stored with one dimension", () => {
    const decays = decaysAsStored(generativeRules);
    for (const decayed of ["logit_scale", "query_tokens", "text_projection.weight", "itm_head.weight"])
      expect([decayed, decays(decayed)]).toEqual([decayed, true]);
    for (const kept of ["itm_head.bias", "vision_model.encoder.layers.0.ls1", "qllama.model.norm.weight"])
      expect([kept, decays(kept)]).toEqual([kept, false]);
    expect(decays("no.such.parameter")).toBe(false);
  });

  test("are known by number for every model that has them", () => {
    const stages = Object.fromEntries(bundledModels.map((m) => [m.name, Object.keys(m.stages ?? {})]));
    expect(stages["internvl-c"]).toEqual(["1", "1.1", "1.2"]);
    expect(stages["internvl-g"]).toEqual(["2", "retrieval"]);
    expect(stages["internvl-chat-vicuna-7b"]).toEqual(["3", "3.1", "3.2"]);
    expect(stages["internvl-chat-vicuna-7b-qllama"]).toEqual(["3", "3.1", "3.2", "3.3"]);
  });
});

/** The generative model at a size that traces at once. */
function tiny() {
  const vision = { ...internvit6b, width: 6, depth: 1, heads: 1, mlp: 7, image: 28 };
  const text = { ...qllama8b, width: 8, depth: 2, heads: 2, mlp: 9, vocab: 13, queries: 4, context: 6 };
  return { ...internvlGConfig, vision, text, embed: 6, poolingHeads: 2 };
}

describe("multiply-accumulates as the paper counts them", () => {
  const exactOf = (name: string) => {
    const graph = graphOf(name);
    return countMacs(graph, Object.fromEntries(graphSymbols(graph).map((s) => [s, 1])));
  };

  test("are those of the formula for InternViT-6B", () => {
    const linear = 257 * (4 * 3200 ** 2 + 2 * 3200 * 12800);
    const products = 2 * 256 ** 2 * 3200;
    const convolution = 256 * 3200 * (14 * 14 * 3 + 1);
    expect(find("internvit-6b").paper!.macs!(internvit6b)).toBe(48 * (linear + products) + convolution);
  });

  // UperNet resizes its maps, which the paper's way of counting leaves out.
  test.each(internvlFamily.map((m) => m.name).filter((n) => n !== "internvit-6b-upernet"))(
    "differ from the exact ones by attention and biases alone: %s",
    (name) => {
      const model = find(name);
      const paperMacs = model.paper!.macs!;
      if (isText(model.config)) return expect(exactOf(name)).toBe(paperMacs(model.config));
      const vision = (model.config.vision ?? model.config) as typeof internvit6b;
      const reads45 = typeof model.config.features === "number" && !("qllama" in model.config);
      const blocks = name === "qllama-8b" ? 0 : reads45 || name === "internvit-6b-segmentation" ? 45 : vision.depth;
      const patches = name === "qllama-8b" ? 0 : (vision.image / vision.patch) ** 2;
      const classToken = blocks * 2 * vision.width * ((patches + 1) ** 2 - patches ** 2);
      const bias = patches * vision.width;
      const [from, to] = [vision.positions / vision.patch, vision.image / vision.patch];
      const interpolation = vision.positions ? to * from * (from + to) * vision.width : 0;
      expect(exactOf(name) - paperMacs(model.config)).toBe(classToken - bias + interpolation);
    },
  );
});

describe("config.json", () => {
  /** The fields of InternViT-6B-224px that say what the model is. */
  const internvit = {
    architectures: ["InternVisionModel"],
    model_type: "intern_vit_6b",
    hidden_size: 3200,
    intermediate_size: 12800,
    num_hidden_layers: 48,
    num_attention_heads: 25,
    num_channels: 3,
    image_size: 224,
    patch_size: 14,
    hidden_act: "gelu",
    layer_norm_eps: 1e-6,
    qkv_bias: false,
    qk_normalization: true,
    drop_path_rate: 0,
    initializer_factor: 0.1,
  };

  test("of InternViT-6B-224px reads as our 6B, and writes back", () => {
    const read = readVisionConfig(internvit);
    expect(read).toEqual({ ...internvit6b, dropPathRule: "linear" });
    expect(writeVisionConfig(read)).toMatchObject(internvit);
    expect(readVisionConfig(writeVisionConfig(read))).toEqual(read);
  });

  test.each([
    ["Vicuna-7B", vicuna7b],
    ["Vicuna-13B", vicuna13b],
    ["InternLM-7B", internlm7b],
  ])("of %s survives writing and reading", (_, config) => {
    expect(readTextConfig(JSON.parse(JSON.stringify(writeTextConfig(config))))).toEqual({ ...config, context: 0 });
  });

  test("of InternVL-14B survives writing and reading", () => {
    const json = JSON.parse(JSON.stringify(writeGenerativeConfig(internvlGConfig)));
    expect(json).toMatchObject({ num_query_token: 96, clip_embed_dim: 768, attn_pool_num_heads: 16 });
    expect(json.qllama_config).toMatchObject({ cross_attention_frequency: 2, vocab_size: 49954 });
    const read = readGenerativeConfig(json);
    expect(read).toEqual({ ...internvlGConfig, vision: { ...internvit6b, dropPathRule: "linear" } });
    expect(readGenerativeConfig({ ...json, force_image_size: 364 }).vision.image).toBe(364);
  });

  /** As in InternVL-Chat-ViT-6B-Vicuna-7B: a language model's config with LLaVA's fields. */
  const llava = {
    ...writeTextConfig(vicuna7b),
    mm_hidden_size: 3200,
    mm_projector_type: "mlp2x_gelu",
    mm_vision_select_layer: -4,
    mm_vision_select_feature: "patch",
    mm_use_im_start_end: false,
    image_aspect_ratio: "pad",
  };

  test.each(["llama", "llava", "llava_llama"])("of InternVL-Chat-ViT-6B-Vicuna-7B is a chat: model_type %s", (type) => {
    const read = readPublishedConfig({ ...llava, model_type: type });
    expect(read).toEqual({ kind: "chat", config: chatConfig(vicuna7b) });
    const large = readChatConfig({ ...llava, mm_vision_tower: "intern_vit_6b_448px" });
    expect([large.vision.image, large.vision.positions]).toEqual([448, 224]);
  });

  test.each([
    ["path A", chatConfig(vicuna13b)],
    ["path B", chatQueriesConfig(internlm7b)],
  ])("of a chat by %s survives writing and reading", (_, config) => {
    const { kind, config: read } = readPublishedConfig(JSON.parse(JSON.stringify(writePublishedConfig(config))));
    expect(kind).toBe("chat");
    expect(read).toEqual({ ...config, vision: { ...config.vision, dropPathRule: "linear" } });
  });

  test("of InternVL-C is that of InternVL-14B without queries", () => {
    const { kind, config } = readPublishedConfig(writePublishedConfig(internvlCConfig)!);
    expect(kind).toBe("contrastive");
    expect(config).toEqual({ ...internvlCConfig, vision: { ...internvit6b, dropPathRule: "linear" } });
    const read = readPublishedConfig(JSON.parse(JSON.stringify(writeGenerativeConfig(internvlGConfig))));
    expect(withPublishedSizes(find("internvl-c"), read)).toEqual(config);
  });

  test("leaves a bundled model what it stops before, and is of no use to another kind", () => {
    const read = readPublishedConfig({ ...internvit, num_hidden_layers: 6, hidden_size: 64, num_attention_heads: 2 });
    expect(withPublishedSizes(find("internvit-6b"), read)).toMatchObject({ depth: 6, width: 64 });
    expect(withPublishedSizes(find("internvit-6b-45"), readPublishedConfig(internvit))).toMatchObject({
      depth: 45,
    });
    expect(withPublishedSizes(find("internvl-g"), read)).toBeUndefined();
  });

  test("is refused where a chat is another", () => {
    expect(() => readChatConfig({ ...llava, mm_projector_type: "linear" })).toThrow(/"mm_projector_type" is "linear"/);
    expect(() => readChatConfig({ ...llava, mm_hidden_size: 1024 })).toThrow(/"mm_hidden_size" is 1024/);
    expect(readChatConfig({ ...llava, mm_vision_select_layer: 3 }).features).toBe(3 - 49); // counted from the first
    expect(() => readChatConfig({ ...llava, mm_vision_select_layer: 49 })).toThrow(
      /"mm_vision_select_layer" is 49; expected the index of one state of 48 blocks: 0 to 48, or -49 to -1/,
    );
    expect(() => readPublishedConfig({ model_type: "constructor" })).toThrow(
      /"model_type" is "constructor"; expected one of/,
    );
  });

  test("is refused where it says what our models are not, or lacks what they need", () => {
    const llama = writeTextConfig(vicuna7b);
    expect(() => readVisionConfig({ ...internvit, hidden_size: undefined })).toThrow(/"hidden_size" is missing/);
    expect(() => readVisionConfig({ ...internvit, qkv_bias: true })).toThrow(/"qkv_bias" is true; only false/);
    expect(() => readVisionConfig({ ...internvit, image_size: "224" })).toThrow(
      /"image_size" is "224"; expected a number/,
    );
    expect(() => readTextConfig({ ...llama, num_key_value_heads: 7 })).toThrow(
      /"num_key_value_heads" is 7; expected a divisor of 32/,
    );
    expect(() => readTextConfig({ ...llama, rope_scaling: { factor: 2 } })).toThrow(/"rope_scaling"/);
    expect(() => readGenerativeConfig({})).toThrow(/"vision_config" is missing/);
  });
});

describe("a layout", () => {
  test("that lacks a parameter says so", () => {
    const use = () => checkpointLayout(graphOf("internvit-6b"), causalRules);
    expect(use).toThrow(/the checkpoint layout has no rule for parameter "embeddings\./);
  });
});
