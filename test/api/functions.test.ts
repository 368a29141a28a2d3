/** The package's functions in Node, each by what it gives and what it refuses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";
import * as h from "../../api/index.ts";
import { openSession, wrap } from "../../backends/onnxruntime/session.ts";
import { loadBundle } from "../../backends/webgpu/bundle/run.js";
import { learnTokenizer } from "../../data/bpe.ts";
import { decodeImage, imageTensor } from "../../data/index.ts";
import { gpt2Models } from "../../models/gpt2/index.ts";
import t5 from "../cli/strangers/t5.ts";
import { softwareDevice } from "../support/adapter.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-api-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const batch = h.axis("batch", "batch");
const feature = h.axis("feature", 3);
const scaled = (p: h.Params, by: number) =>
  h.scale(h.mul(h.input("x", "f32", [batch, feature]), p.parameter("w", [feature], h.ones)), by);
const mean = (y: h.Tensor<"batch" | "feature">) => h.mean(h.mean(y, feature), batch);
const model = h.defineModel({
  name: "scaled",
  summary: "a product",
  config: { by: 2 },
  build: (p, c) => ({ y: scaled(p, c.by) }),
  graphs: { twice: { summary: "its double", build: (p, c) => ({ z: scaled(p, 2 * c.by) }) } },
});
const w = new Map([["w", h.hostTensor("f32", [{ name: "feature", size: 3 }], [1, 10, -1])]]);
const x = h.hostTensor(
  "f32",
  [
    { name: "batch", size: 2 },
    { name: "feature", size: 3 },
  ],
  [1, 2, 3, 4, 5, 6],
);

const device = await h.openDevice("reference");

describe("session", () => {
  const values = async (options: h.SessionOptions<{ readonly by: number }>) => {
    const session = await h.session(device, model, options);
    const [out] = Object.values(await session.run({ x }));
    session.dispose();
    return [...out!.data];
  };

  test("runs a model, with other settings, and its named graphs", async () => {
    expect(await values({ weights: w })).toEqual([2, 40, -6, 8, 100, -12]);
    expect(await values({ weights: w, settings: { by: 1 } })).toEqual([1, 20, -3, 4, 50, -6]);
    expect(await values({ weights: w, graph: "twice", sizes: { batch: 2 } })).toEqual([4, 80, -12, 16, 200, -24]);
    expect(await values({ weights: { seed: 1 } })).toEqual([2, 4, 6, 8, 10, 12]);
  });

  test("runs a graph, and reads what load gave", async () => {
    const path = join(folder, "w.safetensors");
    await h.save(path, w);
    const weights = await h.load(path);
    expect([...weights.tensors.keys()]).toEqual(["w"]);
    const session = await h.session(device, h.parseGraph(h.inspect(model)), { weights });
    expect([...(await session.run({ x })).y!.data]).toEqual([2, 40, -6, 8, 100, -12]);
    await weights.dispose();
  });

  test("names the weights that are missing", async () => {
    await expect(h.session(device, model)).rejects.toThrow("1 of 1 weights of graph @scaled are missing: w");
    await expect(h.session(device, model, { weights: join(folder, "none") })).rejects.toThrow("no such file");
  });
});

test("an ONNX file computes what a session does", async () => {
  const bytes = await h.exportOnnx(model, { weights: w, settings: { by: 3 } });
  const session = await openSession(bytes);
  const { y } = await session.run({ x: wrap("f32", x.data, [2, 3]) });
  expect([...(y!.data as Float32Array)]).toEqual([3, 60, -9, 12, 150, -18]);
});

test("a bundle runs without the compiler and computes what a session does", async () => {
  const files = await h.compile(model, { weights: w, sizes: { batch: 2 } });
  expect([...files.keys()].filter((name) => !name.endsWith(".wgsl"))).toEqual(["manifest.json", "weights.safetensors"]);
  const { device: gpu } = await softwareDevice();
  const read = async (name: string) => {
    const file = files.get(name)!;
    return typeof file === "string" ? new TextEncoder().encode(file) : file;
  };
  const bundle = await loadBundle("https://here/", { device: gpu, read });
  expect([...(Object.values(await bundle.run({ x: [...x.data] }))[0] as Float32Array)]).toEqual([
    2, 40, -6, 8, 100, -12,
  ]);
  await expect(bundle.run({ x: [...x.data], z: [1], q: [1] })).rejects.toThrow('no input "z", "q"; it has x');
  await expect(bundle.run(null as never)).rejects.toThrow('input "x" needs 6 values, f32 [batch=2, feature=3]');
  bundle.dispose();
  await expect(bundle.run({ x: [...x.data] })).rejects.toThrow("has been disposed");
  await expect(h.compile(model, { weights: w })).rejects.toThrow("batch");
});

describe("train", () => {
  const job = h.defineJob({
    name: "product",
    summary: "learns a product",
    config: { steps: 3, rate: 0.1 },
    async build({ steps, rate }) {
      const stage = h.defineStage({
        name: "product",
        optimizer: { rate: h.constantRate(rate) },
        loss: (p) => ({ loss: mean(h.mul(scaled(p, 1), scaled(p.shared(), 1))) }),
      });
      const batches = async function* (cursor: unknown) {
        for (let next = Number(cursor ?? 0) + 1; ; next++) yield { feeds: { x }, next };
      };
      return { step: h.trainingStep(stage), steps, sizes: { batch: 2 }, seed: 1, checkpointEvery: 10, batches };
    },
  });

  test("a job, with settings, whose figures are told and whose folder goes on", async () => {
    const told: number[] = [];
    const at = join(folder, "job");
    const onStep = (step: number, figures: Readonly<Record<string, number>>) => void (told[step] = figures.loss!);
    const first = await h.train(job, { device, folder: at, onStep });
    expect(told.slice(1)).toEqual(first.losses.map(({ loss }) => loss));
    expect(first.losses).toHaveLength(3);
    const longer = await h.train(job, { device, folder: at, settings: { steps: 5 } });
    expect(longer.losses.slice(0, 3)).toEqual(first.losses);
    expect([longer.steps, longer.weights.has("w")]).toEqual([5, true]);
    await expect(h.train(job, { device, folder: at, settings: { step: 5 } as object })).rejects.toThrow(
      "no setting step",
    );
  });

  test("one at a time in a folder", async () => {
    const at = join(folder, "held");
    const built = await job.build({ steps: 3, rate: 0.1 });
    let refused: unknown;
    const batches: h.TrainingJob["batches"] = async function* (cursor, signal) {
      refused = await h.train(job, { device, folder: at }).catch((error: unknown) => error);
      yield* built.batches(cursor, signal);
    };
    await h.train({ ...built, batches }, { device, folder: at });
    expect(String(refused)).toContain("is in use");
  });
});

describe("generate", () => {
  const settings = { width: 8, depth: 1, heads: 2, mlp: 8, vocab: h.byteTokenizer.vocabularySize, positions: 20 };
  const open = () =>
    h.openWriter(device, gpt2Models[0], { weights: { seed: 3 }, tokenizer: h.byteTokenizer, settings });

  test("gives a text in parts and whole, one at a time", async () => {
    const writer = await open();
    const text = h.generate(writer, "ab", { maxNewTokens: 6 });
    const { whole } = h.generate(writer, "cd");
    await expect(whole).rejects.toThrow("one text at a time");
    let parts = "";
    for await (const part of text) parts += part;
    const { tokens, text: all, ended } = await text.whole;
    expect([tokens.length, ended, parts]).toEqual([6, "length", all]);
    const searched = await h.generate(writer, "ab", { maxNewTokens: 6, strategy: { kind: "beam", beams: 2 } }).whole;
    expect(searched.tokens).toHaveLength(6);
    writer.dispose();
  });

  test("writes from a source text, with the tokens, beams and lengths of generation_config.json", async () => {
    const weights = fileURLToPath(new URL("../fixtures/strangers/t5", import.meta.url));
    const sizes = { width: 16, encoders: 3, head: 6, mlp: 24, buckets: 8, far: 20 };
    const { beams } = JSON.parse(readFileSync(join(weights, "expected.json"), "utf8"));
    const stored = JSON.parse(readFileSync(join(weights, "generation_config.json"), "utf8"));
    const generation = { ...stored, num_beams: 3, length_penalty: 0.5, max_length: 13 };
    const cpu = await h.openDevice("cpu");
    const writer = await h.openWriter(cpu, t5, { weights, tokenizer: h.byteTokenizer, settings: sizes, generation });
    const { tokens, ended } = await h.generate(writer, "no").whole;
    expect([tokens, ended]).toEqual([beams[1], "eos"]);
    writer.dispose();
    const wrong = { weights, tokenizer: h.byteTokenizer, generation: { eos_token_id: "2" } };
    await expect(h.openWriter(cpu, t5, wrong)).rejects.toThrow('openWriter: "eos_token_id" of `generation` must be');
    cpu.dispose();
  });

  test("refuses what does not fit, and ends where it is told to", async () => {
    const writer = await open();
    await expect(h.generate(writer, "ab", { maxNewTokens: 50 }).whole).rejects.toThrow(
      "the context length of the model is 20",
    );
    await expect(h.generate(writer, "a", { picture: x }).whole).rejects.toThrow("takes no images");
    const { ended } = await h.generate(writer, "ab", { maxNewTokens: 6, signal: AbortSignal.abort() }).whole;
    expect(ended).toBe("stopped");
    await expect(h.openWriter(device, model, { weights: w, tokenizer: h.byteTokenizer })).rejects.toThrow(
      "cannot generate text",
    );
    writer.dispose();
  });
});

describe("what a model takes", () => {
  test("a picture is as the command line reads it, from a path, bytes and a blob", async () => {
    const raw = { width: 40, height: 30, channels: 3 } as const;
    const png = await sharp(
      Uint8Array.from({ length: 3600 }, (_, i) => (i * 7) % 256),
      { raw },
    )
      .png()
      .toBuffer();
    const path = join(folder, "p.png");
    writeFileSync(path, png);
    const preprocessing = { mean: [0.5, 0.4, 0.3], std: [0.1, 0.2, 0.3], fit: "crop", margin: 1.5 } as const;
    const pixels = await decodeImage(path, { size: 16, fit: "crop", cover: 24 });
    const wanted = imageTensor([pixels], { size: 16, normalization: preprocessing });
    for (const source of [path, new Uint8Array(png), new Blob([new Uint8Array(png)])])
      expect(await h.picture(source, { size: 16, preprocessing })).toEqual(wanted);
    await expect(h.picture(path, { size: 0.5 })).rejects.toThrow("a whole number of pixels");
    await expect(h.picture(new Uint8Array(5), { size: 4 })).rejects.toThrow("cannot be read");
  });

  test("a tokenizer, with the special tokens that its configuration names", async () => {
    const json = new TextEncoder().encode(JSON.stringify(learnTokenizer(["red apple", "green apple"], 280)));
    const plain = await h.tokenizer(json);
    expect(plain.decode(plain.encodeByTemplate("red apple"))).toContain("red apple");
    expect(() => plain.eos).toThrow("has no eos token");
    const { added_tokens: added } = JSON.parse(new TextDecoder().decode(json)) as {
      added_tokens: { content: string }[];
    };
    const config = new Blob([JSON.stringify({ eos_token: added[0]!.content, bos_token: added[0]!.content })]);
    expect((await h.tokenizer(json, { config })).eos).toBeGreaterThanOrEqual(0);
    await expect(h.tokenizer(new TextEncoder().encode("[]"))).rejects.toThrow("is not a JSON object");
    await expect(h.tokenizer(new TextEncoder().encode("{"))).rejects.toThrow("is not JSON");
  });
});

describe("openDevice", () => {
  test("says what it took and why", async () => {
    expect(device.device.backend).toBe("reference");
    expect(device.reason).toBe("it was requested");
    const cpu = await h.openDevice("cpu");
    expect(cpu.device.backend).toBe("cpu");
    cpu.dispose();
    const opened = await h.openDevice("swiftshader").catch((error: unknown) => error as Error);
    if (opened instanceof Error)
      expect(opened.message).toMatch(/SwiftShader/); // made for Linux x64 only
    else {
      expect(opened.device).toMatchObject({ backend: "webgpu", software: true });
      expect(opened.reason).toContain("swiftshader was requested");
      opened.dispose();
    }
  });

  test("uses a GPUDevice of the caller's, which stays open", async () => {
    const { device: gpu } = await softwareDevice();
    const given = await h.openDevice(gpu);
    const session = await h.session(given, model, { weights: w });
    expect([...(await session.run({ x })).y!.data]).toEqual([2, 40, -6, 8, 100, -12]);
    session.dispose();
    given.dispose();
    const buffer = gpu.createBuffer({ size: 4, usage: 8 });
    await gpu.queue.onSubmittedWorkDone(); // rejects on a device that is gone
    buffer.destroy();
  });

  test("tells what is missing", async () => {
    await expect(h.openDevice("no such GPU as this")).rejects.toThrow(/no WebGPU adapter|no .* adapter/);
  });
});
