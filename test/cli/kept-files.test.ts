/** What lies beside the weights that a run or a conversion starts from, and comes to lie beside those it writes. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { colourData } from "./colour-data.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("kept-files");
beforeAll(async () => {
  await colourData(folder);
  writeFileSync(folder.at("text.txt"), "the quick brown fox jumps over the lazy dog. ".repeat(40));
});
afterAll(() => folder.remove());

type Json = Readonly<Record<string, unknown>>;
const file = (family: string) => modelFile(`strangers/${family}.ts`);
const published = (family: string) => fileURLToPath(new URL(`../fixtures/strangers/${family}`, import.meta.url));
const read = (...path: string[]): Json => JSON.parse(readFileSync(join(...path), "utf8")) as Json;
/** Without what is about the file and not about the model. */
const fieldsOf = ({ transformers_version: _, dtype: __, ...kept }: Json): Json => kept;

async function ok(...args: string[]) {
  const ended = await heddle(...args);
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended;
}

const train = async (runs: string, family: string, stage: string, data: string, ...more: string[]) => {
  const settings = ["workers=0", "batch=3", "steps=1"].flatMap((s) => ["--set", s]);
  const at = ["--device", "cpu", "--runs", folder.at(runs)];
  await ok("train", file(family), "--stage", stage, "--data", folder.at(data), ...at, ...settings, ...more);
  return folder.at(runs, `${family}-${stage}`);
};

/** The labels of a picture, most likely first. */
async function labels(family: string, weights: string): Promise<readonly string[]> {
  const where = ["--weights", weights, "--device", "cpu", "--json"];
  const { out } = await ok("run", file(family), ...where, "classify", "--image", folder.at("pairs/red-0.png"));
  const [{ guesses }] = JSON.parse(out) as [{ guesses: { label: string }[] }];
  return guesses.map(({ label }) => label);
}

describe("fields of config.json that a record does not write", () => {
  it("are kept when its weights are converted, in the configurations of parts too", async () => {
    const out = folder.at("trocr");
    await ok("convert", file("trocr"), "--weights", published("trocr"), "--out", out);
    const kept = fieldsOf(read(published("trocr"), "config.json"));
    expect(fieldsOf(read(out, "config.json"))).toMatchObject(kept);
    expect(kept.decoder).toMatchObject({ scale_embedding: true }); // which the record does not write
  });

  it("and generation_config.json are kept with a run's weights", async () => {
    const from = folder.at("gpt-neox");
    cpSync(published("gpt-neox"), from, { recursive: true });
    const rules = { repetition_penalty: 1.3 };
    writeFileSync(join(from, "generation_config.json"), JSON.stringify(rules));
    const bytes = ["--tokenizer", "bytes"];
    const run = await train("texts", "gpt-neox", "texts", "text.txt", "--from", from, ...bytes);
    expect(read(run, "config.json")).toMatchObject(fieldsOf(read(from, "config.json")));
    expect(read(run, "generation_config.json")).toEqual(rules);
  });
});

describe("class names", () => {
  it("are those of the data's folders", async () => {
    const run = await train("named", "convnext", "classes", "classes", "--set", "classes=3");
    expect((await labels("convnext", run)).toSorted()).toEqual(["blue", "green", "red"]);
  });

  it("have the classes' numbers, of which the data has fewer than the model", async () => {
    const run = await train("fewer", "convnext", "classes", "classes", "--from", published("convnext"));
    expect((await labels("convnext", run)).toSorted()).toEqual(["blue", "class 3", "green", "red"]);
  });

  it("of weights without data that names classes are those that they had", async () => {
    const out = folder.at("converted");
    await ok("convert", file("convnext"), "--weights", published("convnext"), "--out", out);
    expect((await labels("convnext", out)).toSorted()).toEqual(["ant", "bee", "cow", "dog"]);
  });
});
