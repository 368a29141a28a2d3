/** Modes that another graph of a model serves than its main one, in `run` and `evaluate`. */
import { mkdirSync } from "node:fs";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import { defineModel, type ModelModes } from "../../dsl/index.ts";
import model from "./served-graphs.ts";
import { heddle, modelFile, scratch, writePicture } from "./support.ts";

const folder = scratch("served-graphs");
afterAll(() => folder.remove());

const colours = { a: [220, 20, 20], b: [20, 200, 30], c: [20, 30, 220] } as const;
const image = (name: string) => folder.at("data", name, `${name}.png`);

beforeAll(async () => {
  for (const [name, [r, g, b]] of Object.entries(colours)) {
    mkdirSync(folder.at("data", name), { recursive: true });
    await writePicture(image(name), r, g, b);
  }
});

const given = ["--weights", "random", "--device", "cpu", "--tokenizer", "bytes"];
const run = (...args: string[]) => heddle("run", modelFile("served-graphs.ts"), ...given, "--json", ...args);
const evaluate = (protocol: string, ...args: string[]) =>
  heddle("evaluate", modelFile("served-graphs.ts"), ...given, "--protocol", protocol, "--json", ...args);

it("classify reads the logits of the graph that its mode names", async () => {
  const ended = await run("classify", "--image", image("b"), "--labels", "a,b,c");
  expect(ended, ended.err).toMatchObject({ status: 0 });
  const [{ guesses }] = JSON.parse(ended.out) as [{ guesses: { label: string }[] }];
  expect(guesses.map((g) => g.label)).toEqual(["b", "c", "a"]);
});

it("segment reads the maps of the graph that its mode names", async () => {
  expect(await run("segment", "--image", image("c"), "--out", folder.at("maps"))).toMatchObject({ status: 0 });
  const classes = await sharp(folder.at("maps", "c.classes.png")).toColourspace("b-w").raw().toBuffer();
  expect([...new Set(classes)].sort()).toEqual([0, 2]); // the picture's stripe is red
});

it("retrieve and zero-shot read the vectors of the graph that compare names", async () => {
  const index = folder.at("index.safetensors");
  expect(await run("retrieve", "index", folder.at("data"), "--out", index)).toMatchObject({ status: 0 });
  const { out } = await run("retrieve", "search", "--index", index, "--text", "c", "--top", "1");
  expect(JSON.parse(out)).toMatchObject({ found: [{ name: "c/c.png" }] });
  const ended = await evaluate("zero-shot", "--data", folder.at("data"));
  expect(ended, ended.err).toMatchObject({ status: 0 });
  expect(JSON.parse(ended.out)).toMatchObject({ results: { all: { top1: 1 } } });
});

it.each([
  ["classify", { graph: "head", output: "scores" }],
  ["segment", { graph: "head", output: "map" }],
  ["compare", { graph: "head" }],
])("a graph of %s that the model does not have is an error where the model is declared", (mode, about) => {
  const { kind, ...record } = model;
  const modes = { [mode]: about } as ModelModes;
  expect(() => defineModel({ ...record, modes })).toThrow(
    `served-graphs.modes.${mode}.graph names the graph "head", which served-graphs does not have; did you mean "heads"?`,
  );
});
