/** The three stages of examples/emoji.ts, a few steps each: what each leaves and tells, and what a resumed run says. */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openSafetensors } from "../../runtime/index.ts";
import { type Ended, heddle, modelFile, scratch } from "../cli/support.ts";

const folder = scratch("stages");
afterAll(() => folder.remove());
const job = modelFile("../../examples/emoji.ts");

const settings = { batch: 4, steps: 2, writing: 1, answering: 1, tested: 6 };
function train(set: Readonly<Record<string, number | string>>, ...more: string[]): Promise<Ended> {
  const chosen = Object.entries(set).flatMap(([k, v]) => ["--set", `${k}=${v}`]);
  return heddle("train", job, "--device", "cpu", "--runs", folder.at("runs"), "--json", ...chosen, ...more);
}

const run = (...parts: string[]) => folder.at("runs", "emoji", ...parts);

async function readTensor(at: string, name: string): Promise<number[]> {
  await using reader = await openSafetensors(at);
  return [...(await reader.readTensor(name)).data];
}

let ended: Ended;
beforeAll(async () => {
  ended = await train(settings);
}, 300_000);

it("run one after the other, each from the one before, and tell what each gave", () => {
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  expect(ended.err).toContain("initialized: 24 tensors: query_tokens, qllama.model.layers.0.cross_attn.*");
  expect(ended.err).toContain("initialized: 8 tensors: model.mm_projector.*");
  const summary = JSON.parse(ended.out) as Record<string, Record<string, unknown>>;
  expect(summary.stages).toMatchObject([
    { name: "contrastive", loss: { first: expect.any(Number) } },
    { name: "matching-and-writing", loss: { last: expect.any(Number) } },
    { name: "answering", seconds: expect.any(Number) },
  ]);
  expect(Object.keys(summary.recallG!)).toEqual(["en", "zh", "ar", "es"]);
  expect(Object.keys(summary.recallG!.en as object)).toEqual(["textToImage", "imageToText"]);
  for (const captions of [summary.captions!, summary.qllamaCaptions!])
    expect(Object.keys(captions)).toEqual(["exact", "mostFrequent"]);
  const measures = ["accuracy", "precision", "recall", "f1", "yes"];
  expect(Object.keys(summary.yesNo!)).toEqual([...measures, "kind", "group"]);
});

it("leave frozen weights as they were, and begin the language model as the one that learned to write", async () => {
  const [first, second, third] = [run(), run("matching-and-writing"), run("answering")];
  for (const name of ["vision_model.encoder.layers.0.attn.qkv.weight", "clip_projector.cross_attn.q.weight"])
    expect(await readTensor(second, name)).toEqual(await readTensor(first, name));
  expect(await readTensor(third, "query_tokens")).toEqual(await readTensor(second, "query_tokens"));
  const [began, ends] = [await readTensor(second, "qllama.lm_head.weight"), await readTensor(third, "lm_head.weight")];
  const moved = began.reduce((most, x, i) => Math.max(most, Math.abs(x - ends[i]!)), 0);
  expect(moved).toBeGreaterThan(0);
  expect(moved).toBeLessThan(0.01); // two steps of a small rate; a fresh draw would be further away
});

it("leave a model, its tokenizer and one report of all of them", () => {
  for (const file of ["model.safetensors", "tokenizer.json", "towers.onnx", "report.html", "summary.json"])
    expect(existsSync(run(file)), file).toBe(true);
  for (const file of ["model.safetensors", "tokenizer.json", "config.json"])
    expect(existsSync(run("matching-and-writing", file)), file).toBe(true);
  const page = readFileSync(run("report.html"), "utf8");
  for (const heading of ["What each stage added", "What it finds", "What it writes", "What it answers"])
    expect(page).toContain(heading);
});

it("say what cannot be changed when they go on", async () => {
  const longer = await train({ steps: 3 }, "--resume");
  expect(longer).toMatchObject({ status: 1, err: expect.stringContaining("finished with 2 steps and would now") });
  const artist = await train({ ...settings, heldOut: "somebody" });
  expect(artist).toMatchObject({ status: 1, err: expect.stringContaining('noto, not "somebody"') });
});
