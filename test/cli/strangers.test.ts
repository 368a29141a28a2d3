/**
 * Models that heddle does not bundle, each in a file of its own, with checkpoints that transformers wrote
 * (scripts/reference/strangers.py): every command does with them what it does with its own.
 */
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { byteTokenizer } from "../../data/index.ts";
import { checkpointLayout, type Model, trace } from "../../dsl/index.ts";
import { createSession, idRow, openSafetensors, openWeights, permute } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { colourData } from "./colour-data.ts";
import convnext from "./strangers/convnext.ts";
import gemma2 from "./strangers/gemma2.ts";
import segformer from "./strangers/segformer.ts";
import t5 from "./strangers/t5.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("strangers");
const families = ["gpt-neox", "siglip", "convnext", "t5", "trocr", "gemma2", "segformer"] as const;
type Family = (typeof families)[number];
const file = (family: Family) => modelFile(`strangers/${family}.ts`);
const published = (family: Family, ...parts: string[]) =>
  join(fileURLToPath(new URL("../fixtures/strangers", import.meta.url)), family, ...parts);
const read = <T>(...path: string[]): T => JSON.parse(readFileSync(join(...path), "utf8")) as T;
const run = (family: Family, ...args: string[]) =>
  heddle("run", file(family), "--weights", published(family), "--device", "cpu", "--json", ...args);

interface T5Facts {
  readonly texts: readonly string[];
  readonly greedy: readonly number[][];
  readonly beams: readonly number[][];
  readonly logits: number[];
}

/** The logits of a model's own graph with its published weights, on the cpu device. */
async function logitsOf(
  model: Model,
  family: Family,
  feeds: Readonly<Record<string, HostTensor>>,
): Promise<HostTensor> {
  const config = model.checkpoints?.config?.read(read(published(family), "config.json"), model.config) ?? model.config;
  const graph = trace(model, config);
  const layout = checkpointLayout(graph, model.checkpoints!.layouts[0]!);
  const weights = await openWeights(published(family), graph, [layout]);
  const values = new Map<string, HostTensor>();
  for (const { parameter } of layout) values.set(parameter, await weights.read(parameter));
  const session = await createSession(await cpuBackend(), graph, values);
  const { logits } = await session.run(feeds);
  await weights.dispose();
  return logits!;
}

const lastLogits = async (...of: Parameters<typeof logitsOf>) => {
  const { axes, data } = await logitsOf(...of);
  return data.slice(-axes.at(-1)!.size);
};

/** An attention mask i32 [batch = 1, key_token] without padding. */
const ones = (length: number): HostTensor => {
  const axes = Object.entries({ batch: 1, key_token: length }).map(([name, size]) => ({ name, size }));
  return hostTensor("i32", axes, Array<number>(length).fill(1));
};

beforeAll(() => colourData(folder));
afterAll(() => folder.remove());

describe("a stranger's checkpoint", () => {
  it.each(families)("is converted and converted back without a changed element: %s", async (family) => {
    const out = folder.at(`converted-${family}`);
    const ended = await heddle("convert", file(family), "--weights", published(family), "--out", out, "--json");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    await using ours = await openSafetensors(out);
    await using theirs = await openSafetensors(published(family));
    const counts = /num_batches_tracked$/; // of steps that PyTorch's batch norms have taken
    const stored = [...theirs.tensors].filter(([name]) => !counts.test(name));
    expect([...ours.tensors.keys()].sort()).toEqual(stored.map(([name]) => name).sort());
    for (const [name, { shape }] of stored) {
      expect([name, ours.tensors.get(name)!.shape]).toEqual([name, shape]);
      expect((await ours.readTensor(name)).data).toEqual((await theirs.readTensor(name)).data);
    }
  });

  it("has the sizes that its config.json says, and those it is written with", async () => {
    const ended = await heddle("inspect", file("gpt-neox"), "--json");
    expect(JSON.parse(ended.out)).toMatchObject({ parametersByGroup: { embed_out: 8288 } });
    const [before, after] = [published("gpt-neox"), folder.at("converted-gpt-neox")].map((at) =>
      read<Record<string, unknown>>(at, "config.json"),
    );
    const { transformers_version: _, dtype: __, ...kept } = before!;
    expect(after).toMatchObject(kept); // those too that the record does not write, such as layer_norm_eps
    const text = readFileSync(folder.at("converted-gpt-neox", "config.json"), "utf8");
    expect(text).toMatch(/"layer_norm_eps": 1e-05/); // as Python spells it
  });

  it.each([
    ["gpt-neox", "decode"],
    ["t5", "encode"],
    ["t5", "decode"],
    ["trocr", "encode"],
    ["trocr", "decode"],
    ["gemma2", "decode"],
    ["segformer", "states"],
  ] as const)("is exported and verified: %s, %s", async (family, graph) => {
    const out = ["--out", folder.at(`${family}-${graph}.onnx`)];
    const which = ["--graph", graph, "--weights", published(family)];
    const ended = await heddle("export", file(family), ...which, ...out, "--verify", "--json");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(JSON.parse(ended.out)).toMatchObject({ verified: { maxRelDiff: expect.any(Number) } });
  });
});

describe("what transformers computes", () => {
  it("is what GPT-NeoX writes, by the step and by a whole conversation", async () => {
    const { ids, tokens } = read<{ ids: number[]; tokens: number[] }>(published("gpt-neox"), "expected.json");
    const prompt = "Tem f";
    const bytes = ["--tokenizer", "bytes"];
    const ended = await run("gpt-neox", ...bytes, "generate", "--prompt", prompt, "--max-tokens", `${tokens.length}`);
    expect(ended.status).toBe(0);
    const text = byteTokenizer.decode([...ids, ...tokens]).slice(prompt.length);
    expect(JSON.parse(ended.out)).toMatchObject([{ prompt, text, promptTokens: ids, tokens }]);
    const talk = await run("gpt-neox", ...bytes, "chat", "--prompt", "a", "b", "--max-tokens", "4");
    expect(JSON.parse(talk.out)).toHaveLength(2);
    const long = await run("gpt-neox", ...bytes, "generate", "--prompt", "x".repeat(60), "--max-tokens", "9");
    expect(long).toMatchObject({
      status: 1,
      err: expect.stringContaining("need 70 tokens; the model takes at most 64"),
    });
  });

  it("is what Gemma 2 writes: capped logits, sliding windows, and penalties of its generation_config.json", async () => {
    const want = read<Record<"ids" | "logits" | "tokens" | "beams", number[]>>(published("gemma2"), "expected.json");
    const write = (...how: string[]) =>
      run("gemma2", "--tokenizer", "bytes", "generate", "--prompt", "a red fox", "--max-tokens", ...how);
    const plain = await write("16");
    expect([plain.status, plain.status === 0 ? "" : plain.err]).toEqual([0, ""]);
    expect(JSON.parse(plain.out)).toMatchObject([{ promptTokens: want.ids, tokens: want.tokens }]);
    expect(JSON.parse((await write("10", "--beams", "3")).out)).toMatchObject([{ tokens: want.beams }]);
    const logits = await lastLogits(gemma2 as unknown as Model, "gemma2", { ids: idRow(want.ids) });
    expect(difference(logits, want.logits)).toBeLessThan(1e-4);
  });

  it("is what T5 writes of source texts, greedily and with beams, by the rules of generation_config.json", async () => {
    const { texts, greedy, beams, logits } = read<T5Facts>(published("t5"), "expected.json");
    const write = (...how: string[]) =>
      run("t5", "--tokenizer", "bytes", "generate", "--prompt", ...texts, "--max-tokens", ...how);
    const plain = await write("24");
    expect([plain.status, plain.status === 0 ? "" : plain.err]).toEqual([0, ""]);
    const text = byteTokenizer.decode(greedy[1]!).trimStart();
    expect(JSON.parse(plain.out)).toMatchObject([{ tokens: greedy[0] }, { prompt: texts[1], text, tokens: greedy[1] }]);
    const searched = await write("12", "--beams", "3", "--length-penalty", "0.5");
    expect(JSON.parse(searched.out)).toMatchObject(beams.map((tokens) => ({ tokens })));
    const ids = byteTokenizer.encodeByTemplate(texts[0]!);
    const feeds = { input_ids: idRow(ids), attention_mask: ones(ids.length), decoder_input_ids: idRow([0, 9, 40]) };
    expect(difference(await lastLogits(t5 as unknown as Model, "t5", feeds), logits)).toBeLessThan(1e-4);
    const long = await run("t5", "--tokenizer", "bytes", "generate", "--prompt", "x".repeat(600));
    expect(long).toMatchObject({
      status: 1,
      err: expect.stringContaining("has 602 tokens; the encoder takes at most 512"),
    });
    const other = await run("t5", "--tokenizer", "bytes", "caption", "--image", published("siglip", "picture.png"));
    expect(other).toMatchObject({ status: 1, err: expect.stringContaining('"t5" does not support caption') });
  });

  it("is what TrOCR reads in a picture, with the beams and lengths of generation_config.json, and greedily", async () => {
    const { greedy, beams } = read<{ greedy: number[]; beams: number[] }>(published("trocr"), "expected.json");
    const [fox, bytes] = [published("trocr", "picture.png"), ["--tokenizer", "bytes"]];
    const ended = await run("trocr", ...bytes, "caption", "--image", fox, fox);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(JSON.parse(ended.out)).toMatchObject([{ tokens: beams }, { tokens: beams }]);
    const plain = await run("trocr", ...bytes, "caption", "--greedy", "--image", fox);
    expect(JSON.parse(plain.out)).toMatchObject([{ tokens: greedy }]);
  });

  it("is what SigLIP says of a picture file", async () => {
    const want = read<{ labels: string[]; logits: number[]; probabilities: number[] }>(
      published("siglip"),
      "expected.json",
    );
    const image = published("siglip", "picture.png");
    const labels = want.labels.join();
    const ended = await run("siglip", "--tokenizer", "bytes", "classify", "--image", image, "--labels", labels);
    const [{ guesses }] = JSON.parse(ended.out) as [
      { guesses: { label: string; logit: number; probability: number }[] },
    ];
    for (const { label, logit, probability } of guesses) {
      const at = want.labels.indexOf(label);
      expect(Math.abs(logit - want.logits[at]!)).toBeLessThan(1e-3);
      expect(Math.abs(probability - want.probabilities[at]!)).toBeLessThan(1e-3);
    }
    expect(ended.err).toContain("mean 0.5 0.5 0.5");
  });

  it("is what ConvNeXt says of pixels, and its classes have the names of config.json", async () => {
    const want = read<{ pixels: number[]; logits: number[] }>(published("convnext"), "expected.json");
    const axes = Object.entries({ batch: 1, channel: 3, row: 32, column: 32 }).map(([name, size]) => ({ name, size }));
    const feeds = { pixels: hostTensor("f32", axes, want.pixels) };
    const logits = await logitsOf(convnext as unknown as Model, "convnext", feeds);
    expect(difference(logits.data, want.logits)).toBeLessThan(1e-4);
    const ended = await run("convnext", "classify", "--image", published("siglip", "picture.png"));
    const [{ guesses }] = JSON.parse(ended.out) as [{ guesses: { label: string; probability: number }[] }];
    expect(guesses.map((g) => g.label).sort()).toEqual(["ant", "bee", "cow", "dog"]);
    expect(guesses.reduce((sum, g) => sum + g.probability, 0)).toBeCloseTo(1);
  });
});

it("weights drawn at random have no files beside them, whatever lies where the command runs", async () => {
  const before = process.cwd();
  process.chdir(published("siglip"));
  try {
    const labels = ["--tokenizer", "bytes", "--device", "cpu", "classify", "--image", "picture.png"];
    const ended = await heddle("run", file("convnext"), "--weights", "random", ...labels);
    expect(ended).toMatchObject({ status: 0, err: expect.stringContaining("(from convnext)") });
    expect(ended.out).toContain("class 0");
  } finally {
    process.chdir(before);
  }
});

describe("what SegFormer sees in a picture", () => {
  interface Facts {
    readonly pixels: number[];
    readonly logits: number[];
    readonly classes: string;
  }
  const want = read<Facts>(published("segformer"), "expected.json");
  const image = published("segformer", "picture.png");
  const segmented = async (...how: string[]) => {
    const out = folder.at(`segmented-${how.length}-${how.includes("--fixed")}`);
    const ended = await run("segformer", ...how, "segment", "--image", image, "--out", out);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const found = await sharp(join(out, "picture.classes.png")).toColourspace("b-w").raw().toBuffer();
    return { ...ended, classes: [...found].join("") };
  };

  it("are the logits of transformers", async () => {
    const axes = Object.entries({ batch: 1, channel: 3, row: 32, column: 32 }).map(([name, size]) => ({ name, size }));
    const feeds = { pixels: hostTensor("f32", axes, want.pixels) };
    const logits = await logitsOf(segformer as unknown as Model, "segformer", feeds);
    const inOrder = permute(logits, ["batch", "class", "row", "column"]);
    expect(difference(inOrder.data, want.logits)).toBeLessThan(1e-4);
  });

  it("are the classes of transformers, of the whole image, since its preprocessor_config.json squashes it", async () => {
    const { classes, err, out } = await segmented();
    expect(classes).toBe(want.classes);
    expect(err).toContain("32 × 32, squash, bilinear");
    expect(out).toContain('"label": "sea"');
    expect((await segmented("--fixed")).classes).toBe(want.classes);
  });

  it("are numbered from 1 if its file has do_reduce_labels, which a stage applies itself", async () => {
    const reduced = folder.at("reduced");
    cpSync(published("segformer"), reduced, { recursive: true });
    const processor = join(reduced, "preprocessor_config.json");
    writeFileSync(processor, JSON.stringify({ ...read<object>(processor), do_reduce_labels: true }));
    const { classes } = await segmented("--weights", reduced);
    expect([...classes].map((c) => String(Number(c) - 1)).join("")).toBe(want.classes);
    const [data, runs] = [folder.at("seg/images"), folder.at("reduced-runs")];
    const how = ["--stage", "masks", "--data", data, "--from", reduced, "--runs", runs, "--set", "classes=4"];
    const ended = await heddle("train", file("segformer"), ...how, "--device", "cpu", "--set", "steps=1");
    expect(ended).toMatchObject({
      status: 0,
      err: expect.stringContaining("do_reduce_labels, by which 0 is no class"),
    });
    expect(ended.err).toMatch(/stage masks of segformer\n/); // it starts from the checkpoint, whatever it may start from
    expect(ended.err).not.toMatch(/num_batches_tracked/); // no weight is left out
  });

  it("keeps its class names when it is converted", () => {
    expect(read(folder.at("converted-segformer"), "config.json")).toMatchObject({
      id2label: { 0: "sky", 1: "sea", 2: "sand" },
    });
  });
});

describe("a stranger's run", () => {
  const train = (family: Family, stage: string, data: string, ...more: string[]) => {
    const settings = ["workers=0", "batch=3", "steps=3"].flatMap((s) => ["--set", s]);
    const at = ["--device", "cpu", "--runs", folder.at("runs"), "--from", published(family)];
    return heddle("train", file(family), "--stage", stage, "--data", folder.at(data), ...at, ...settings, ...more);
  };

  it("goes on from the checkpoint, sees pictures as the record says, and is found again by other commands", async () => {
    const ended = await train("siglip", "pairs", "pairs", "--tokenizer", "bytes");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const trained = folder.at("runs", "siglip-pairs");
    expect(read(trained, "config.json")).toMatchObject({
      heddle_model: "siglip",
      heddle_source: "siglip.ts",
      width: 16,
    });
    const [fox, index] = [folder.at("fox"), folder.at("index.safetensors")];
    mkdirSync(fox, { recursive: true });
    copyFileSync(published("siglip", "picture.png"), join(fox, "a.png"));
    const cpu = ["--weights", trained, "--device", "cpu", "--tokenizer", "bytes"];
    expect(await heddle("run", file("siglip"), ...cpu, "retrieve", "index", fox, "--out", index)).toMatchObject({
      status: 0,
    });
    const alone = await heddle("inspect", trained);
    expect(alone).toMatchObject({ status: 1, err: expect.stringContaining("give siglip.ts as the model") });
  });

  it("trains a segmenter on masks of other classes than the weights have", async () => {
    const ended = await train("segformer", "masks", "seg/images", "--set", "classes=4");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(ended.err).toContain("initialized with zeros: the weights have 3 classes, not 4");
    const config = read<{ id2label: object }>(folder.at("runs", "segformer-masks"), "config.json");
    expect(Object.keys(config.id2label)).toHaveLength(4);
    const other = await heddle(
      ...["train", file("convnext"), "--stage", "classes", "--data", folder.at("classes"), "--device", "cpu"],
      ...["--runs", folder.at("refused"), "--from", published("convnext"), "--set", "classes=3", "--set", "batch=3"],
    );
    expect(other).toMatchObject({ status: 1, err: expect.stringMatching(/shapes of 2 tensors differ[\s\S]*fitHeads/) });
  });

  it("trains a classifier and takes its features", async () => {
    const ended = await train("convnext", "classes", "classes");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const trained = folder.at("runs", "convnext-classes");
    const image = published("siglip", "picture.png");
    const maps = await heddle(
      "run",
      file("convnext"),
      "--weights",
      trained,
      "--device",
      "cpu",
      "features",
      "--image",
      image,
      "--out",
      folder.at("maps"),
    );
    expect(maps.status).toBe(0);
    await using reader = await openSafetensors(folder.at("maps", "picture.safetensors"));
    expect(reader.tensors.get("block.0")!.shape).toEqual([4, 4, 12]);
    expect(maps.err).toMatch(/1 file in \S+: block 0 \[4, 4, 12\]\n$/);
  });

  it("has maps of each block's own size, which are told block by block", async () => {
    const image = published("siglip", "picture.png");
    const ended = await run(
      "segformer",
      "features",
      "--image",
      image,
      "--blocks",
      "3,0",
      "--out",
      folder.at("pyramid"),
    );
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const shapes = [
      [8, 8, 4],
      [1, 1, 8],
    ];
    expect(JSON.parse(ended.out)).toMatchObject([{ blocks: [0, 3], shape: shapes[1], shapes }]);
    await using reader = await openSafetensors(folder.at("pyramid", "picture.safetensors"));
    expect(["block.0", "block.3"].map((name) => reader.tensors.get(name)!.shape)).toEqual(shapes);
  });
});
