/** `heddle evaluate` on a few emoji: what it prints, against plain loops over the same model's vectors. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, selectOutputs } from "../../compiler/index.ts";
import {
  byteTokenizer,
  captionScores,
  decodeImage,
  type Geometry,
  imageTensor,
  popeVerdict,
  tokenBatch,
  vqaAccuracy,
  yesNoMeasures,
} from "../../data/index.ts";
import { trace } from "../../dsl/index.ts";
import { packageFolder } from "../../examples/emoji/packages.ts";
import { createSession, type InferenceSession, openSafetensors } from "../../runtime/index.ts";
import { type TarEntry, writeTar } from "../data/support.ts";
import { heddle, modelFile, randomWeights, scratch, writeWeights } from "./support.ts";
import chatModel from "./tiny-chat.ts";
import generative from "./tiny-generative.ts";
import tiny from "./tiny-model.ts";

const folder = scratch("evaluate");
const graph = trace(tiny);
const weights = randomWeights(graph);
const evaluate = (protocol: string, data: string, ...args: string[]) =>
  heddle(
    ...["evaluate", modelFile("tiny-model.ts"), "--weights", folder.at("model.safetensors"), "--device", "cpu"],
    ...["--protocol", protocol, "--data", data, ...args],
  );

/** OpenMoji's names of drawings, by class. */
const emoji = { cat: ["1F431", "1F408"], fox: ["1F98A"], sun: ["2600", "1F31E"], wave: ["1F30A"] } as const;
const names = {
  en: ["cat", "fox", "sun", "wave"],
  de: ["Katze", "Fuchs", "Sonne", "Welle"],
  zh: ["猫", "狐狸", "太阳", "海浪"],
};
const pictures: { readonly path: string; readonly label: number }[] = [];
const sessions = new Map<string, InferenceSession>();

beforeAll(async () => {
  await writeWeights(folder.at("model.safetensors"), weights);
  for (const [label, [name, ids]] of Object.entries(emoji).entries())
    for (const id of ids) {
      const path = folder.at("classes", name, `${id}.png`);
      mkdirSync(dirname(path), { recursive: true });
      await sharp(join(packageFolder("openmoji"), "color", "svg", `${id}.svg`))
        .resize(24, 24)
        .png()
        .toFile(path);
      pictures.push({ path, label });
    }
  await writeWeights(folder.at("chat.safetensors"), randomWeights(trace(chatModel)));
  for (const output of ["image", "text"])
    sessions.set(output, await createSession(referenceBackend(), selectOutputs(graph, [output]), weights));
});
afterAll(() => folder.remove());

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
const output = async (name: string, feeds: Readonly<Record<string, HostTensor>>): Promise<readonly number[]> =>
  Array.from((await sessions.get(name)!.run(feeds))[name]!.data);
const textVector = (text: string) => output("text", { ids: tokenBatch(byteTokenizer, [text], 20).ids });
const imageVector = async (path: string, fit: Geometry["fit"]) =>
  output("image", { pixels: imageTensor([await decodeImage(path, { size: 16, fit })], { size: 16 }) });

describe("zero-shot", () => {
  it("judges each language by itself, leaves out a broken picture, and writes what it found", async () => {
    writeFileSync(folder.at("classes", "sun", "broken.png"), "no picture");
    writeFileSync(folder.at("labels.json"), JSON.stringify(names));
    const args = ["--labels", folder.at("labels.json"), "--templates", "a {c}|{c}", "--out", folder.at("out")];
    const ended = await evaluate("zero-shot", folder.at("classes"), "--batch", "4", "--json", ...args);
    expect(ended).toMatchObject({ status: 0 });
    const found = JSON.parse(ended.out);
    expect(found).toMatchObject({ protocol: "zero-shot", model: "tiny", samples: 6, skipped: [{ count: 1 }] });
    expect(found.skipped[0].example).toContain("broken.png");
    expect(Object.keys(found.results)).toEqual(["en", "de", "zh"]);
    for (const [language, classes] of Object.entries(names)) {
      const vectors = await Promise.all(
        classes.map(async (c) => {
          const [a, b] = [await textVector(`a ${c}`), await textVector(c)];
          const sum = a.map((v, i) => v + b[i]!);
          return sum.map((v) => v / Math.hypot(...sum));
        }),
      );
      const right = names.en.map(() => [] as number[]);
      for (const { path, label } of pictures) {
        const image = await imageVector(path, "crop");
        const scores = vectors.map((v) => dot(v, image));
        right[label]!.push(scores.indexOf(Math.max(...scores)) === label ? 1 : 0);
      }
      const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
      expect(found.results[language].top1).toBeCloseTo(mean(right.flat()), 12);
      expect(found.results[language].meanPerClass).toBeCloseTo(mean(right.map(mean)), 12);
      expect(found.results[language].top5).toBeUndefined(); // of four classes it would always be 1
    }
    expect(JSON.parse(readFileSync(folder.at("out", "evaluation.json"), "utf8"))).toEqual(found);
    expect(readFileSync(folder.at("out", "report.html"), "utf8")).toContain("tiny: zero-shot");
    const answers = readFileSync(folder.at("out", "answers.jsonl"), "utf8").trim().split("\n");
    const right = answers.map((line) => JSON.parse(line)).filter(({ said, right }) => said.en === right);
    expect(right.length / answers.length).toBeCloseTo(found.results.en.top1, 12);
  });

  it("takes folders' names as labels, and tells results to people", async () => {
    const ended = await evaluate("zero-shot", folder.at("classes"));
    expect(ended.status).toBe(0);
    expect(ended.out).toMatch(/protocol\s+zero-shot[\s\S]+top1\s+meanPerClass\n\s+all\s+\d+\.\d\d\s+\d+\.\d\d/);
    expect(ended.out).toContain("broken 1, by reason");
  });

  it("reports a class folder without images, and tells of labels that tie", async () => {
    mkdirSync(folder.at("hollow", "owl", "nested"), { recursive: true });
    for (const { path, label } of pictures.filter(({ label }) => label < 2)) {
      const to = folder.at("hollow", names.en[label]!, path.split(/[\\/]/).at(-1)!);
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, readFileSync(path));
    }
    const ended = await evaluate("zero-shot", folder.at("hollow"), "--labels", "cat,fox,fox", "--json");
    const { samples, skipped, results } = JSON.parse(ended.out);
    expect(samples).toBe(3);
    expect(skipped).toMatchObject([
      { reason: expect.stringContaining("has no images"), example: folder.at("hollow", "owl") },
    ]);
    expect(ended.err).toContain('several classes are named "fox": as they tie, each counts as wrong');
    expect(results.all.top1).toBeLessThanOrEqual(2 / 3); // the fox is wrong
  });

  it.each([
    [
      "labels that do not fit",
      "zero-shot",
      ["--labels", "a,b"],
      "4 class folders with images, but --labels has 2 names",
    ],
    [
      "an option of another protocol",
      "retrieval",
      ["--labels", "a,b"],
      "--labels is not an option of --protocol retrieval",
    ],
    ["an unknown protocol", "zero-shoot", [], 'got "zero-shoot"'],
  ])("refuses %s", async (_, protocol, args, message) => {
    const ended = await evaluate(protocol, folder.at("classes"), ...args);
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining(message) });
  });
});

describe("zero-shot-video", () => {
  it("takes the mean of frames spread over each video, and leaves out one with a broken frame", async () => {
    const [fox, cat, sun] = [pictures[2]!.path, pictures[0]!.path, pictures[3]!.path];
    const videos = {
      cat: { one: [cat, fox, cat, sun, sun] },
      fox: { one: [fox], two: [fox, cat, fox] },
      sun: { bad: [] },
    };
    for (const [name, own] of Object.entries(videos))
      for (const [video, frames] of Object.entries(own)) {
        mkdirSync(folder.at("videos", name, video), { recursive: true });
        for (const [i, frame] of frames.entries())
          writeFileSync(folder.at("videos", name, video, `${i + 8}.png`), readFileSync(frame)); // 8, 9, 10: by number
      }
    writeFileSync(folder.at("videos", "sun", "bad", "1.png"), "no picture");
    const args = ["--frames", "2", "--labels", "cat,fox,sun", "--json", "--out", folder.at("watched")];
    const ended = await evaluate("zero-shot-video", folder.at("videos"), ...args);
    expect(ended).toMatchObject({ status: 0 });
    const found = JSON.parse(ended.out);
    expect(found).toMatchObject({ samples: 3, asked: { frames: 2 }, skipped: [{ count: 1 }] });
    expect(readFileSync(folder.at("watched", "report.html"), "utf8").match(/data:image\/png/g)).toHaveLength(3);
    const texts = await Promise.all(["cat", "fox", "sun"].map(textVector));
    // Of five frames the second and the fourth, of three the first and the third, of one that twice.
    const taken = [
      { frames: [fox, sun], label: 0 },
      { frames: [fox, fox], label: 1 },
      { frames: [fox, fox], label: 1 },
    ];
    let right = 0;
    for (const { frames, label } of taken) {
      const [a, b] = await Promise.all(frames.map((frame) => imageVector(frame, "crop")));
      const scores = texts.map((text) => dot(text, a!) + dot(text, b!));
      if (scores.indexOf(Math.max(...scores)) === label) right += 1;
    }
    expect(found.results.all.top1).toBeCloseTo(right / 3, 12);
  });
});

describe("frozen encoders", () => {
  const learn = (protocol: string, ...args: string[]) =>
    evaluate(protocol, folder.at("classes"), "--train", folder.at("classes"), "--json", ...args);

  it("find the pictures that they learned from, by neighbours and by a probe with little regularization", async () => {
    const nearest = await learn("knn", "--k", "1");
    const probe = await learn("linear-probe", "--c", "1e9", "--feature", "image");
    for (const [ended, feature] of [
      [nearest, "tokens"],
      [probe, "image"],
    ] as const) {
      expect(ended).toMatchObject({ status: 0 });
      const found = JSON.parse(ended.out);
      expect(found).toMatchObject({ samples: 6, asked: { feature, learned: 6 } });
      expect(found.results.all).toEqual({ top1: 1, meanPerClass: 1 });
    }
  });

  it("are told apart by a pooling that attends to all tokens", async () => {
    const out = folder.at("attentive");
    const ended = await learn("attentive-probe", "--epochs", "40", "--rate", "0.01", "--out", out);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const found = JSON.parse(ended.out);
    expect(found).toMatchObject({ samples: 6, asked: { feature: "all", epochs: 40, rate: 0.01 } });
    expect(found.results.all).toEqual({ top1: 1, meanPerClass: 1 });
    expect(readFileSync(folder.at("attentive", "answers.jsonl"), "utf8").trim().split("\n")).toHaveLength(6);
    const pictures = readFileSync(folder.at("attentive", "report.html"), "utf8").match(/data:image\/png/g);
    expect(pictures).toHaveLength(6);
    const again = await learn("attentive-probe", "--feature", "class");
    expect(again).toMatchObject({ status: 1, err: expect.stringContaining("--feature is not an option of") });
  });

  it("learn from a few of each class, drawn several times", async () => {
    const ended = await learn("knn", "--k", "1", "--shots", "1", "--draws", "4", "--seed", "3");
    const { results, asked } = JSON.parse(ended.out);
    expect(asked).toMatchObject({ shots: "1", draws: 4, seed: 3 });
    // Of four classes two have two pictures: those that are drawn find themselves.
    expect(results["1 shot"].top1).toBeGreaterThanOrEqual(4 / 6);
    expect(results["1 shot"].top1Deviation).toBeGreaterThanOrEqual(0);
    const again = await learn("knn", "--k", "1", "--shots", "1", "--draws", "4", "--seed", "3");
    expect(JSON.parse(again.out)).toEqual(JSON.parse(ended.out));
    const many = await learn("knn", "--shots", "1,2");
    expect(many.err).toContain('class "fox" has 1 samples in --train: --shots must be at most 1');
    expect((await learn("knn", "--draws", "2")).err).toContain("--draws needs --shots");
  });

  it("are judged by the vectors of their last block", async () => {
    const [k, temperature] = [3, 0.5];
    const args = ["--k", `${k}`, "--temperature", `${temperature}`, "--feature", "class"];
    const { results } = JSON.parse((await learn("knn", ...args)).out);
    const maps = folder.at("maps");
    await heddle(
      ...["run", modelFile("tiny-model.ts"), "--weights", folder.at("model.safetensors"), "--device", "cpu"],
      ...["features", "--image", ...pictures.map(({ path }) => path), "--out", maps],
    );
    const vectors = await Promise.all(
      pictures.map(async ({ path }) => {
        await using reader = await openSafetensors(
          join(maps, `${path.split(/[\\/]/).at(-1)!.slice(0, -4)}.safetensors`),
        );
        const row = Array.from((await reader.readTensor("block.2.class")).data, Number);
        return row.map((v) => v / Math.hypot(...row));
      }),
    );
    const right = pictures.map(({ label }, i) => {
      const near = vectors
        .map((v, j) => ({ cosine: dot(v, vectors[i]!), label: pictures[j]!.label }))
        .sort((a, b) => b.cosine - a.cosine)
        .slice(0, k);
      const votes = names.en.map((_, c) =>
        near.reduce((sum, n) => sum + (n.label === c ? Math.exp(n.cosine / temperature) : 0), 0),
      );
      return votes.indexOf(Math.max(...votes)) === label;
    });
    expect(results.all.top1).toBeCloseTo(right.filter(Boolean).length / right.length, 12);
  });

  it("need something to learn from, and all classes in it", async () => {
    const none = await evaluate("knn", folder.at("classes"));
    expect(none).toMatchObject({ status: 1, err: expect.stringContaining("give it with --train") });
    mkdirSync(folder.at("few", "cat"), { recursive: true });
    mkdirSync(folder.at("few", "fox"));
    for (const { path, label } of pictures.filter(({ label }) => label < 2))
      writeFileSync(folder.at("few", names.en[label]!, path.split(/[\\/]/).at(-1)!), readFileSync(path));
    const few = await evaluate("knn", folder.at("classes"), "--train", folder.at("few"));
    expect(few).toMatchObject({
      status: 1,
      err: expect.stringContaining('has class "sun", of which --train has no sample'),
    });
  });

  it("of shards learn the numbers that occur, and refuse others between them", async () => {
    const shard = async (name: string, ...classes: readonly number[]) => {
      const entries = classes.map((number, i): readonly TarEntry[] => [
        [`${i}.png`, readFileSync(pictures[i]!.path)],
        [`${i}.cls`, String(number)],
      ]);
      return await writeTar(folder.at(name), entries.flat());
    };
    const train = ["--train", await shard("train.tar", 7, 7, 2), "--json"];
    const same = await evaluate("linear-probe", folder.at("train.tar"), ...train, "--c", "1e9");
    expect(JSON.parse(same.out).results.all).toEqual({ top1: 1, meanPerClass: 1 });
    const other = await evaluate("knn", await shard("test.tar", 7, 5), ...train);
    expect(other).toMatchObject({ status: 1, err: expect.stringContaining('class "5", of which --train has no') });
  });
});

describe("retrieval", () => {
  it("takes all captions of a picture as right, in each language and both directions", async () => {
    const records = pictures.flatMap(({ path, label }, i) => [
      { image: path, captions: [names.en[label], `${names.en[label]} ${i}`], language: "en" },
      { image: path, caption: names.zh[label], language: "zh" },
    ]);
    const list = records.map((r) => ({ ...r, image: r.image.slice(folder.at("classes").length + 1) }));
    writeFileSync(folder.at("pairs.json"), JSON.stringify([...list, { image: "sun/none.png", caption: "x" }]));
    const given = ["--images", folder.at("classes"), "--out", folder.at("found")];
    const ended = await evaluate("retrieval", folder.at("pairs.json"), ...given, "--json");
    expect(ended).toMatchObject({ status: 0 });
    const found = JSON.parse(ended.out);
    expect(found).toMatchObject({ samples: 6, skipped: [{ count: 1 }] });
    const images = await Promise.all(pictures.map(({ path }) => imageVector(path, "squash")));
    const answers = readFileSync(folder.at("found", "answers.jsonl"), "utf8").trim().split("\n");
    expect(answers).toHaveLength(18);
    const first = JSON.parse(answers[0]!);
    const query = await textVector("cat");
    const nearest = images.map((v, i) => ({ i, cosine: dot(v, query) })).sort((a, b) => b.cosine - a.cosine);
    expect(first).toMatchObject({ language: "en", text: "cat", right: [pictures[0]!.path] });
    expect(first.found[0].name).toBe(pictures[nearest[0]!.i]!.path);
    const page = readFileSync(folder.at("found", "report.html"), "utf8");
    expect(page.match(/data:image\/png/g)).toHaveLength(18 * 5);
    for (const language of ["en", "zh"] as const) {
      const texts = pictures.flatMap(({ label }, i) =>
        [names[language][label]!, ...(language === "en" ? [`${names.en[label]} ${i}`] : [])].map((text) => ({
          text,
          i,
        })),
      );
      const vectors = await Promise.all(texts.map(({ text }) => textVector(text)));
      for (const k of [1, 5] as const) {
        // A picture with the same text as another ties with it; the right one counts as behind.
        const toImage = texts.map(
          ({ i }, t) => images.filter((v, j) => j !== i && dot(v, vectors[t]!) >= dot(images[i]!, vectors[t]!)).length,
        );
        const toText = images.map((v, i) => {
          const best = Math.max(...vectors.filter((_, t) => texts[t]!.i === i).map((text) => dot(text, v)));
          return vectors.filter((text, t) => texts[t]!.i !== i && dot(text, v) >= best - 1e-9).length;
        });
        const share = (ahead: readonly number[]) => ahead.filter((n) => n < k).length / ahead.length;
        expect(found.results[language].textToImage[`r${k}`]).toBeCloseTo(share(toImage), 12);
        expect(found.results[language].imageToText[`r${k}`]).toBeCloseTo(share(toText), 12);
      }
      expect(found.results[language].mean.recall).toBeGreaterThan(0);
    }
    const one = await evaluate(
      "retrieval",
      folder.at("pairs.json"),
      "--images",
      folder.at("classes"),
      "--language",
      "zh",
    );
    expect(one.out).toMatch(/zh, textToImage/);
    expect(one.out).not.toMatch(/en, textToImage/);
  });
});

it("retrieval asks once for captions that two pictures share", async () => {
  mkdirSync(folder.at("shared"));
  for (const [i, name] of ["a.png", "a.jpg", "b.png"].entries())
    await sharp(pictures[i]!.path).toFile(folder.at("shared", name));
  writeFileSync(folder.at("shared", "a.txt"), "a cat\nthe cat");
  writeFileSync(folder.at("shared", "b.txt"), "a fox");
  const ended = await evaluate("retrieval", folder.at("shared"), "--json");
  expect(ended.err).toContain("und: 3 images, 3 texts");
  expect(JSON.parse(ended.out).results.und.textToImage.r5).toBe(1);
});

describe("questions", () => {
  const ask = (protocol: string, data: string, ...args: string[]) =>
    heddle(
      ...["evaluate", modelFile("tiny-chat.ts"), "--weights", folder.at("chat.safetensors"), "--device", "cpu"],
      ...["--protocol", protocol, "--data", data, "--max-tokens", "3", "--json", ...args],
    );
  const lines = (file: string): { said: string; right: string[] }[] =>
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));

  it("of POPE are asked one by one, as heddle run chat asks, and judged by its rule", async () => {
    const [fox, cat] = ["fox/1F98A.png", "cat/1F431.png"];
    const records = [
      { question_id: 1, image: fox, text: "Is there a fox?", label: "yes" },
      { question_id: 2, image: fox, text: "Is there a dog?", label: "no" },
      { question_id: 3, image: "sun/broken.png", text: "Is there a sun?", label: "yes" },
      { question_id: 4, image: cat, text: "Is there a cat?", label: "maybe" },
      { question_id: 5, image: cat, text: "Is there a cat?", label: "yes" },
      { question_id: 6, text: "Is there an unseen cat?", label: "yes" },
    ];
    writeFileSync(folder.at("coco_pope_random.json"), records.map((r) => JSON.stringify(r)).join("\n"));
    const [images, out] = [folder.at("classes"), folder.at("pope")];
    const ended = await ask("pope", folder.at("coco_pope_random.json"), "--images", images, "--out", out);
    expect(ended).toMatchObject({ status: 0 });
    const found = JSON.parse(ended.out);
    expect(found).toMatchObject({ samples: 3, asked: { suffix: expect.stringContaining("single word") } });
    expect(found.skipped.map((s: { reason: string }) => s.reason).join()).toContain("neither yes nor no");
    expect(found.skipped.map((s: { reason: string }) => s.reason).join()).toContain("it has no image");
    expect(found.skipped.map((s: { count: number }) => s.count)).toEqual([1, 1, 1]);
    const said = lines(folder.at("pope", "answers.jsonl")).map((line) => line.said);
    const verdicts = said.map((text) => popeVerdict(text));
    expect(found.results.all).toMatchObject(yesNoMeasures(verdicts, ["yes", "no", "yes"]));
    const question = `Is there a dog?\n${found.asked.suffix}`;
    const chat = await heddle(
      ...["run", modelFile("tiny-chat.ts"), "--weights", folder.at("chat.safetensors"), "--device", "cpu", "--json"],
      ...["chat", "--image", join(images, fox), "--prompt", question, "--max-tokens", "3"],
    );
    expect(said[1]).toBe(JSON.parse(chat.out)[0].answer);
    expect(readFileSync(folder.at("pope", "report.html"), "utf8")).toContain("Is there a dog?");
  });

  it("of VQA have their answers and pictures elsewhere", async () => {
    const questions = [
      { question_id: 7, image_id: 98, question: "What is it?" },
      { question_id: 8, question: "What is two?" },
    ];
    const answers = [{ answer: "fox" }, { answer: "a fox" }];
    const annotations = [7, 8].map((id) => ({ question_id: id, answer_type: "other", answers }));
    writeFileSync(folder.at("vqa.json"), JSON.stringify({ questions }));
    writeFileSync(folder.at("vqa-answers.json"), JSON.stringify({ annotations }));
    const given = ["--images", folder.at("classes", "fox"), "--answers", folder.at("vqa-answers.json")];
    const unsaid = await ask("vqa", folder.at("vqa.json"), ...given);
    expect(unsaid).toMatchObject({ status: 1, err: expect.stringContaining("--image-name") });
    const out = ["--image-name", "1F{2}A.png", "--out", folder.at("vqa")];
    const ended = await ask("vqa", folder.at("vqa.json"), ...given, ...out);
    expect(ended).toMatchObject({ status: 0 });
    expect(ended.err).toContain("1 of 2 questions have no image: they are asked as text");
    const said = lines(folder.at("vqa", "answers.jsonl"));
    expect(said.map(({ right }) => right)).toEqual([1, 2].map(() => ["fox", "a fox"]));
    const [one, two] = said.map(({ said, right }) => vqaAccuracy(said, right)) as [number, number];
    expect(JSON.parse(ended.out).results).toEqual({ all: { accuracy: (one + two) / 2 } });
  });

  it("of MME lie in folders by sub-task", async () => {
    const folderOf = (task: string) => folder.at("mme", task);
    for (const task of ["existence", "code_reasoning"]) {
      mkdirSync(folderOf(task), { recursive: true });
      writeFileSync(join(folderOf(task), "a.png"), readFileSync(pictures[0]!.path));
      writeFileSync(join(folderOf(task), "a.txt"), "Is it a cat?\tYes\nIs it a dog?\tNo\n");
    }
    writeFileSync(join(folderOf("existence"), "b.txt"), "Is it there?\tYes\n");
    const ended = await ask("mme", folder.at("mme"));
    expect(ended).toMatchObject({ status: 0 });
    const { results, samples, skipped } = JSON.parse(ended.out);
    expect({ samples, skipped }).toMatchObject({
      samples: 4,
      skipped: [{ reason: "it has no image of the same name" }],
    });
    expect(results.perception).toMatchObject({ subtasks: 1, existence: { accuracy: expect.any(Number) } });
    expect(results.cognition.score).toBe(results.cognition.code_reasoning.score);
  });

  it("may be captions, which are compared with all of a picture", async () => {
    writeFileSync(
      folder.at("captions.jsonl"),
      ["fox/1F98A.png", "cat/1F431.png"].map((image) => JSON.stringify({ image, captions: ["a b", "!!"] })).join("\n"),
    );
    const given = ["--images", folder.at("classes"), "--prompt", "Say it.", "--out", folder.at("captions")];
    const ended = await ask("captions", folder.at("captions.jsonl"), ...given);
    expect(ended).toMatchObject({ status: 0 });
    const found = JSON.parse(ended.out);
    expect(found).toMatchObject({ samples: 2, asked: { prompt: "Say it." } });
    const said = lines(folder.at("captions", "answers.jsonl")).map((line) => line.said);
    const samples = said.map((candidate) => ({ candidate, references: ["a b", "!!"] }));
    expect(found.results.all).toEqual(captionScores(samples));
  });

  it("may be captions by a model that serves them, as heddle run caption writes them", async () => {
    await writeWeights(folder.at("generative.safetensors"), randomWeights(trace(generative)));
    const image = folder.at("classes", "fox", "1F98A.png");
    writeFileSync(folder.at("classes", "fox", "1F98A.txt"), "a fox\nthe fox");
    const model = [
      modelFile("tiny-generative.ts"),
      "--weights",
      folder.at("generative.safetensors"),
      "--device",
      "cpu",
    ];
    const given = ["--data", folder.at("classes", "fox"), "--max-tokens", "3", "--out", folder.at("own")];
    const ended = await heddle("evaluate", ...model, "--protocol", "captions", ...given);
    expect(ended).toMatchObject({ status: 0, out: expect.stringContaining("cider") });
    const run = await heddle("run", ...model, "--json", "caption", "--image", image, "--max-tokens", "3");
    const [line] = lines(folder.at("own", "answers.jsonl"));
    expect(line).toEqual({ name: image, said: JSON.parse(run.out)[0].text, references: ["a fox", "the fox"] });
  });

  it("are refused of a model without chat", async () => {
    const ended = await evaluate("pope", folder.at("none.json"));
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("does not support chat") });
  });
});
