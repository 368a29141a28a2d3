/**
 * Models that heddle does not bundle, each in a file of its own, with checkpoints that transformers wrote
 * (scripts/reference/strangers.py): every command does with them what it does with its own.
 */
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { checkpointLayout, type Model, trace } from "../../dsl/index.ts";
import { createSession, openSafetensors, openWeights } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { colourData } from "./colour-data.ts";
import convnext from "./strangers/convnext.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("strangers");
const families = ["gpt-neox", "siglip", "convnext"] as const;
type Family = (typeof families)[number];
const file = (family: Family) => modelFile(`strangers/${family}.ts`);
const published = (family: Family, ...parts: string[]) =>
  join(fileURLToPath(new URL("../fixtures/strangers", import.meta.url)), family, ...parts);
const read = <T>(...path: string[]): T => JSON.parse(readFileSync(join(...path), "utf8")) as T;
const run = (family: Family, ...args: string[]) =>
  heddle("run", file(family), "--weights", published(family), "--device", "cpu", "--json", ...args);

beforeAll(() => colourData(folder));
afterAll(() => folder.remove());

describe("a stranger's checkpoint", () => {
  it.each(families)("is converted and converted back without a changed element: %s", async (family) => {
    const out = folder.at(`converted-${family}`);
    const ended = await heddle("convert", file(family), "--weights", published(family), "--out", out, "--json");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    await using ours = await openSafetensors(out);
    await using theirs = await openSafetensors(published(family));
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const [name, { shape }] of theirs.tensors) {
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

  it("is exported and verified", async () => {
    const [graph, out] = [["--graph", "decode"], folder.at("step.onnx")];
    const ended = await heddle(
      "export",
      file("gpt-neox"),
      ...graph,
      "--weights",
      published("gpt-neox"),
      "--out",
      out,
      "--verify",
      "--json",
    );
    expect(ended.status).toBe(0);
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
    expect(JSON.parse(ended.out)).toMatchObject([{ prompt, promptTokens: ids, tokens }]);
    const talk = await run("gpt-neox", ...bytes, "chat", "--prompt", "a", "b", "--max-tokens", "4");
    expect(JSON.parse(talk.out)).toHaveLength(2);
    const long = await run("gpt-neox", ...bytes, "generate", "--prompt", "x".repeat(60), "--max-tokens", "9");
    expect(long).toMatchObject({
      status: 1,
      err: expect.stringContaining("need 70 tokens; the model takes at most 64"),
    });
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
    const graph = trace(convnext);
    const layout = checkpointLayout(graph, (convnext as unknown as Model).checkpoints!.layouts[0]!);
    const weights = await openWeights(published("convnext"), graph, [layout]);
    const backend = await cpuBackend();
    const values = new Map<string, HostTensor>();
    for (const { parameter } of layout) values.set(parameter, await weights.read(parameter));
    const session = await createSession(backend, graph, values);
    const axes = Object.entries({ batch: 1, channel: 3, row: 32, column: 32 }).map(([name, size]) => ({ name, size }));
    const { logits } = await session.run({ pixels: hostTensor("f32", axes, want.pixels) });
    expect(difference(logits!.data, want.logits)).toBeLessThan(1e-4);
    await weights.dispose();
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
  });
});
