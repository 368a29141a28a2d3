/**
 * InternVL-Chat 1.2 and 1.5 beside transformers (scripts/reference/internvl_chat.py), and what commands do with
 * checkpoints.
 */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { countParameters, makeGraph } from "../../compiler/index.ts";
import { byteTokenizer } from "../../data/index.ts";
import { checkpointLayout, isDescribedBy, type Model, rootParams, trace } from "../../dsl/index.ts";
import {
  bundledModels,
  chatCodec,
  chatHubRules,
  chatHubRules5,
  chatInternlm2Rules,
  hermesTemplate,
  type InternvlChatConfig,
  tiledChatModels,
  tiledLoss,
  tiledTemplates,
} from "../../models/index.ts";
import { firstTurn, nextTurn, tensorsInLayout, writeSafetensors } from "../../runtime/index.ts";
import { colourData } from "../cli/colour-data.ts";
import { heddle, scratch } from "../cli/support.ts";
import { memoryWeights } from "../support/weights.ts";
import {
  done,
  expectConverted,
  expectExported,
  factsOf,
  folderOf,
  inScratch,
  rowsOf,
  sizedBy,
  weightsIn,
  weightTypes,
  writtenCheckpoint,
} from "./checkpoint-folder.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import { difference, gradientDifference, withGradients } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const [chat12, chat15] = tiledChatModels as unknown as readonly [Model, Model];
const { folder, want, model, config, token, ...given } = writtenCheckpoint<
  InternvlChatConfig,
  {
    readonly pixels: unknown[];
    readonly transposed: number[];
    readonly names: readonly string[];
    readonly tiles: number;
    readonly training: { readonly length: number; readonly losses: Record<"pretrain" | "finetune", number[]> };
  }
>("internvl-chat", chat15);
const long: InternvlChatConfig = { ...config, text: { ...config.text, context: token } };
const feeds = { ...given.feeds, pixels: rowsOf("f32", { batch: 3, channel: 3, row: 8, column: 8 }, want.pixels) };
const scoresAt = (logits: { readonly data: ArrayLike<number> }, ...places: number[]) =>
  places.flatMap((at) => Array.from(logits.data).slice(at * config.text.vocab, (at + 1) * config.text.vocab));
const jsonOf = (file: string) => factsOf<Record<string, unknown>>(folder, file);

describe("InternVL-Chat as transformers computes it", () => {
  test.each(allExecutors)("has the same scores of pictures anywhere in texts on $name", async (executor) => {
    const graph = trace({ ...model, config: long as never });
    const { logits } = await runOnce(executor, graph, feeds, await weightsIn(folder, graph, model));
    expect(difference(scoresAt(logits!, 7, 14), want.logits)).toBeLessThan(executor.tolerance);
  });

  test("has the tokens of a picture column by column where it is shuffled as before 1.5", async () => {
    const graph = trace({ ...model, config: { ...long, shuffle: "v1" } as never });
    const { logits } = await runOnce(executors[0]!, graph, feeds, await weightsIn(folder, graph, model));
    const scores = scoresAt(logits!, 7).slice(0, want.transposed.length);
    expect(difference(scores, want.transposed)).toBeLessThan(1e-6);
    expect(difference(scores, want.logits.slice(0, scores.length))).toBeGreaterThan(1e-3);
  });

  test.each(allExecutors)("has the same loss and gradients on $name", async (executor) => {
    const { loss } = tiledLoss(rootParams({ training: true }), long);
    const graph = makeGraph("loss", [{ name: "loss", node: loss }]);
    const got = await runOnce(executor, withGradients(graph), feeds, await weightsIn(folder, graph, model));
    expect(difference(got.loss!.data, [want.loss])).toBeLessThan(executor.tolerance);
    const worst = gradientDifference(got, want.gradients, checkpointLayout(graph, chatInternlm2Rules));
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });

  test("writes the same answer about a picture file in tiles from the command line", async () => {
    const asked = ["--prompt", "red?", "--max-tokens", String(want.tokens.length)];
    const where = ["--device", "cpu", "--tokenizer", "bytes", "--json"];
    const said = await heddle("run", folder, ...where, "chat", "--image", join(folder, "picture.png"), ...asked);
    expect(said.status, said.err).toBe(0);
    expect(said.err).toContain("images: 8 × 8, 1 to 4 tiles and a thumbnail, bicubic");
    expect(JSON.parse(said.out)).toMatchObject([{ answer: byteTokenizer.decode(want.tokens).trimStart() }]);
    expect(want.tiles).toBe(3);
  });

  test("gives each text its own whole picture in training, also where one has no place for it", async () => {
    const [first, second] = want.ids as [number[], number[]];
    const words = first.map((id) => (id === config.imageToken ? 9 : id));
    const loss = async (ids: readonly number[][], labels: readonly number[][], pictures: readonly unknown[]) => {
      const node = tiledLoss(rootParams(), long, { perText: 1 }).loss;
      const graph = makeGraph("loss", [{ name: "loss", node }]);
      const rows = ids.length;
      const given = {
        pixels: rowsOf("f32", { batch: rows, channel: 3, row: 8, column: 8 }, pictures),
        ids: rowsOf("i32", { batch: rows, token }, ids),
        labels: rowsOf("i32", { batch: rows, token }, labels),
      };
      return (await runOnce(executors[0]!, graph, given, await weightsIn(folder, graph, model))).loss!.data[0]!;
    };
    const none = first.map(() => -100);
    const [, own] = want.labels as [number[], number[]];
    const alone = await loss([second], [own], want.pixels.slice(2));
    expect(await loss([words, second], [none, own], want.pixels.slice(1))).toBeCloseTo(alone, 6);
    expect(await loss([words, second], [none, own], want.pixels.slice(0, 2))).not.toBeCloseTo(alone, 3);
  });

  test.each([
    ["pretrain", 1],
    ["finetune", 1],
    ["finetune", 3],
  ] as const)("has the same losses in stage %s, of pictures in tiles, in micro-batches: %i", (stage, accumulate) =>
    inScratch(async (at) => {
      const said = (question: string, answer: string) => [
        { from: "human", value: question },
        { from: "gpt", value: answer },
      ];
      const talks = [
        { id: "a", image: "picture.png", conversations: said("<image>\nWhat?", "red") },
        { id: "b", image: "square.png", conversations: said("<image>\nSure?", "yes, it is") },
        { id: "c", conversations: said("Hi", "hello") },
      ];
      writeFileSync(join(at, "talks.json"), JSON.stringify(talks));
      const { length, losses } = want.training;
      const sets = [
        `length=${length}`,
        `images=${folder}`,
        "batch=3",
        `accumulate=${accumulate}`,
        "steps=5",
        "rate=0.01",
        "dropPath=0",
        "workers=0",
      ];
      await done(
        ...["train", "internvl-chat-1.5", "--stage", stage, "--from", folder, "--data", join(at, "talks.json")],
        ...["--tokenizer", "bytes", "--device", "cpu", "--runs", at, ...sets.flatMap((s) => ["--set", s])],
      );
      const lines = readFileSync(join(at, `internvl-chat-1.5-${stage}`, "metrics.jsonl"), "utf8")
        .trim()
        .split("\n");
      const got = lines.map((line) => (JSON.parse(line) as { readonly loss: number }).loss);
      expect(difference(got, losses[stage])).toBeLessThan(1e-5);
    }),
  );

  test("is tuned from a checkpoint's parts", async () => {
    const data = scratch("internvl-chat");
    try {
      await colourData(data);
      copyFileSync(join(folder, "transformers.json"), data.at("config.json"));
      const graph = trace({ ...model, config: long as never });
      const layout = checkpointLayout(graph, chatHubRules);
      const weights = memoryWeights(await weightsIn(folder, graph, model));
      await writeSafetensors(data.at("model.safetensors"), tensorsInLayout(layout, weights));
      const sets = ["workers=0", "batch=2", "steps=2", "length=300", `images=${data.at("photos")}`];
      await done(
        ...["train", "internvl-chat-1.2", "--stage", "finetune", "--from", data.at("model.safetensors")],
        ...["--tokenizer", "bytes", "--device", "cpu", "--runs", data.at("runs"), "--data", data.at("talks.json")],
        ...sets.flatMap((s) => ["--set", s]),
      );
    } finally {
      data.remove();
    }
  });

  test("sees a whole picture where that is asked for, or no more than one tile", async () => {
    const shown = ["chat", "--image", join(folder, "picture.png"), "--prompt", "red?", "--max-tokens", "1"];
    for (const more of [
      ["--fit", "squash"],
      ["--set", "mostTiles=1"],
    ]) {
      const said = await heddle("run", folder, ...more, "--device", "cpu", "--tokenizer", "bytes", ...shown);
      expect([said.status, said.err]).toEqual([0, expect.stringContaining("images: 8 × 8, squash, bicubic")]);
    }
  });
});

test("a preprocessor_config.json says how many tiles a picture becomes, unless the command does", () =>
  inScratch(async (at) => {
    for (const name of ["config.json", "model.safetensors", "picture.png"])
      copyFileSync(join(folder, name), join(at, name));
    const processor = { size: { height: 8, width: 8 }, image_mean: [0, 0, 0], image_std: [1, 1, 1] };
    const asked = ["--device", "cpu", "--tokenizer", "bytes", "chat", "--image", join(at, "picture.png")];
    const said = async (json: object, ...more: string[]) => {
      writeFileSync(join(at, "preprocessor_config.json"), JSON.stringify({ ...processor, ...json }));
      return (await heddle("run", at, ...more, ...asked, "--prompt", "red?", "--max-tokens", "1")).err;
    };
    expect(await said({ crop_to_patches: true, max_patches: 3 })).toContain("1 to 3 tiles and a thumbnail");
    expect(await said({ max_patches: 3 }, "--set", "mostTiles=2")).toContain("1 to 2 tiles and a thumbnail");
    // Also where it is as many as there would be without being said.
    expect(await said({ max_patches: 3 }, "--set", "mostTiles=4")).toContain("1 to 4 tiles and a thumbnail");
    expect(await said({ max_patches: 1 })).toContain("8 × 8, squash");
    expect(await said({ max_patches: 1 }, "--set", "leastTiles=2")).toContain("at least 2 tiles and at most 1");
    expect(await said({ max_patches: 0 })).toContain('"max_patches" is 0, but must be an integer from 1 to 1024');
    copyFileSync(join(folderOf("llava"), "config.json"), join(at, "config.json"));
    expect(await said({ crop_to_patches: true })).toContain(
      "it cuts images into tiles, but the model takes whole images",
    );
  }));

describe("checkpoints of InternVL-Chat", () => {
  test("are converted there and back", () => expectConverted(folder));

  test.each(weightTypes)("are exported and verified in %s", (type) =>
    expectExported(folder, type, "--graph", "prefill"),
  );

  test.each([
    ["the hub's", chatHubRules],
    ["transformers'", chatHubRules5],
  ])("of %s names are 1.2's, as their language model is a LLaMA", async (_, rules) => {
    const graph = trace({ ...model, config: long as never });
    const layout = checkpointLayout(graph, rules);
    if (rules === chatHubRules5) expect(layout.map((p) => p.name).sort()).toEqual([...want.names].sort());
    await inScratch(async (at) => {
      const tensors = tensorsInLayout(layout, memoryWeights(await weightsIn(folder, graph, model)));
      await writeSafetensors(join(at, "model.safetensors"), tensors);
      copyFileSync(join(folder, "transformers.json"), join(at, "config.json"));
      const hub = sizedBy(chat12, at);
      const c = hub.config as unknown as InternvlChatConfig;
      const same = trace({ ...hub, config: { ...c, text: { ...c.text, context: token } } as never });
      const { logits } = await runOnce(executors[0]!, same, feeds, await weightsIn(at, same, hub));
      expect(difference(scoresAt(logits!, 7, 14), want.logits)).toBeLessThan(1e-6);
    });
  });

  const described = (json: object) =>
    bundledModels
      .filter((m) => m.checkpoints?.config && isDescribedBy(m.checkpoints.config, json as never))
      .map((m) => m.name);

  test("have a config.json in either form, that is one model's alone", () => {
    const [own, hub] = [jsonOf("config.json"), jsonOf("transformers.json")];
    const [of12, of15] = [chatCodec("llama"), chatCodec("internlm2")];
    expect([described(own), described(hub)]).toEqual([["internvl-chat-1.5"], ["internvl-chat-1.2"]]);
    expect([of15.notes!(own), of12.notes!(hub)]).toEqual([[], []]);
    expect(of12.read(hub, chat12.config as never)).toMatchObject({ mostTiles: 12, thumbnail: true, shuffle: "v2" });
    for (const [codec, { config: c }] of [
      [of15, chat15],
      [of12, chat12],
      [of15, model],
    ] as const) {
      const written = codec.write(c as never)!;
      expect([codec.read(written, c as never), codec.notes!(written)]).toEqual([c, []]);
    }
    // As the authors' own config class has it where nothing is said.
    const { ps_version: _, max_dynamic_patch: __, img_context_token_id: ___, ...bare } = own;
    expect(of15.read(bare, config)).toMatchObject({ shuffle: "v1", mostTiles: 6, imageToken: 260 });
    expect(of15.read({ ...own, dynamic_image_size: false }, config)).toMatchObject({ mostTiles: 1 });
    expect(of15.read({ ...own, force_image_size: 16 }, config).vision).toMatchObject({ image: 16, positions: 8 });
    expect(() => of12.read(own, config)).toThrow(/its language model is internlm2, as in internvl-chat-1.5/);
  });

  test.each([
    ["pad2square", true],
    ["ps_version", "v3"],
    ["template", "phi3-chat"],
    ["downsample_ratio", 0.3],
    ["use_llm_lora", 16],
  ])("whose %s is %j are refused by name", (field, value) => {
    expect(() => chatCodec("internlm2").read({ ...jsonOf("config.json"), [field]: value }, config)).toThrow(field);
  });

  test.each([
    ["norm_type", "layer_norm"],
    ["use_qk_norm", false],
    ["use_mean_pooling", false],
    ["attention_bias", true],
    ["image_size", [8, 16]],
  ])("of transformers whose vision tower's %s is %j are refused by name", (field, value) => {
    const hub = jsonOf("transformers.json");
    const changed = { ...hub, vision_config: { ...(hub.vision_config as object), [field]: value } };
    expect(() => chatCodec("llama").read(changed, config)).toThrow(field);
  });

  test("of its parts are gone on from", () => {
    const codec = chatCodec("internlm2");
    const own = jsonOf("config.json");
    const { llm_config: text, vision_config: vision } = own as Record<string, Record<string, unknown>>;
    expect(codec.sized!(chat15.config as never, text!)!.text).toMatchObject({ width: 12, keyHeads: 2, context: 4096 });
    expect(codec.sized!(chat15.config as never, vision!)!.vision).toMatchObject({ width: 8, image: 448, positions: 8 });
    expect(codec.sized!(chat15.config as never, { ...text, model_type: "llama" })).toBeUndefined();
  });
});

describe("the templates", () => {
  const [internlm2] = tiledTemplates;
  const words = (ids: readonly number[]) => byteTokenizer.decode(ids.filter((id) => id >= 3));
  const image = { id: -200, tokens: 2 };

  test("are ChatML, the picture's tokens between its marks; Hermes-2 begins without BOS", () => {
    const system = `<|im_start|>system\n你是由上海人工智能实验室`;
    const first = firstTurn(internlm2!, byteTokenizer, "Why?", image);
    expect(words(first)).toMatch(system);
    expect(words(first)).toMatch(
      /<\|im_end\|><\|im_start\|>user\n<img><\/img>\nWhy\?<\|im_end\|><\|im_start\|>assistant\n$/,
    );
    expect(words(first.slice(0, first.indexOf(-200)))).toMatch(/<img>$/);
    expect(first.filter((id) => id === -200)).toHaveLength(2);
    expect(first[0]).toBe(byteTokenizer.bos);
    expect(firstTurn(hermesTemplate, byteTokenizer, "Why?", image)).toEqual(first.slice(1));
    expect(words(nextTurn(internlm2!, byteTokenizer, "So?"))).toBe(
      "<|im_end|><|im_start|>user\nSo?<|im_end|><|im_start|>assistant\n",
    );
  });
});

test.each([
  // The blog of InternVL 1.5 has these rounded: 5.54 B, 143.17 M and 116.43 M, 34.39 B and 19.86 B; 40.07 B and 25.51 B
  // in all.
  ["internvl-chat-1.2", 1138, 5_536_496_000, 143_170_560, 34_388_917_248, 40_068_583_808],
  ["internvl-chat-1.5", 1030, 5_536_496_000, 116_429_824, 19_861_260_288, 25_514_186_112],
])("%s has %i tensors and the published parameters", (name, tensors, vision, glue, language, all) => {
  const found = countParameters(trace(tiledChatModels.find((m) => m.name === name)!));
  expect(found).toMatchObject({ tensors, parameters: all });
  expect(vision + glue + language).toBe(all);
  expect(found.byGroup).toMatchObject({ vision_model: vision, mlp1: glue, language_model: language });
});

test("patches that make no squares are refused", () => {
  expect(() => trace(model, { shrink: 3 } as never)).toThrow(
    /shrink 3: 4 patches along a side cannot be divided into squares of 3 by 3/,
  );
});
