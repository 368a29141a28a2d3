/** Published checkpoints in and out: convert, folders as models, positions of another grid. */
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inputName } from "../../compiler/index.ts";
import { checkpointLayout, resizedPositions, trace } from "../../dsl/index.ts";
import { bundledModels, visionRules } from "../../models/index.ts";
import { initialValue, openSafetensors, writeSafetensors } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { heddle, modelFile, randomWeights, scratch, writePicture, writeWeights } from "./support.ts";
import tiny from "./tiny-model.ts";

const folder = scratch("checkpoints");
afterAll(() => folder.remove());

const vit = { width: 16, depth: 2, heads: 2, mlp: 24, image: 28, layerScale: 0.5 };
const small = (sizes: object, prefix = "") =>
  Object.entries(sizes).flatMap(([key, value]) => ["--set", `${prefix}${key}=${value}`]);
const text = { width: 16, depth: 2, heads: 2, mlp: 24, vocab: 259 };
const fox = folder.at("fox.png");

const known = (name: string) => bundledModels.find((m) => m.name === name)!.config;

/** All tensors of a file, an index or a folder, by name. */
async function tensorsOf(path: string) {
  await using reader = await openSafetensors(path);
  const all = [...reader.tensors.values()].map(async ({ name, dtype, shape }) => {
    return [name, { dtype, shape, data: [...(await reader.readTensor(name)).data] }] as const;
  });
  return new Map(await Promise.all(all));
}

beforeAll(async () => {
  await writePicture(fox, 200, 90, 20);
  const made = await heddle("convert", "internvit-6b", "--weights", "random", ...small(vit), "--out", folder.at("vit"));
  expect(made).toMatchObject({ status: 0 });
});

describe("convert", () => {
  it("writes the values that the initializers draw, under published names and shapes, with config.json", async () => {
    const stored = await tensorsOf(folder.at("vit"));
    const graph = trace(bundledModels.find((m) => m.name === "internvit-6b")!, vit);
    const nodes = new Map(graph.inputs.map((n) => [inputName(n), n]));
    for (const { parameter, name, shape } of checkpointLayout(graph, visionRules)) {
      const { data } = initialValue(nodes.get(parameter)!, 0);
      expect(stored.get(name)).toEqual({ dtype: "F32", shape, data: [...data] });
    }
    const config = JSON.parse(readFileSync(folder.at("vit", "config.json"), "utf8"));
    expect(config).toMatchObject({ model_type: "intern_vit_6b", hidden_size: 16, torch_dtype: "float32" });
  });

  it("gives identical tensors in shards, from either layout, and back", async () => {
    const model = modelFile("tiny-model.ts");
    await writeWeights(folder.at("own.safetensors"), randomWeights(trace(tiny)));
    const convert = async (from: string, to: string) => {
      const args = ["--weights", folder.at(from), "--out", folder.at(to), "--shard-size", "10kB"];
      const ended = await heddle("convert", model, ...args);
      expect(ended).toMatchObject({ status: 0 });
      return await tensorsOf(folder.at(to));
    };
    const once = await convert("own.safetensors", "published");
    expect(readdirSync(folder.at("published")).filter((f) => f.endsWith(".safetensors")).length).toBeGreaterThan(3);
    expect(once.get("text_projection")!.shape).toEqual([16, 8]);
    expect(await convert("published", "again")).toEqual(once);
  });

  it("rounds to bf16 as PyTorch does, and keeps bf16 as it is", async () => {
    const half = await heddle("convert", folder.at("vit"), "--dtype", "bf16", "--out", folder.at("half"));
    expect(half).toMatchObject({ status: 0 });
    const [exact, rounded] = [await tensorsOf(folder.at("vit")), await tensorsOf(folder.at("half"))];
    for (const [name, { data }] of exact) {
      expect(rounded.get(name)!.dtype).toBe("BF16");
      expect(difference(rounded.get(name)!.data, data)).toBeLessThan(2 ** -8);
    }
    await heddle("convert", folder.at("half"), "--out", folder.at("kept"));
    expect(await tensorsOf(folder.at("kept"))).toEqual(rounded);
  });

  it("leaves nothing of what it could not finish, and touches no folder that holds something", async () => {
    const before = readdirSync(folder.at()).sort();
    const huge = ["convert", "internvit-6b", "--weights", "random", ...small({ ...vit, layerScale: 1e6 })];
    const ended = await heddle(...huge, "--dtype", "f16", "--out", folder.at("huge"));
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("outside the range of f16") });
    const every = [0, 1].flatMap((i) =>
      ["ls1", "ls2"].map((name) => `tensor "encoder.layers.${i}.${name}", element 0`),
    );
    for (const name of every) expect(ended.err).toContain(name);
    const full = await heddle("convert", folder.at("vit"), "--out", folder.at("half"));
    expect(full).toMatchObject({ status: 1, err: expect.stringContaining("it is not empty") });
    expect(readdirSync(folder.at()).sort()).toEqual(before);
  });

  it.each([
    ["as they are stored", []],
    ["rounded", ["--dtype", "bf16"]],
    ["in another order", ["--dtype", "f16"]],
  ])("refuses weights that are not finite, by name, and writes nothing: %s", async (how, args) => {
    const weights = randomWeights(trace(tiny));
    const spoilt = ["text_projection.weight", "logit_scale", "clip_projector.norm1_q.bias"];
    for (const [i, name] of spoilt.entries())
      weights.get(name)!.data[0] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][i]!;
    await writeWeights(folder.at("spoilt.safetensors"), weights);
    const before = readdirSync(folder.at()).sort();
    const from = ["--weights", folder.at("spoilt.safetensors"), "--out", folder.at("never")];
    const ended = await heddle("convert", modelFile("tiny-model.ts"), ...from, ...args);
    expect([how, ended.status, ended.err]).toEqual([how, 1, expect.stringContaining("3 tensors cannot be stored:")]);
    for (const name of ["text_projection", "logit_scale", "clip_projector.norm1_q.bias"])
      expect(ended.err).toMatch(new RegExp(`tensor "${name}[^"]*", element 0: it is .*weights must be finite`));
    expect(readdirSync(folder.at()).sort()).toEqual(before);
  });

  it.each([
    [["--weights", "random", "--dtype", "int8"], "--dtype must be one of f32, f16, bf16"],
    [["--weights", "random", "--shard-size", "much"], "must be a size"],
    [[], "convert needs --weights"],
  ])("says what is wrong with %j", async (args, message) => {
    const ended = await heddle("convert", "internvit-6b", ...small(vit), ...args, "--out", folder.at("x"));
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining(message) });
    expect(existsSync(folder.at("x"))).toBe(false);
  });

  it("keeps parameters of the model's other graphs, and those that no graph reads", async () => {
    const model = modelFile("tiny-heads.ts");
    const convert = async (from: string, to: string) => {
      const ended = await heddle("convert", model, "--weights", from, "--out", folder.at(to));
      expect(ended).toMatchObject({ status: 0 });
      return { err: ended.err, tensors: await tensorsOf(folder.at(to)) };
    };
    const { err, tensors } = await convert("random", "heads");
    expect([...tensors.keys()].sort()).toEqual(["first.bias", "first.weight", "second.bias", "second.weight", "spare"]);
    expect(err).toContain(
      "tiny-heads: the checkpoint layout has no rule for third.*, which its main graph does not read: not written",
    );
    const again = await convert(folder.at("heads"), "heads-again");
    expect(again.tensors).toEqual(tensors);
    expect(again.err).not.toContain("not loaded");
    const lacking = [...tensors].filter(([name]) => name !== "second.bias");
    await writeSafetensors(
      folder.at("part.safetensors"),
      lacking.map(([name, { shape, data }]) => ({ name, dtype: "F32", shape, data: () => [Float32Array.from(data)] })),
    );
    const part = await convert(folder.at("part.safetensors"), "heads-part");
    expect([...part.tensors.keys()].sort()).toEqual(["first.bias", "first.weight", "second.weight", "spare"]);
  });

  it("takes the tokenizer along", async () => {
    cpSync(folder.at("vit"), folder.at("with-tokenizer"), { recursive: true });
    writeFileSync(folder.at("with-tokenizer", "tokenizer.json"), "{}");
    await heddle("convert", folder.at("with-tokenizer"), "--out", folder.at("taken"));
    expect(readFileSync(folder.at("taken", "tokenizer.json"), "utf8")).toBe("{}");
  });
});

describe("a checkpoint's folder as the model", () => {
  const queries = { "text.queries": 3, "text.crossEvery": 2, embed: 8, poolingHeads: 2 };
  const tower = small(vit, "vision.");
  it.each([
    ["internvit-6b", small(vit), "intern_vit_6b"],
    ["vicuna-7b", small(text), "llama"],
    ["internlm-7b", small(text), "internlm"],
    ["internvl-c", [...tower, ...small(text, "text."), ...small({ embed: 8, poolingHeads: 2 })], "internvl"],
    ["internvl-g", [...tower, ...small(text, "text."), ...small(queries)], "internvl"],
    ["internvl-chat-vicuna-7b", [...tower, ...small(text, "text."), "--set", "features=-2"], "llava"],
    [
      "internvl-chat-vicuna-7b-qllama",
      [...tower, ...small(text, "text."), ...small({ ...text, queries: 3 }, "qllama."), "--set", "features=-1"],
      "llava",
    ],
  ])("is %s", async (name, sizes, type) => {
    const out = folder.at(`model-${name}`);
    expect(await heddle("convert", name, "--weights", "random", ...sizes, "--out", out)).toMatchObject({ status: 0 });
    expect(JSON.parse(readFileSync(`${out}/config.json`, "utf8")).model_type).toBe(type);
    const short = type === "intern_vit_6b" ? [] : ["--set", `${"vision" in known(name) ? "text." : ""}context=12`];
    const [given, read] = [
      await heddle("inspect", name, ...sizes, "--json"),
      await heddle("inspect", out, "--json"),
    ].map((ended) => JSON.parse(ended.out) as { model: string; parameters: number });
    expect([read!.model, read!.parameters]).toEqual([type, given!.parameters]);
    const onnx = await heddle("export", out, ...short, "--out", folder.at("model.onnx"), "--verify");
    expect(onnx).toMatchObject({ status: 0, out: expect.stringContaining(out) });
  });

  it("gives a bundled model its sizes", async () => {
    const out = folder.at("model-internvl-g");
    const args = ["--weights", out, "--device", "cpu", "--tokenizer", "bytes", "classify", "--image", fox];
    expect(await heddle("run", "internvl-c", ...args, "--labels", "fox,sea")).toMatchObject({ status: 0 });
    const other = await heddle(
      "run",
      "internvit-6b",
      "--weights",
      out,
      "features",
      "--image",
      fox,
      "--out",
      folder.at("x"),
    );
    expect(other.err).toContain("pass the folder itself as the model");
  });

  it("talks where it is a language model alone, and says that it sees nothing", async () => {
    const chat = [
      "run",
      folder.at("model-vicuna-7b"),
      "--device",
      "cpu",
      "chat",
      "--prompt",
      "Hi",
      "--max-tokens",
      "3",
    ];
    expect(await heddle(...chat)).toMatchObject({ status: 0 });
    const blind = await heddle(...chat, "--image", fox);
    expect(blind).toMatchObject({ status: 1, err: expect.stringContaining("takes no image") });
  });

  it.each([
    ["no config.json", undefined, "has no config.json"],
    ["no JSON", "{", "config.json: "],
    ["a list", "[]", "expected a JSON object"],
    ["another model", '{"model_type":"qwen2"}', '"model_type" is "qwen2"'],
    ["no model", "{}", '"model_type" is missing'],
    ["a missing size", '{"model_type":"llama","hidden_act":"silu"}', '"num_attention_heads" is missing'],
    [
      "a size that is none",
      '{"model_type":"llama","num_attention_heads":1e9}',
      "expected an integer from 1 to 16777216",
    ],
  ])("says what is wrong: %s", async (_, content, message) => {
    const at = folder.at("broken");
    cpSync(folder.at("vit"), at, { recursive: true, filter: (f) => !f.endsWith("config.json") });
    if (content !== undefined) writeFileSync(folder.at("broken", "config.json"), content);
    const ended = await heddle("inspect", at);
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining(message) });
    expect(ended.err.trim().split("\n")).toHaveLength(1);
  });
});

describe("positions of another grid", () => {
  it("are interpolated when the picture's size changes", async () => {
    const command = ["run", folder.at("vit"), "--device", "cpu", "--set", "image=56"];
    const out = folder.at("larger");
    const ended = await heddle(...command, "features", "--image", fox, "--blocks", "0", "--out", out);
    expect(ended).toMatchObject({
      status: 0,
      err: expect.stringContaining("2 × 2 patches of the weights to 4 × 4"),
    });
    // The class token sees no pixel: its state is its embedding and position, as stored.
    const [maps, stored] = [await tensorsOf(folder.at("larger", "fox.safetensors")), await tensorsOf(folder.at("vit"))];
    const positions = stored.get("embeddings.position_embedding")!.data;
    const want = stored.get("embeddings.class_embedding")!.data.map((v, i) => v + positions[i]!);
    expect(maps.get("block.0")!.shape).toEqual([4, 4, 16]);
    expect(difference(maps.get("block.0.class")!.data, want)).toBeLessThan(1e-6);
    expect(resizedPositions(Float32Array.from(positions), 2, 4)).toHaveLength(17 * 16);
  });

  it("stay an error where --set says what they are for", async () => {
    const command = ["run", folder.at("vit"), "--device", "cpu", "--set", "image=56", "--set", "positions=42"];
    const wrong = await heddle(...command, "features", "--image", fox, "--out", folder.at("wrong"));
    expect(wrong).toMatchObject({ status: 1, err: expect.stringContaining("1 with another shape") });
  });
});
