/** The modes that need no decoder, by command line, against the float64 interpreter. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor, makeGraph, selectOutputs } from "../../compiler/index.ts";
import { byteTokenizer, decodeImage, type Geometry, imageTensor, tokenBatch } from "../../data/index.ts";
import { rootParams, trace } from "../../dsl/index.ts";
import { internvit, pixelsInput } from "../../models/index.ts";
import { createSession, openSafetensors } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { heddle, modelFile, randomWeights, scratch, writePicture, writeWeights } from "./support.ts";
import tiny from "./tiny-model.ts";

const model = modelFile("tiny-model.ts");
const folder = scratch("run");
const graph = trace(tiny);
const weights = randomWeights(graph);
const backend = referenceBackend();
const cpu = (...args: string[]) =>
  heddle("run", model, "--weights", folder.at("model.safetensors"), "--device", "cpu", ...args);
const [fox, sea, sun] = ["fox.png", "sea.png", "sun.png"].map((name) => folder.at("pictures", name)) as [
  string,
  string,
  string,
];

beforeAll(async () => {
  await writeWeights(folder.at("model.safetensors"), weights);
  mkdirSync(folder.at("pictures", "more"), { recursive: true });
  await writePicture(fox, 200, 90, 20);
  await writePicture(sea, 10, 60, 180);
  await writePicture(sun, 250, 240, 60);
  writeFileSync(folder.at("pictures", "fox.txt"), "A red fox!\n\nfox\n");
  writeFileSync(folder.at("pictures", "sea.txt"), "the sea\nfox\n");
});
afterAll(() => folder.remove());

async function pixels(path: string, fit: Geometry["fit"]): Promise<HostTensor> {
  return imageTensor([await decodeImage(path, { size: 16, fit })], { size: 16 });
}

/** One output of the model by the interpreter, flat. */
async function expected(output: string, feeds: Readonly<Record<string, HostTensor>>): Promise<number[]> {
  const session = await createSession(backend, selectOutputs(graph, [output]), weights);
  return Array.from((await session.run(feeds))[output]!.data);
}

const textVector = (text: string) => expected("text", { ids: tokenBatch(byteTokenizer, [text], 20).ids });
const imageVector = async (path: string, fit: Geometry["fit"]) =>
  expected("image", { pixels: await pixels(path, fit) });
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
const unit = (a: readonly number[]) => a.map((v) => v / Math.hypot(...a));

describe("features", () => {
  // The last batch has one picture: the size is open, or the picture is given twice.
  it.each([
    ["sizes open", []],
    ["sizes fixed", ["--fixed"]],
  ])("writes maps of the blocks asked for, the class token apart, whatever the batch: %s", async (_, fixed) => {
    const out = folder.at("maps");
    const images = ["--image", fox, sea, sun];
    const ended = await cpu("--batch", "2", ...fixed, "features", ...images, "--blocks", "2,0", "--out", out);
    expect(ended).toMatchObject({ status: 0, out: "" });
    const config = tiny.config.vision;
    const states = internvit(rootParams().scope("vision_model"), pixelsInput(config), config);
    const whole = makeGraph("states", [
      { name: "two", node: states[2]! },
      { name: "zero", node: states[0]! },
    ]);
    const session = await createSession(backend, whole, weights);
    for (const picture of [fox, sea, sun]) {
      const want = await session.run({ pixels: await pixels(picture, "crop") });
      await using reader = await openSafetensors(
        folder.at("maps", picture.split(/[\\/]/).at(-1)!.replace("png", "safetensors")),
      );
      expect(reader.tensors.get("block.2")!.shape).toEqual([2, 2, 16]);
      for (const [name, state] of [
        ["block.2", want.two!],
        ["block.0", want.zero!],
      ] as const) {
        const stored = [...(await reader.readTensor(`${name}.class`)).data, ...(await reader.readTensor(name)).data];
        expect(difference(stored, state.data)).toBeLessThan(1e-4);
      }
    }
  });

  it("names blocks and pictures that are not there, and files that would meet", async () => {
    const none = await cpu("features", "--image", fox, "--blocks", "3", "--out", folder.at("x"));
    expect(none).toMatchObject({ status: 1, err: expect.stringContaining("the blocks 1 to 2") });
    const taken = await cpu("features", "--image", fox, "--out", fox);
    expect(taken).toMatchObject({ status: 1, err: expect.stringContaining(`cannot create ${fox}: it already exists`) });
    const missing = await cpu("features", "--image", fox, "a.png", "b.png", "--out", folder.at("x"));
    expect(missing).toMatchObject({ status: 1, err: 'FileError: no such image: "a.png", "b.png"\n' });
    const twice = await cpu("features", "--image", fox, fox, "--out", folder.at("x"));
    expect(twice).toMatchObject({
      status: 1,
      err: expect.stringContaining("would both be written to fox.safetensors"),
    });
  });
});

describe("classify", () => {
  it("averages the templates of a class and scales by the temperature", async () => {
    const ended = await cpu(
      "--json",
      "classify",
      "--image",
      fox,
      sea,
      "--labels",
      "fox,sea",
      "--templates",
      "a {c}.|{c}",
    );
    expect(ended.status).toBe(0);
    const found = JSON.parse(ended.out) as { image: string; guesses: { label: string; probability: number }[] }[];
    const vectors = await Promise.all(
      ["fox", "sea"].map(async (c) => {
        const both = await Promise.all([textVector(`a ${c}.`), textVector(c)]);
        return unit(both[0]!.map((v, i) => v + both[1]![i]!));
      }),
    );
    const [scale] = await expected("scale", {});
    for (const { image, guesses } of found) {
      const logits = await Promise.all(vectors.map(async (v) => scale! * dot(v, await imageVector(image, "crop"))));
      const powers = logits.map(Math.exp);
      const want = powers.map((p) => p / (powers[0]! + powers[1]!));
      for (const { label, probability } of guesses)
        expect(Math.abs(probability - want[label === "fox" ? 0 : 1]!)).toBeLessThan(1e-4);
      expect(guesses[0]!.probability).toBeGreaterThanOrEqual(guesses[1]!.probability);
    }
  });

  it("takes labels and templates in several languages", async () => {
    writeFileSync(folder.at("labels.json"), JSON.stringify({ en: ["fox", "sea"], de: ["Fuchs", "Meer"] }));
    writeFileSync(folder.at("templates.json"), JSON.stringify({ en: ["a {c}"], de: ["ein {c}", "{c}"] }));
    const args = [
      "classify",
      "--image",
      fox,
      "--labels",
      folder.at("labels.json"),
      "--templates",
      folder.at("templates.json"),
    ];
    const all = await cpu(...args);
    expect(all.err).toContain("2 classes, 6 prompts");
    const german = await cpu(...args, "--language", "de");
    expect(german.err).toContain("2 classes, 4 prompts");
    expect(german.out).toMatch(/Fuchs/);
    const other = await cpu(...args, "--language", "fr");
    expect(other).toMatchObject({ status: 1, err: expect.stringContaining("Available: en, de.") });
  });

  it.each([
    [
      "a template without its place",
      ["--labels", "a,b", "--templates", "a photo"],
      'the template "a photo" has no {c}',
    ],
    ["no labels", ["--labels", ","], "no labels given"],
    ["labels that are not there", ["--labels", "x.json"], 'labels "x.json" cannot be read'],
    ["labels in a folder's place", ["--labels", folder.at("pictures")], "is not a file"],
    ["labels that are no JSON", ["--labels", folder.at("pictures", "fox.txt")], 'fox.txt" is not valid JSON'],
    [
      "labels in no language",
      ["--labels", folder.at("lists.json")],
      "must be an array of texts, or one for each language",
    ],
    ["half a character", ["--labels", folder.at("half.json")], "contain a text with an unpaired surrogate"],
  ])("says what is wrong: %s", async (_, args, message) => {
    writeFileSync(folder.at("lists.json"), '[["a", "b"]]');
    writeFileSync(folder.at("half.json"), '["a", "\\ud800"]');
    const ended = await cpu("classify", "--image", fox, ...args);
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining(message) });
  });
});

it("takes a language by whatever name, and prints no label that steers a terminal", async () => {
  writeFileSync(folder.at("odd.json"), '\ufeff{"__proto__": ["a\\u001b[2J", "b"], "en": ["c", "d"]}');
  const odd = await cpu("classify", "--image", fox, "--labels", folder.at("odd.json"));
  expect(odd).toMatchObject({ status: 0, err: expect.stringContaining("2 classes, 4 prompts") });
  expect(odd.out).toContain("a[2J");
});

describe("the tokenizer", () => {
  it("of a tokenizer.json beside the weights gives every text InternVL's prefix", async () => {
    const letters = Array.from("summarize:foxab", (c) => c).filter((c, i, all) => all.indexOf(c) === i);
    const vocab = Object.fromEntries(["<unk>", "<s>", "</s>", ...letters].map((token, id) => [token, id]));
    const json = {
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: null,
      model: { type: "BPE", unk_token: "<unk>", vocab, merges: [] },
    };
    writeFileSync(folder.at("tokenizer.json"), JSON.stringify(json));
    writeFileSync(
      folder.at("tokenizer_config.json"),
      JSON.stringify({ bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" }),
    );
    const classify = ["--json", "classify", "--image", fox, "--labels", "fox,ab"];
    const [own, none, bytes] = [
      await cpu(...classify),
      await cpu(...classify, "--prefix", ""),
      await cpu("--tokenizer", "bytes", ...classify),
    ];
    rmSync(folder.at("tokenizer.json"));
    const encode = (text: string) => [1, ...Array.from(text, (c) => vocab[c]!), 2];
    const score = async (text: string) => {
      const ids = new Int32Array(20);
      ids.set(encode(text));
      const feed = hostTensor(
        "i32",
        [
          { name: "batch", size: 1 },
          { name: "token", size: 20 },
        ],
        ids,
      );
      return dot(await expected("text", { ids: feed }), await imageVector(fox, "crop"));
    };
    const [scale] = await expected("scale", {});
    const want = 1 / (1 + Math.exp(scale! * ((await score("summarize:ab")) - (await score("summarize:fox")))));
    const probability = (out: string) =>
      (JSON.parse(out) as { guesses: { label: string; probability: number }[] }[])[0]!.guesses.find(
        (g) => g.label === "fox",
      )!.probability;
    expect(Math.abs(probability(own.out) - want)).toBeLessThan(1e-4);
    expect(own.err).toContain("note: the tokenizer has 16 ids, but the model has 259");
    expect(none.out).not.toBe(own.out);
    expect(bytes.out).not.toBe(own.out);
  });

  it("is asked for where there is none, and must not have more ids than the model", async () => {
    const other = (...set: string[]) =>
      heddle(
        "run",
        model,
        "--weights",
        folder.at("model.safetensors"),
        ...set,
        "classify",
        "--image",
        fox,
        "--labels",
        "a",
      );
    expect(await other("--set", "text.vocab=300")).toMatchObject({
      status: 1,
      err: expect.stringContaining("give --tokenizer"),
    });
    const small = await other("--set", "text.vocab=200", "--tokenizer", "bytes");
    expect(small).toMatchObject({
      status: 1,
      err: expect.stringContaining("the tokenizer has 259 ids, but the model has 200"),
    });
  });
});

describe("retrieve", () => {
  it("indexes a folder and searches it in both directions", async () => {
    writeFileSync(folder.at("pictures", "more", "broken.png"), "no picture");
    writeFileSync(folder.at("pictures", "more", "broken.txt"), Buffer.of(0xff));
    const index = folder.at("index.safetensors");
    const indexed = await cpu("--json", "retrieve", "index", folder.at("pictures"), "--out", index);
    expect(JSON.parse(indexed.out)).toMatchObject({ pictures: 3, texts: 3 });
    expect(indexed.err).toContain("broken.png");
    expect(indexed.err).toContain('skipped: the captions "more/broken.txt" are not valid UTF-8');
    const byText = await cpu("--json", "retrieve", "search", "--index", index, "--text", "the sea");
    const texts = JSON.parse(byText.out) as { found: { name: string; cosine: number }[] };
    expect(texts.found.map((f) => f.name).sort()).toEqual(["fox.png", "sea.png", "sun.png"]);
    const query = await textVector("the sea");
    for (const { name, cosine } of texts.found)
      expect(Math.abs(cosine - dot(query, await imageVector(folder.at("pictures", name), "squash")))).toBeLessThan(
        1e-4,
      );
    const byImage = await cpu("retrieve", "search", "--index", index, "--image", sun, "--top", "2");
    expect(byImage.out.trim().split("\n")).toHaveLength(2);
    const same = await cpu("retrieve", "search", "--index", index, "--image", sun, "--among", "images", "--top", "1");
    expect(same.out).toBe("1.0000  sun.png\n");
  });

  it("refuses a file that is no index, an index of another model, and two queries", async () => {
    const noIndex = await cpu("retrieve", "search", "--index", folder.at("model.safetensors"), "--text", "x");
    expect(noIndex).toMatchObject({ status: 1, err: expect.stringContaining("is not an index that heddle wrote") });
    const both = await cpu("retrieve", "search", "--index", "x", "--text", "x", "--image", fox);
    expect(both).toMatchObject({ status: 1, err: expect.stringContaining("takes one query") });
    const nowhere = await cpu("retrieve", "index", folder.at("pictures"), "--out", folder.at("no", "where"));
    expect(nowhere).toMatchObject({ status: 1, err: expect.stringContaining("no such file or folder") });
    expect(nowhere.err).not.toContain("device:"); // told before anything is embedded
    const empty = await cpu("retrieve", "index", folder.at("maps"), "--out", "x");
    expect(empty).toMatchObject({ status: 1, err: expect.stringContaining("has no images") });
  });
});

it("wants the model first, and shows its modes", async () => {
  expect(await heddle("run", "--weights", "x")).toMatchObject({
    status: 1,
    err: expect.stringContaining("the model first"),
  });
  const help = await heddle("run", "--help");
  expect(help).toMatchObject({ status: 0 });
  for (const mode of ["features", "classify", "retrieve"]) expect(help.out).toContain(mode);
});
