/** LLaVA beside transformers (scripts/reference/llava.py), and what commands do with its checkpoints. */
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { countParameters, makeGraph, type Node } from "../../compiler/index.ts";
import { byteTokenizer } from "../../data/index.ts";
import { checkpointLayout, rootParams, trace, trainingStep } from "../../dsl/index.ts";
import {
  bundledModels,
  type LlavaConfig,
  llavaCodec,
  llavaLoss,
  llavaModels,
  llavaPretraining,
  llavaRules,
  llavaTuning,
} from "../../models/index.ts";
import { colourData } from "../cli/colour-data.ts";
import { scratch } from "../cli/support.ts";
import {
  done,
  expectConverted,
  expectExported,
  factsOf,
  inScratch,
  renamed,
  rowsOf,
  weightsIn,
  weightTypes,
  writtenCheckpoint,
} from "./checkpoint-folder.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import { writeGreedily } from "./greedy.ts";
import { difference, gradientDifference, withGradients } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const { folder, want, model, config, batch, token, ...given } = writtenCheckpoint<
  LlavaConfig,
  { readonly pixels: unknown[] }
>("llava", llavaModels[0]);
const feeds = { ...given.feeds, pixels: rowsOf("f32", { batch, channel: 3, row: 8, column: 8 }, want.pixels) };
/** What LLaVA does not read: the last block of the tower and the norm after it. */
const unread = /vision_model\.(post_layernorm|encoder\.layers\.2)\./;

describe("LLaVA as transformers computes it", () => {
  test.each(allExecutors)("has the same scores on $name", async (executor) => {
    const graph = trace(model, { text: { ...config.text, context: token } } as never);
    const { logits } = await runOnce(executor, graph, feeds, await weightsIn(folder, graph, model));
    const { vocab } = config.text;
    const rows = [5, 10].flatMap((at) => Array.from(logits!.data.subarray(at * vocab, (at + 1) * vocab)));
    expect(difference(rows, want.logits)).toBeLessThan(executor.tolerance);
  });

  test.each(allExecutors)("has the same loss and gradients on $name", async (executor) => {
    const c: LlavaConfig = { ...config, text: { ...config.text, context: token } };
    const graph = makeGraph("loss", [{ name: "loss", node: llavaLoss(rootParams({ training: true }), c).loss }]);
    const got = await runOnce(executor, withGradients(graph), feeds, await weightsIn(folder, graph, model));
    expect(difference(got.loss!.data, [want.loss])).toBeLessThan(executor.tolerance);
    const worst = gradientDifference(got, want.gradients, checkpointLayout(graph, llavaRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });

  test("writes the same answer about a picture file from the command line", async () => {
    const asked = ["--prompt", "red?", "--template", "bare", "--max-tokens", String(want.tokens.length)];
    const where = ["--device", "cpu", "--tokenizer", "bytes", "--json"];
    const out = await done("run", folder, ...where, "chat", "--image", join(folder, "picture.png"), ...asked);
    expect(JSON.parse(out)).toMatchObject([{ answer: byteTokenizer.decode(want.tokens).trimStart() }]);
  });

  test("writes with a cache what whole texts say", async () => {
    const [prefill, step] = [trace(model, {}, { graph: "prefill" }), trace(model, {}, { graph: "decode" })];
    const [prefillWeights, stepWeights] = [
      await weightsIn(folder, prefill, model),
      await weightsIn(folder, step, model),
    ];
    const written = { prefill, step, prefillWeights, stepWeights };
    const prompt = want.ids[0]!.slice(0, 9);
    const pixels = rowsOf("f32", { batch: 1, channel: 3, row: 8, column: 8 }, want.pixels.slice(0, 1));
    const begun = { pixels, input_ids: rowsOf("i32", { batch: 1, token: prompt.length }, prompt) };
    const { ids, logits } = await writeGreedily(executors[0]!, written, begun, 3);
    const long = [...prompt, ...ids[0]!.slice(0, 2)];
    const graph = trace(model, { text: { ...config.text, context: long.length } } as never);
    const whole = { pixels, ids: rowsOf("i32", { batch: 1, token: long.length }, long) };
    const got = await runOnce(executors[0]!, graph, whole, await weightsIn(folder, graph, model));
    expect(difference(got.logits!.data.subarray(-config.text.vocab), logits[2]!)).toBeLessThan(1e-9);
  });
});

describe("checkpoints of LLaVA", () => {
  test("are converted there and back", () => expectConverted(folder, folder, unread));

  test.each([
    ["transformers 5", (name: string) => name.replace("vision_model.", "")],
    [
      "the authors",
      (name: string) =>
        name
          .replace(/^vision_tower\./, "model.vision_tower.vision_tower.")
          .replace(/^language_model\./, "")
          .replace(/^multi_modal_projector\.linear_(\d)/, (_, n) => `model.mm_projector.${2 * (Number(n) - 1)}`),
    ],
  ])("are read as %s write them", (_, rename) =>
    inScratch(async (at) => {
      await renamed(folder, at, rename);
      await expectConverted(at, folder, unread);
    }),
  );

  test.each(weightTypes)("are exported and verified in %s", (type) =>
    expectExported(folder, type, "--graph", "prefill"),
  );

  const described = (json: object) =>
    bundledModels.filter((m) => {
      const codec = m.checkpoints?.config;
      const type = (json as { model_type: string }).model_type;
      return codec?.types.includes(type) && (codec.describes?.(json as never) ?? true);
    });

  test("have a config.json in either form, that is this family's alone", () => {
    const json = factsOf<Record<string, unknown>>(folder, "config.json");
    const codec = llavaCodec("llava-1.5-7b");
    expect(codec.notes!(json)).toEqual([]);
    expect(codec.read({ ...json, ...codec.write(config) }, config)).toEqual(config);
    expect(described(json).map((m) => m.name)).toEqual(["llava-1.5-7b"]);
    // As on the hub, which leaves out what transformers takes anyway.
    const hub = {
      model_type: "llava",
      image_token_index: 32000,
      vision_config: { model_type: "clip_vision_model", projection_dim: 768, vocab_size: 32000 },
      text_config: { model_type: "llama", max_position_embeddings: 4096, rms_norm_eps: 1e-5, vocab_size: 32064 },
    };
    const [small] = llavaModels;
    const read = {
      ...small.config,
      text: { ...small.config.text, vocab: 32064, maxPositions: 4096 },
      imageToken: 32000,
    };
    expect(codec.read(hub, config)).toEqual(read);
    const original = {
      model_type: "llava_llama",
      hidden_size: 5120,
      intermediate_size: 13824,
      num_attention_heads: 40,
      num_hidden_layers: 40,
      vocab_size: 32000,
      rms_norm_eps: 1e-5,
      mm_vision_tower: "openai/clip-vit-large-patch14-336",
      mm_hidden_size: 1024,
      mm_projector_type: "mlp2x_gelu",
      mm_vision_select_layer: -2,
      image_aspect_ratio: "pad",
    };
    expect(described(original).map((m) => m.name)).toEqual(["llava-1.5-13b"]);
    expect(codec.read(original, config)).toEqual(llavaModels[1].config);
    const clip = hub.vision_config;
    for (const [changed, field] of [
      [{ vision_feature_select_strategy: "full" }, "vision_feature_select_strategy"],
      [{ vision_config: { ...clip, hidden_act: "gelu" } }, "hidden_act"],
      [{ text_config: { model_type: "mistral" } }, "model_type"],
    ] as const)
      expect(() => codec.read({ ...hub, ...changed }, config)).toThrow(`"${field}"`);
    expect(() => codec.read({ ...original, mm_vision_tower: "siglip" }, config)).toThrow(/"mm_vision_tower"/);
  });
});

describe("LLaVA-1.5", () => {
  /** The last block of the tower and the norm after it are published and not read. */
  const beside = 12_596_224 + 2048;

  test.each([
    ["llava-1.5-7b", 7_062_902_784],
    ["llava-1.5-13b", 13_350_839_296],
  ])("%s has the published parameters", (name, parameters) => {
    const found = llavaModels.find((m) => m.name === name)!;
    expect(countParameters(trace(found)).parameters + beside).toBe(parameters);
  });

  test("has 7,063,427,072 on the hub, whose vocabulary has 64 rows more", () => {
    const [{ config: c }] = llavaModels;
    const graph = trace(llavaModels[0], { text: { ...c.text, vocab: 32064 } } as never);
    expect(countParameters(graph).parameters + beside).toBe(7_063_427_072);
  });

  const elements = (nodes: readonly Node[]) =>
    nodes.reduce((n, x) => n + x.type.axes.reduce((k, a) => k * (a.size as number), 1), 0);

  test("trains the projector, then the language model with it", () => {
    const [pretrain, finetune] = [llavaPretraining, llavaTuning].map((recipe) => recipe(llavaModels[0].config));
    expect(elements(trainingStep(pretrain!.stage).trained)).toBe(20_979_712);
    expect(elements(trainingStep(finetune!.stage).trained)).toBe(20_979_712 + 6_738_415_616);
    expect([pretrain!.steps, pretrain!.batch, pretrain!.rate]).toEqual([2181, 256, 1e-3]);
    expect([finetune!.steps, finetune!.batch, finetune!.rate]).toEqual([5198, 128, 2e-5]);
    expect([pretrain!.data!.image!.fit, finetune!.data!.image!.fit]).toEqual(["crop", "pad"]);
  });

  test("is trained by both stages from a checkpoint, one after the other", async () => {
    const data = scratch("llava");
    try {
      await colourData(data);
      const sets = ["workers=0", "batch=2", "steps=2", "length=48", `images=${data.at("photos")}`];
      await done(
        ...["train", folder, "--stage", "pretrain,finetune", "--from", folder, "--tokenizer", "bytes"],
        ...["--device", "cpu", "--runs", data.at("runs"), "--data", data.at("talks.json")],
        ...[...sets, "template=bare"].flatMap((s) => ["--set", s]),
      );
    } finally {
      data.remove();
    }
  });
});
