/**
 * Plain texts from the command line: decoders trained on them and judged by them, beside transformers
 * (scripts/reference/language.py).
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openSafetensors } from "../../runtime/index.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const fixture = (path: string) => fileURLToPath(new URL(`../fixtures/${path}`, import.meta.url));
const want = JSON.parse(readFileSync(fixture("language.json"), "utf8"));
const folder = scratch("texts");
beforeAll(() => {
  mkdirSync(folder.at("texts"));
  writeFileSync(folder.at("texts/sea.txt"), want.text);
});
afterAll(() => folder.remove());

const decoders = {
  gpt2: { model: "gpt2", stage: "language-modelling", weights: fixture("families/gpt2"), more: [] },
  "gpt-neox": {
    ...{ model: modelFile("strangers/gpt-neox.ts"), stage: "texts", weights: fixture("strangers/gpt-neox") },
    more: ["--tokenizer", "bytes"],
  },
} as const;
type Decoder = keyof typeof decoders;

const sets = (settings: object) => Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
const train = async (name: Decoder, settings: object, ...args: string[]) => {
  const { model, stage, weights, more } = decoders[name];
  const course = { steps: want.steps, batch: want.batch, rate: want.rate, length: want[name].length, ...settings };
  const source = args.includes("--from") ? [] : ["--from", weights];
  const from = args.includes("--resume") ? [] : ["--data", folder.at("texts"), ...source, ...more];
  const where = ["--device", "cpu", "--runs", folder.at("runs")];
  const ended = await heddle("train", model, "--stage", stage, ...from, ...where, ...sets(course), ...args, "--json");
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended;
};
const lines = (run: string) =>
  readFileSync(folder.at("runs", run, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number>);
const losses = (run: string) => lines(run).map(({ loss }) => loss!);

const expectLearned = (name: Decoder, losses: readonly number[]) => {
  expect(losses).toHaveLength(want.steps);
  for (const [i, loss] of losses.entries()) expect(Math.abs(loss / want[name].losses[i] - 1)).toBeLessThan(1e-5);
};

describe("learning from texts", () => {
  it("takes GPT-2 where transformers does, and where it was stopped to the bit", async () => {
    const run = "gpt2-language-modelling";
    const { err } = await train("gpt2", { checkpointEvery: 4 });
    expect(err).toContain("the run trains on 20 rows of 20 tokens: 400 tokens");
    expectLearned("gpt2", losses(run));
    const whole = readFileSync(folder.at("runs", run, "model.safetensors"));
    for (const gone of ["summary.json", "model.safetensors", "checkpoints/step-000010"])
      rmSync(folder.at("runs", run, gone), { recursive: true });
    const resumed = await train("gpt2", { checkpointEvery: 4 }, "--resume");
    expect(resumed.err).toContain("resumed at step 8");
    expect(readFileSync(folder.at("runs", run, "model.safetensors")).equals(whole)).toBe(true);
  });

  it("takes a stranger's decoder there too, in micro-batches, judged by texts", async () => {
    await train("gpt-neox", { accumulate: 2 }, "--validate", folder.at("texts"));
    expectLearned("gpt-neox", losses("gpt-neox-texts"));
    expect(lines("gpt-neox-texts").at(-1)!["validation/loss"]).toBeLessThan(want["gpt-neox"].losses[0]);
  });

  it("is a stage of LLaMA too, whose texts have no padding", async () => {
    const sizes = { width: 12, depth: 1, heads: 2, mlp: 16, vocab: 259, length: 20, steps: 12, batch: 2, rate: 1e-2 };
    const where = ["--device", "cpu", "--runs", folder.at("runs"), "--data", folder.at("texts")];
    const ended = await heddle("train", "vicuna-7b", "--stage", "language-modelling", ...where, ...sets(sizes));
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const all = losses("vicuna-7b-language-modelling");
    expect(Math.abs(all[0]! - Math.log(259))).toBeLessThan(0.1);
    expect(all.at(-1)).toBeLessThan(all[0]! - 0.2);
  });

  it("by low-rank updates leaves a plain model, which goes on, and refuses what would lose the updates or mean others", async () => {
    const lora = { "lora.pattern": "h.*.attn.**", "lora.rank": 2, trainable: "ln_f.**", frozen: "int8", ema: 0.9 };
    const base = folder.at("base");
    cpSync(decoders.gpt2.weights, base, { recursive: true });
    const at = folder.at("adapted", "gpt2-language-modelling");
    const own = ["--runs", folder.at("adapted")];
    await train("gpt2", { ...lora, checkpointEvery: 4 }, "--from", base, ...own);
    const published = folder.at("adapted-published");
    expect(await heddle("convert", "gpt2", "--weights", at, "--out", published)).toMatchObject({ status: 0 });
    await using given = await openSafetensors(decoders.gpt2.weights);
    await using made = await openSafetensors(at);
    await using converted = await openSafetensors(published);
    const same: string[] = [];
    for (const name of given.tensors.keys()) {
      const [was, is] = [(await given.readTensor(name)).data, (await converted.readTensor(name)).data];
      if (was.every((value, i) => value === is[i])) same.push(name);
    }
    // Updates are of the matrices of attention; what is frozen is written as it was given, not as integers.
    expect(same.filter((name) => /attn\.c_.*weight|ln_f/.test(name))).toEqual([]);
    expect(same).toHaveLength(given.tensors.size - 2 - 4);
    const onnx = folder.at("adapted.onnx");
    const exported = await heddle("export", "gpt2", "--weights", at, "--out", onnx, "--verify", "--json");
    expect(JSON.parse(exported.out)).toMatchObject({ verified: { maxRelDiff: expect.any(Number) } });
    await train("gpt2", { steps: 1 }, "--from", at, "--runs", folder.at("after"));
    const after = readFileSync(folder.at("after/gpt2-language-modelling/metrics.jsonl"), "utf8");
    expect(JSON.parse(after.split("\n")[0]!).loss).toBeLessThan(want.gpt2.losses[0] - 0.1);

    const failed = async (...args: string[]) => {
      const ended = await heddle("train", "gpt2", "--stage", "language-modelling", "--device", "cpu", ...own, ...args);
      expect(ended.status).toBe(1);
      return ended.err;
    };
    const checkpoint = join(at, "checkpoints/step-000008");
    const onto = ["--data", folder.at("texts"), "--from", checkpoint, "--from", base];
    for (const more of [[], sets(lora)])
      expect(await failed(...onto, ...more)).toContain('of low-rank updates, such as "h.0.attn.c_attn.lora_');
    for (const gone of ["summary.json", "model.safetensors", "checkpoints/step-000010"])
      rmSync(join(at, gone), { recursive: true });
    expect(await failed("--resume", "--set", "lora.rank=3")).toContain("lora.rank was 2 and is now 3");
    const file = join(base, "model.safetensors");
    const bytes = readFileSync(file);
    const first = 8 + Number(bytes.readBigUInt64LE(0)); // the first byte of a tensor
    writeFileSync(file, bytes.with(first, bytes[first]! ^ 1));
    expect(await failed("--resume")).toContain("the weights given now differ");
    writeFileSync(file, bytes);
    const again = await train("gpt2", { ...lora, checkpointEvery: 4 }, "--resume", ...own);
    expect(again.err).toContain("resumed at step 8");
    await using resumed = await openSafetensors(at);
    for (const name of made.tensors.keys())
      expect((await resumed.readTensor(name)).data).toEqual((await made.readTensor(name)).data);
  });

  it("is refused for rows that are longer than the model takes", async () => {
    const args = ["--stage", "language-modelling", "--data", folder.at("texts"), "--from", decoders.gpt2.weights];
    const ended = await heddle("train", "gpt2", ...args, "--set", "length=25", "--runs", folder.at("none"));
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("length is 25; expected an integer") });
  });
});

describe("perplexity", () => {
  it.each([
    ["gpt2", "perplexity"],
    ["gpt-neox", "perplexityBegun"],
  ] as const)("of %s is that of transformers, in windows that overlap", async (name, key) => {
    const { model, weights, more } = decoders[name];
    const args = ["--weights", weights, "--device", "cpu", "--protocol", "perplexity", "--data", folder.at("texts")];
    const { stride, loss, tokens, bitsPerByte } = want[key];
    const ended = await heddle("evaluate", model, ...args, ...more, "--stride", `${stride}`, "--batch", "3", "--json");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const { results, samples } = JSON.parse(ended.out);
    expect([samples, results.all.tokens]).toEqual([1, tokens]);
    expect(results.all.loss / loss).toBeCloseTo(1, 6);
    expect(results.all.bitsPerByte / bitsPerByte).toBeCloseTo(1, 6);
    expect(results.all.perplexity).toBeCloseTo(Math.exp(results.all.loss), 6);
  });

  it("takes strides within what a model takes", async () => {
    const { model, weights } = decoders.gpt2;
    const args = ["--weights", weights, "--protocol", "perplexity", "--data", folder.at("texts"), "--stride", "24"];
    const ended = await heddle("evaluate", model, ...args);
    expect(ended).toMatchObject({
      status: 1,
      err: expect.stringContaining("must be less than the model's context of 24 tokens"),
    });
  });
});
