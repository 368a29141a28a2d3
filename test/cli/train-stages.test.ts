/**
 * `heddle train MODEL --stage S --data ...` on data made here: every stage, alone and in rows, of bundled models and of
 * a stranger's.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openSafetensors } from "../../runtime/index.ts";
import { colourData } from "./colour-data.ts";
import { type Ended, heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 300_000 }); // several runs each, on a machine that may be busy

const folder = scratch("train-stages");
const run = (name: string) => folder.at("runs", name);
const file = (name: string) => modelFile(`${name}.ts`);

beforeAll(() => colourData(folder));
afterAll(() => folder.remove());

const small = ["--set", "workers=0", "--set", "batch=4", "--set", "steps=4", "--set", "rate=1e-2"];

async function train(model: string, stage: string, data: string, ...more: string[]): Promise<Ended> {
  const at = ["--device", "cpu", "--runs", folder.at("runs"), "--json"];
  const ended = await heddle(
    "train",
    file(model),
    "--stage",
    stage,
    "--data",
    folder.at(data),
    ...at,
    ...small,
    ...more,
  );
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended;
}

const losses = (name: string): number[] =>
  readFileSync(folder.at("runs", name, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { loss: number }).loss);

async function tensors(name: string): Promise<Map<string, string>> {
  await using reader = await openSafetensors(run(name));
  const found = new Map<string, string>();
  for (const tensor of reader.tensors.keys()) {
    const { data } = await reader.readTensor(tensor);
    found.set(tensor, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"));
  }
  return found;
}

/** The tensors of a run that are not what they were in the one before. */
async function changed(before: string, after: string): Promise<string[]> {
  const [was, is] = [await tensors(before), await tensors(after)];
  return [...is].flatMap(([name, value]) => (was.has(name) && was.get(name) !== value ? [name] : []));
}

const allFinite = (name: string) => {
  const found = losses(name);
  expect(found.length).toBeGreaterThan(0);
  for (const loss of found) expect(loss).toSatisfy(Number.isFinite);
};

describe("stages in a row", () => {
  it("each start from the one before, with settings of their own, and go on where one was stopped", async () => {
    const { err } = await train(
      "tiny-model",
      "1.1,1.2",
      "pairs",
      "--set",
      "1.1:resolution=16",
      "--set",
      "checkpointEvery=2",
    );
    expect(err).toContain("warmup: 1 of 4 steps, scaled from the published 5000 of 171948");
    expect(err).toContain(`from ${run("tiny-1.1")}: 66 tensors, all of it`);
    for (const name of ["tiny-1.1", "tiny-1.2"]) allFinite(name);
    expect((await changed("tiny-1.1", "tiny-1.2")).length).toBe(66);

    // As if it had been stopped after step 2 of the second stage.
    const whole = await tensors("tiny-1.2");
    for (const gone of ["summary.json", "model.safetensors", "checkpoints/step-000004"])
      rmSync(folder.at("runs", "tiny-1.2", gone), { recursive: true });
    const { err: again } = await train("tiny-model", "1.1,1.2", "pairs", "--resume", "--set", "1.1:resolution=16");
    expect(again).toContain(`tiny-1.1: done, in ${run("tiny-1.1")}`);
    expect(again).toContain("resumed at step 2");
    expect(await tensors("tiny-1.2")).toEqual(whole);
  });

  it("refuses other data at --resume", async () => {
    cpSync(folder.at("pairs"), folder.at("copied"), { recursive: true });
    const args = ["--data", folder.at("copied"), "--resume", "--runs", folder.at("runs"), "--device", "cpu"];
    const ended = await heddle("train", file("tiny-model"), "--stage", "1.1", ...args);
    expect(ended).toMatchObject({
      status: 1,
      err: expect.stringContaining("the run to resume has other settings: data was"),
    });
  });
});

it("leaves out what filters refuse, and goes on without its data being told again", async () => {
  const where = ["--device", "cpu", "--runs", folder.at("filtered")];
  const none = ["--data", folder.at("pairs"), "--filter", "caption.words>=3"];
  const refused = await heddle("train", file("own-towers"), "--stage", "contrast", ...none, ...where);
  expect(refused).toMatchObject({ status: 1, err: expect.stringMatching(/no (usable )?samples/) });
  const all = ["--data", folder.at("pairs"), "--filter", "caption.words>=2", ...small];
  const begun = await heddle("train", file("own-towers"), "--stage", "contrast", ...all, ...where, "--json");
  expect(begun.status).toBe(0);
  expect(JSON.parse(begun.out)).toMatchObject({ steps: 4, skipped: {}, config: { filters: "caption.words>=2" } });
  const more = await heddle(
    "train",
    file("own-towers"),
    "--stage",
    "contrast",
    "--resume",
    "--set",
    "steps=6",
    ...where,
  );
  expect(more).toMatchObject({ status: 0, err: expect.stringContaining("resumed at step 4") });
});

describe("stage 2", () => {
  it("trains what it adds, and leaves all else as it was to the last bit", async () => {
    const { err } = await train("tiny-generative", "2", "pairs", "--from", run("tiny-1.2"));
    expect(err).toContain("random, and not trained: qllama.lm_head.weight");
    allFinite("tiny-g-2");
    expect(await changed("tiny-1.2", "tiny-g-2")).toEqual(["logit_scale"]);
  });

  it("trains more where it is told, and finds negatives in the batch", async () => {
    const more = ["--set", "trainable=+,qllama.lm_head.*", "--set", "negatives=mined", "--set", "steps=12"];
    await train("tiny-generative", "2", "pairs", "--from", run("tiny-g-2"), ...more);
    allFinite("tiny-g-2-2");
    const found = await changed("tiny-g-2", "tiny-g-2-2");
    expect(found).toContain("qllama.lm_head.weight");
    expect(found).toContain("itm_head.weight");
    expect(found.filter((name) => name.startsWith("vision_model.") || name.includes(".mlp."))).toEqual([]);
    const all = losses("tiny-g-2-2");
    expect(all.at(-1)).toBeLessThan(all[0]!);
  });

  it("compares all of a batch whose parts are computed by themselves", async () => {
    const of = async (accumulate: number) => {
      const parts = [
        "--set",
        `accumulate=${accumulate}`,
        "--set",
        "steps=3",
        "--set",
        "resolution=16",
        "--set",
        "keep=1",
      ];
      await train("tiny-model", "1.1", "pairs", "--runs", folder.at("runs", `parts-${accumulate}`), ...parts, ...still);
      return losses(`parts-${accumulate}/tiny-1.1`);
    };
    const still = ["--set", "dropPath=0", "--set", "crop=1", "--set", "seed=3"];
    const [whole, parts] = [await of(1), await of(2)];
    expect(whole).toHaveLength(3);
    for (const [i, loss] of parts.entries()) expect(Math.abs(loss / whole[i]! - 1)).toBeLessThan(1e-4);
  });

  it("accumulates, averages and adapts by low-rank updates, whose result is the plain model", async () => {
    const lora = ["--set", "lora.pattern=**.v_proj", "--set", "lora.rank=2", "--set", "ema=0.9"];
    const chat = ["--set", "length=48", "--set", "template=bare", "--set", "accumulate=2"];
    await train("tiny-chat", "3.2", "talks.json", "--set", `images=${folder.at("photos")}`, ...chat, ...lora);
    const names = [...(await tensors("tiny-chat-3.2")).keys()];
    expect(names.filter((name) => name.includes("lora"))).toEqual([]);
    allFinite("tiny-chat-3.2");
  });
});

it("fine-tunes for retrieval all but what no loss reads", async () => {
  await train("tiny-generative", "retrieval", "pairs", "--from", run("tiny-g-2"), "--set", "resolution=16");
  allFinite("tiny-g-retrieval");
  const same =
    [...(await tensors("tiny-g-retrieval")).keys()].length - (await changed("tiny-g-2", "tiny-g-retrieval")).length;
  expect(same).toBe(1); // QLLaMA's output matrix
});

describe("stage 3", () => {
  const talks = ["--set", "length=48", "--set", "template=bare"];
  const photos = () => ["--set", `images=${folder.at("photos")}`];

  it("by path A trains the MLP, then the language model beside it; what is too long is cut and counted", async () => {
    const { out, err } = await train(
      "tiny-chat",
      "3.1,3.2",
      "talks.json",
      ...photos(),
      ...talks,
      "--from",
      run("tiny-g-2"),
    );
    expect(err).toContain("conversations of more than 48 tokens are truncated (length=48, tooLong=cut)");
    expect(out).toContain('"changed": {');
    allFinite("tiny-chat-3.1");
    expect((await changed("tiny-g-2", "tiny-chat-3.1")).length).toBe(0);
    const found = await changed("tiny-chat-3.1", "tiny-chat-3.2-2");
    expect(found).toContain("model.mm_projector.0.weight");
    expect(found).toContain("lm_head.weight");
    expect(found.filter((name) => name.startsWith("vision_model."))).toEqual([]);
  });

  it("by path B trains the MLPs, then QLLaMA beside them", async () => {
    await train("tiny-chat-queries", "3.1,3.3", "talks.json", ...photos(), ...talks, "--from", run("tiny-g-2"));
    allFinite("tiny-chat-queries-3.3");
    const found = await changed("tiny-chat-queries-3.1", "tiny-chat-queries-3.3");
    expect(found).toContain("query_tokens");
    expect(found.filter((name) => name.startsWith("model.layers."))).toEqual([]);
  });
});

describe("perception", () => {
  it("probes a frozen encoder", async () => {
    await train("tiny-probe", "probe", "classes", "--from", run("tiny-1.2"), "--set", "steps=30", "--set", "rate=0.1");
    const all = losses("tiny-probe-probe");
    expect(all.at(-1)).toBeLessThan(all[0]!);
    expect(await changed("tiny-1.2", "tiny-probe-probe")).toEqual([]);
    const config = JSON.parse(readFileSync(folder.at("runs", "tiny-probe-probe", "config.json"), "utf8")) as object;
    expect(config).toMatchObject({ heddle_model: "tiny-probe", classes: 3, "vision.width": 16 });
  });

  it("segments by a linear head and by UperNet", async () => {
    await train("tiny-linear", "linear", "seg", "--from", run("tiny-1.2"), "--set", "steps=12");
    const all = losses("tiny-linear-linear");
    expect(all.at(-1)).toBeLessThan(all[0]!);
    expect(await changed("tiny-1.2", "tiny-linear-linear")).toEqual([]);
    await train("tiny-upernet", "full", "seg", "--from", run("tiny-1.2"), "--set", "batch=2", "--set", "steps=2");
    allFinite("tiny-upernet-full");
    expect((await changed("tiny-1.2", "tiny-upernet-full")).length).toBeGreaterThan(20);
  });

  it("refuses more classes than the model has, and numbers in masks beyond them", async () => {
    const at = (model: string, stage: string, data: string, ...set: string[]) =>
      heddle(
        "train",
        file(model),
        "--stage",
        stage,
        "--data",
        folder.at(data),
        "--device",
        "cpu",
        "--runs",
        folder.at("no"),
        ...small,
        ...set,
      );
    expect((await at("tiny-probe", "probe", "classes", "--set", "classes=2")).err).toContain(
      'the data has 3 classes, but the model has 2: change the model\'s "classes" with --set',
    );
    expect((await at("tiny-linear", "linear", "seg", "--set", "classes=2")).err).toMatch(
      /the mask of .*blue-[01]\.png has the class 3, but the model has 2 classes from 1 on: change the setting classes or/,
    );
  });
});

describe("a stranger's model", () => {
  it("is trained on folders of classes by its own stage", async () => {
    await train("own-classifier", "classes", "classes", "--set", "classes=3", "--set", "steps=40", "--set", "rate=0.3");
    const all = losses("own-vit-classes");
    expect(all.at(-1)).toBeLessThan(0.5 * all[0]!);
    const published = { image_processor_type: "ViTImageProcessor", size: { height: 8, width: 8 }, image_std: 0.25 };
    const beside = (name: string) => join(run(name), "preprocessor_config.json");
    writeFileSync(beside("own-vit-classes"), JSON.stringify(published));
    const from = ["--from", run("own-vit-classes"), "--set", "momentum=0"];
    const { err } = await train("own-classifier", "classes", "classes", ...from);
    expect(err).toContain(
      "images: 8 × 8, squash, bilinear, mean 0.5 0.5 0.5, std 0.25 0.25 0.25 (preprocessor_config.json",
    );
    expect(JSON.parse(readFileSync(beside("own-vit-classes-2"), "utf8"))).toEqual(published);
    expect(losses("own-vit-classes-2")[0]).toBeLessThan(0.7 * all[0]!); // three classes, which the first run's folder said
  });

  it("is trained within a budget of memory to the same losses", async () => {
    const budget = ["--device", "webgpu", "--memory", "200MiB", "--set", "steps=3", "--runs", folder.at("runs/budget")];
    const { err } = await train("own-towers", "contrast", "pairs", ...budget);
    expect(err).toContain("memory of @contrast: ");
    await train("own-towers", "contrast", "pairs", "--set", "steps=3", "--runs", folder.at("runs/none"));
    const [within, without] = ["budget", "none"].map((at) => losses(`${at}/own-towers-contrast`));
    for (const [i, loss] of within!.entries()) expect(Math.abs(loss / without![i]! - 1)).toBeLessThan(1e-4);
  });

  it("is trained on pairs by its own stage", async () => {
    await train("own-towers", "contrast", "pairs", "--set", "steps=30", "--set", "rate=0.05");
    const all = losses("own-towers-contrast");
    expect(all.at(-1)).toBeLessThan(0.7 * all[0]!);
  });
});

describe("data with broken samples, and data that changes", () => {
  const where = ["--device", "cpu", "--runs", folder.at("broken")];
  const at = (...parts: string[]) => folder.at("broken", "own-towers-contrast", ...parts);
  const skippedIn = (file: string) => (JSON.parse(readFileSync(at(file), "utf8")) as { skipped: object }).skipped;

  it("is counted and named in the report of a run that was stopped, and over all of it once it ends", async () => {
    cpSync(folder.at("pairs"), folder.at("mended"), { recursive: true });
    writeFileSync(folder.at("mended/torn.png"), "no picture");
    writeFileSync(folder.at("mended/torn.txt"), "torn");
    const all = ["--data", folder.at("mended"), ...small, "--set", "checkpointEvery=2"];
    const { status, err } = await heddle("train", file("own-towers"), "--stage", "contrast", ...all, ...where);
    expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
    expect(err).toContain("mended: 1 folder, weight 1, 7 samples");
    expect(err).toContain("the run trains on 16 samples: 2.29 epochs, more of them where samples are skipped");
    expect(err).toContain("mended begins: it has 7 samples");
    const whole = skippedIn("summary.json");
    expect(Object.values(whole)).toEqual([{ count: 1, example: folder.at("mended/torn.png") }]);

    // As if it had been killed after step 2.
    for (const gone of ["summary.json", "model.safetensors", "checkpoints/step-000004"])
      rmSync(at(gone), { recursive: true });
    expect((await heddle("report", at())).status).toBe(0);
    expect(readFileSync(at("report.html"), "utf8")).toContain("torn.png");
    const more = await heddle("train", file("own-towers"), "--stage", "contrast", "--resume", ...where);
    expect([more.status, more.status === 0 ? "" : more.err]).toEqual([0, ""]);
    expect(skippedIn("summary.json")).toEqual(whole);
    expect(JSON.parse(readFileSync(at("summary.json"), "utf8"))).toMatchObject({
      epochs: { [folder.at("mended")]: 3 },
    });
  });

  it("is refused at --resume, by the names of what changed, unless that is asked for", async () => {
    writeFileSync(folder.at("mended/torn.txt"), "mended");
    const resume = ["train", file("own-towers"), "--stage", "contrast", "--resume", "--set", "steps=6", ...where];
    const refused = await heddle(...resume);
    expect(refused.status).toBe(1);
    expect(refused.err).toMatch(
      /the data changed since the checkpoint was saved: .* 1 file with another size: ".*torn\.txt", 4 bytes before, 6 now\n {2}hint: restore the files/,
    );
    const gone = await heddle(...resume, "--changed-data");
    expect([gone.status, gone.status === 0 ? "" : gone.err]).toEqual([0, ""]);
    expect(gone.err).toContain("continuing with the current files");
    const alone = await heddle("train", file("own-towers"), "--stage", "contrast", "--changed-data", ...where);
    expect(alone).toMatchObject({ status: 1, err: expect.stringContaining("--changed-data needs --resume") });
  });
});

describe("what cannot be trained", () => {
  const error = async (...args: string[]) => {
    const ended = await heddle("train", ...args, "--device", "cpu", "--runs", folder.at("none"));
    expect(ended.status).toBe(1);
    return ended.err;
  };

  it("is said, with what to do", async () => {
    const model = file("tiny-model");
    expect(await error(model)).toContain(
      "is a model, which is trained in stages: choose one with --stage 1, or 1.1, or 1.2",
    );
    expect(await error(model, "--stage", "7")).toContain('has no stage "7"; it has 1, 1.1, 1.2');
    expect(await error(model, "--stage", "1")).toContain("needs data: give --data");
    expect(await error(model, "--stage", "1", "--data", folder.at("gone"))).toContain("does not exist");
    expect(await error(model, "--stage", "1", "--data", folder.at("pairs"), "--set", "vocab=100")).toContain(
      "this stage reads texts: give --tokenizer",
    );
    const bytes = [model, "--stage", "1", "--data", folder.at("pairs"), "--tokenizer", "bytes"];
    expect(await error(...bytes, "--set", "vocab=100")).toContain(
      "the tokenizer bytes has 259 ids, but the model has 100",
    );
    expect(await error(...bytes, "--set", "accumulate=3", "--set", "batch=4")).toContain(
      "batch is 4, but must be a multiple of accumulate, which is 3",
    );
    expect(await error(...bytes.slice(0, 4), "a\nb")).toContain('--data "a\\nb" contains a line break: write "?"');
    expect(await error(...bytes, "--set", "keep=0.5")).toContain('has no setting "keep"');
    mkdirSync(folder.at("unusable"));
    for (const name of ["a.png", "a.txt"]) writeFileSync(folder.at("unusable", name), "no picture");
    const validated = [file("own-towers"), "--stage", "contrast", "--data", folder.at("pairs"), ...small];
    const unusable = await error(...validated, "--validate", folder.at("unusable"));
    expect(unusable).toContain("validation found no usable sample: the reasons are reported above");
    expect(unusable).not.toContain("1/4 steps");
    expect(await error(modelFile("../support/job-with-settings.ts"), "--data", "x")).toContain(
      "--data is for a stage of a model: choose one with --stage",
    );
  });
});
