/** CLIP and OpenCLIP beside open_clip (scripts/reference/clip.py): vectors, gradients, totals, config.json. */
import { describe, expect, test } from "vitest";
import { countParameters, type Graph, hostTensor, makeGraph } from "../../compiler/index.ts";
import {
  type Axis,
  axis,
  checkpointLayout,
  imageAxes,
  input,
  type JsonRecord,
  type Model,
  mul,
  rootParams,
  sum,
  trace,
  trainingStep,
} from "../../dsl/index.ts";
import {
  bundledModels,
  type ClipConfig,
  type ClipResNetConfig,
  clipCodec,
  clipFamily,
  clipImageVectors,
  clipLoss,
  clipResNetVectors,
  clipRules,
  comparedByClip,
  openClipResNetRules,
  openClipRules,
} from "../../models/index.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import { joinedDifference, joinedWeights } from "./joined.ts";
import { type Digest, difference, feedsOf, keepDraws, loadFixture, tensorOf, withGradients } from "./support.ts";

const models = clipFamily.filter((m) => m.name !== "clip-rn50") as unknown as readonly Model<ClipConfig>[];
const find = (name: string) => models.find((m) => m.name === name)!;

describe("the published models", () => {
  test.each([
    ["clip-vit-b-32", 151_277_313],
    ["clip-vit-b-16", 149_620_737],
    ["clip-vit-l-14", 427_616_513],
    ["clip-vit-l-14-336", 427_616_513 + (24 ** 2 - 16 ** 2) * 1024],
    ["openclip-vit-b-32", 151_277_313],
    ["openclip-vit-b-16", 149_620_737],
    ["openclip-vit-l-14", 427_616_513],
    ["openclip-vit-h-14", 986_109_441],
    ["openclip-vit-g-14", 1_366_678_273],
    ["openclip-vit-bigg-14", 2_539_567_105],
  ])("%s has %i parameters, each with a place in both layouts", (name, parameters) => {
    const graph = trace(find(name));
    expect(countParameters(graph).parameters).toBe(parameters);
    const layouts = [clipRules, openClipRules].map((rules) => checkpointLayout(graph, rules));
    const [apart, joined] = layouts.map((places) => new Set(places.map((t) => t.name)));
    const blocks = find(name).config.vision.depth + find(name).config.text.depth;
    expect([apart!.size, joined!.size]).toEqual([16 * blocks + 14, 12 * blocks + 14]);
  });

  test("clip-rn50 has 102,007,137 parameters, statistics of its norms besides", () => {
    const graph = trace(clipFamily.find((m) => m.name === "clip-rn50")!);
    expect(countParameters(graph).parameters).toBe(102_007_137);
    const layout = checkpointLayout(graph, openClipResNetRules);
    const shapes = new Map(layout.map((t) => [t.name, t.shape] as const));
    expect(shapes.get("visual.layer1.0.downsample.0.weight")).toEqual([256, 64, 1, 1]);
    expect(shapes.get("visual.layer4.2.conv2.weight")).toEqual([512, 512, 3, 3]);
    expect(shapes.get("visual.layer4.2.bn3.running_var")).toEqual([2048]);
    expect(shapes.get("visual.attnpool.positional_embedding")).toEqual([50, 2048]);
    expect(shapes.get("visual.attnpool.c_proj.weight")).toEqual([1024, 2048]);
  });

  test("have the names and shapes of their checkpoints", () => {
    const graph = trace(find("clip-vit-l-14"));
    const shapes = (rules: typeof clipRules) =>
      new Map(checkpointLayout(graph, rules).map((t) => [t.name, t.shape] as const));
    const [apart, joined] = [shapes(clipRules), shapes(openClipRules)];
    expect(apart.get("vision_model.embeddings.class_embedding")).toEqual([1024]);
    expect(apart.get("vision_model.pre_layrnorm.weight")).toEqual([1024]);
    expect(apart.get("vision_model.encoder.layers.23.self_attn.k_proj.bias")).toEqual([1024]);
    expect(apart.get("visual_projection.weight")).toEqual([768, 1024]);
    expect(apart.get("text_model.embeddings.position_embedding.weight")).toEqual([77, 768]);
    expect(apart.get("logit_scale")).toEqual([]);
    expect(joined.get("visual.proj")).toEqual([1024, 768]);
    expect(joined.get("visual.conv1.weight")).toEqual([1024, 3, 14, 14]);
    expect(joined.get("transformer.resblocks.11.attn.in_proj_weight")).toEqual([3 * 768, 768]);
    expect(joined.get("text_projection")).toEqual([768, 768]);
  });

  test("are trained as published, ending texts as the tokenizer does", () => {
    const { stages, config } = find("clip-vit-b-32");
    const small = { ...config, vision: { ...config.vision, depth: 1 }, text: { ...config.text, depth: 1 } };
    const text = { vocabularySize: 259, pad: 0, bos: 1, eos: 2, encode: () => [1, 2] };
    const made = stages!.contrastive!(small, {}, text);
    expect([made.steps, made.batch, made.rate]).toEqual([390_625, 32_768, 5e-4]);
    expect(made.config.text.eos).toBe(2);
    const { decays = () => false, ...optimizer } = made.stage.optimizer;
    expect(optimizer).toMatchObject({ weightDecay: 0.2, beta2: 0.98, epsilon: 1e-6 });
    const kept = trainingStep(made.stage).trained.map((n) => String(n.attrs.name));
    expect(kept.filter(decays).filter((n) => !n.includes(".blocks."))).toEqual([
      "vision.patches.weight",
      "vision.positions",
      "vision.projection.weight",
      "text.tokens.weight",
      "text.positions",
      "text.projection.weight",
    ]);
    expect(kept.filter(decays).filter((n) => n.includes("blocks.0"))).toHaveLength(2 * 6);
  });
});

interface Facts {
  readonly vision: Omit<ClipConfig["vision"], "activation" | "epsilon">;
  readonly text: Omit<ClipConfig["text"], "activation" | "epsilon">;
  readonly embed: number;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
  /** The same in training with part of the patches, chosen by the draws of the input "keep". */
  readonly kept: Pick<Facts, "loss" | "gradients"> & { readonly part: number };
}

const gelu = { activation: "gelu", epsilon: 1e-5 };

describe.each(allExecutors)("on $name, beside open_clip", (executor) => {
  test("vectors and every gradient are the same", async () => {
    const fixture = await loadFixture<Facts>("openclip");
    const { facts } = fixture;
    const config = { vision: { ...facts.vision, ...gelu }, text: { ...facts.text, ...gelu }, embed: facts.embed };
    const p = rootParams();
    const { loss } = clipLoss(p, config as ClipConfig, clipImageVectors);
    const { image, text } = comparedByClip(p.shared(), config as ClipConfig, clipImageVectors);
    const graph: Graph = makeGraph("openclip", [
      { name: "image", node: image },
      { name: "text", node: text },
      { name: "loss", node: loss },
    ]);
    const weights = await joinedWeights("openclip", graph, openClipRules);
    const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), weights);
    for (const name of ["image", "text"])
      expect(difference(got[name]!.data, tensorOf(fixture, `expected/${name}`).data), name).toBeLessThan(
        executor.tolerance,
      );
    expect(difference(got.loss!.data, [facts.loss])).toBeLessThan(executor.tolerance);
    const worst = await joinedDifference(got, facts.gradients, graph, openClipRules);
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });
});

test("the same kept patches give the loss and the gradients of open_clip", async () => {
  const [executor] = executors;
  const fixture = await loadFixture<Facts>("openclip");
  const { vision, text, embed, kept } = fixture.facts;
  const config = { vision: { ...vision, ...gelu }, text: { ...text, ...gelu }, embed } as ClipConfig;
  const p = rootParams({ training: true });
  const graph = makeGraph("openclip", [{ name: "loss", node: clipLoss(p, config, clipImageVectors, kept.part).loss }]);
  const weights = await joinedWeights("openclip", graph, openClipRules);
  const feeds = { ...feedsOf(fixture, graph), "vision.keep": keepDraws(fixture) };
  const got = await runOnce(executor!, withGradients(graph), feeds, weights);
  expect(difference(got.loss!.data, [kept.loss])).toBeLessThan(executor!.tolerance);
  const worst = await joinedDifference(got, kept.gradients, graph, openClipRules);
  expect(worst.difference, worst.name).toBeLessThan(10 * executor!.tolerance);
});

describe("config.json of CLIPModel", () => {
  const { config } = find("clip-vit-l-14");
  const read = (json: JsonRecord) => clipCodec.read(JSON.parse(JSON.stringify(json)), find("clip-vit-b-32").config);

  test("survives writing and reading", () => {
    for (const model of models) expect(read(clipCodec.write(model.config)!)).toEqual(model.config);
    expect(clipCodec.notes!(clipCodec.write(config)!)).toEqual([]);
    expect(clipCodec.write({ ...config, text: { ...config.text, eos: 2 } })).toBeUndefined();
  });

  test("has the defaults of its class, and those of older files go before the others", () => {
    expect(read({ model_type: "clip" })).toEqual(find("clip-vit-b-32").config);
    const older = read({
      model_type: "clip",
      projection_dim: 768,
      text_config: { hidden_size: 5, eos_token_id: 2 },
      text_config_dict: { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 },
      vision_config: { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, patch_size: 14 },
      vision_config_dict: null,
    });
    expect(older.text).toEqual(config.text);
    expect(older.vision).toEqual({ ...config.vision, mlp: 3072 });
    // There, an end of 2 stands for the largest id of a text.
    expect(read({ text_config: { eos_token_id: 2 } }).text.eos).toBe(0);
  });

  test.each([
    [{ vision_config: { hidden_act: "relu" } }, /"hidden_act" is "relu"; expected one of quick_gelu, gelu/],
    [{ vision_config: { num_channels: 1 } }, /the vision tower's config: "num_channels" is 1; only 3 is supported/],
    [{ vision_config: { image_size: [224, 336] } }, /"image_size" is \[224,336\]; expected a number/],
    [{ text_config: { eos_token_id: [1, 2] } }, /the text tower's config: "eos_token_id" is \[1,2\]/],
    [{ text_config: "small" }, /"text_config" is "small"; expected an object/],
    [{ quantization_config: { bits: 4 } }, /CLIP's config: "quantization_config"/],
  ])("is refused where it says what CLIP is not: %j", (json, message) => {
    expect(() => read(json)).toThrow(message);
  });

  test("is told where a field is not known", () => {
    expect(clipCodec.notes!({ vision_config: { attention_dropout: 0.1, new_thing: 3 } })).toEqual([
      `the vision tower's config: "attention_dropout" is 0.1; heddle trains with 0`,
      `the vision tower's config: "new_thing" (3) is unknown and ignored`,
    ]);
    expect(bundledModels.filter((m) => m.checkpoints?.config?.types.includes("clip"))[0]!.name).toBe("clip-vit-b-32");
  });
});

test.each(allExecutors)("the ResNet's vectors and every gradient are those of open_clip on $name", async (executor) => {
  interface ResNetFacts extends Pick<Facts, "loss" | "gradients"> {
    readonly vision: ClipResNetConfig;
  }
  const fixture = await loadFixture<ResNetFacts>("clip-resnet");
  const { facts } = fixture;
  const { channel, row, column } = imageAxes(64);
  const pixels = input("pixels", "f32", [axis("batch", "batch"), channel, row, column]);
  const vectors = clipResNetVectors(rootParams(), pixels, facts.vision, axis("feature", 5), []);
  const graph = makeGraph("resnet", [
    { name: "vectors", node: vectors },
    { name: "loss", node: mul(sum(mul(vectors, vectors), vectors.type.axes as Axis<"batch" | "feature">[]), 0.5) },
  ]);
  const rules = openClipResNetRules
    .filter((r) => r.path.startsWith("vision."))
    .map((r) => ({ ...r, path: r.path.replace("vision.", ""), name: r.name.replace("visual.", "") }));
  const weights = await joinedWeights("clip-resnet", graph, rules);
  const sizes = Object.entries({ batch: 2, channel: 3, row: 64, column: 64 });
  const drawn = Float32Array.from({ length: 2 * 3 * 64 * 64 }, (_, i) => (((i * 7919) % 257) - 128) / 64);
  const fed = hostTensor(
    "f32",
    sizes.map(([name, size]) => ({ name, size })),
    drawn,
  );
  const isForward = executor.name === "webgpu"; // SwiftShader compiles the gradients' kernels for ten seconds
  const got = await runOnce(executor, isForward ? graph : withGradients(graph), { pixels: fed }, weights);
  expect(difference(got.vectors!.data, tensorOf(fixture, "expected/vectors").data)).toBeLessThan(executor.tolerance);
  expect(difference(got.loss!.data, [facts.loss])).toBeLessThan(executor.tolerance);
  if (isForward) return;
  const worst = await joinedDifference(got, facts.gradients, graph, rules);
  expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
});
