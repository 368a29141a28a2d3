/**
 * Options that are missing, unknown or of another kind, of each function that takes some: one error, which names them
 * all.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import * as h from "../../api/index.ts";
import { gpt2Models } from "../../models/gpt2/index.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-options-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const batch = h.axis("batch", "batch");
const build = (p: h.Params) => ({ y: h.mul(h.input("x", "f32", [batch]), p.parameter("w", [], h.ones)) });
const model = h.defineModel({ name: "line", summary: "a line", config: { by: 1 }, build });
const stage = h.defineStage({
  name: "line",
  optimizer: { rate: h.constantRate(0.1) },
  loss: (p) => ({ loss: h.mean(build(p).y, batch) }),
});
const graph = h.parseGraph(h.inspect(model));
const x = h.hostTensor("f32", [{ name: "batch", size: 1 }], [1]);
const weights = { seed: 1 };
const svg = new Blob(['<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>']);
const tiny = { depth: 1, width: 8, heads: 2, mlp: 8, vocab: 300, positions: 12 };
const device = await h.openDevice("reference");
const session = await h.session(device, model, { weights });
const writer = await h.openWriter(device, gpt2Models[0]!, { weights, tokenizer: h.byteTokenizer, settings: tiny });

/** What a type checker refuses, if there is one. */
const any = (value: unknown) => value as never;

/** Each function with options that may be anything, and options that it takes. */
const functions: Readonly<Record<string, { readonly call: (options: unknown) => unknown; readonly good: object }>> = {
  openDevice: { call: (o) => h.openDevice("reference", any(o)), good: { tuning: false } },
  session: { call: (o) => h.session(device, model, any(o)), good: { weights } },
  run: { call: (o) => session.run({ x }, any(o)), good: { fetch: ["y"] } },
  compile: { call: (o) => h.compile(model, any(o)), good: { weights, sizes: { batch: 1 } } },
  exportOnnx: { call: (o) => h.exportOnnx(model, any(o)), good: { weights } },
  inspect: { call: (o) => h.inspect(model, any(o)), good: { settings: { by: 2 } } },
  picture: { call: (o) => h.picture(svg, any(o)), good: { size: 4 } },
  openWriter: {
    call: (o) => h.openWriter(device, gpt2Models[0]!, any(o)),
    good: { weights, tokenizer: h.byteTokenizer, settings: tiny },
  },
  generate: { call: (o) => h.generate(writer, "ab", any(o)).whole, good: { maxNewTokens: 1 } },
  train: {
    call: (o) =>
      h.train(
        { stage, steps: 1, batch: () => ({ x }), sizes: { batch: 1 } },
        any(o && { ...o, folder: join(folder, "r") }),
      ),
    good: { device },
  },
};

describe.each(Object.entries(functions))("%s", (name, { call, good }) => {
  const fails = async (options: unknown, says: string) => {
    const failing = async () => void (await call(options));
    await expect(failing()).rejects.toThrow(says);
    await expect(failing()).rejects.toThrow(h.HeddleError);
  };

  test("takes what it knows, and refuses null and names that there are not", async () => {
    await call({ ...good, ...Object.fromEntries(Object.keys(good).map((key) => [`${key}`, good[key as never]])) });
    if (name !== "train") await fails(null, `the options of ${name} must be an object with`);
    await fails({ ...good, colour: 1 }, `${name} has no option "colour"`);
  });

  test("refuses null for each of its options", async () => {
    for (const key of Object.keys(good))
      await fails({ ...good, [key]: null }, key === "device" ? "a device must be" : `"${key}"`);
  });
});

test.each<[string, () => Promise<unknown>, string | RegExp]>([
  [
    "all at once",
    () => h.session(device, model, any({ weigths: 1, sizes: 3 })),
    /no option "weigths"; did you mean "weights".*\n.*"sizes"/,
  ],
  [
    "settings for a graph",
    () => h.session(device, graph, { weights, settings: any({ by: 2 }) }),
    "only models take settings",
  ],
  ["a graph of a graph", () => h.session(device, graph, { weights, graph: "b" }), "only models take graph"],
  ["an object of weights", () => h.session(device, model, { weights: any({ w: x }) }), "a Map of tensors, or { seed }"],
  ["more than a seed", () => h.session(device, model, { weights: any({ seed: 1, sed: 2 }) }), '"sed"'],
  ["feeds of a Map", () => session.run(any(new Map([["x", x]]))), "must be an object of tensors by name, { x }"],
  ["an address as a text", () => h.load("https://example.org/a.safetensors"), "new URL(address)"],
  ["an empty path", () => h.load(""), "must not be empty"],
  ["an address of another kind", () => h.load(new URL("data:text/plain,a")), "not an http, https or file URL"],
  [
    "a tensor without a name",
    async () => h.save(join(folder, "a"), any(new Map([[3, x]]))),
    "the name of a tensor must be a string",
  ],
  ["a file without a path", () => h.save(any(null), new Map()), "a file path, got null"],
  ["a picture of no statistics", () => h.picture(svg, { size: 4, preprocessing: any({}) }), "{ mean, std }"],
  ["a picture for no mode", () => h.picture(svg, { size: 4, mode: any("x") }), '"features"'],
  ["a picture larger than memory", () => h.picture(svg, { size: 1e9 }), "from 1 to 16384"],
  ["a prompt that is no text", () => h.generate(writer, any(undefined)).whole, "the prompt must be a string"],
  ["no writer", () => h.generate(any(Promise.resolve()), "a").whole, "await openWriter"],
  [
    "a strategy that is misspelt",
    () => h.generate(writer, "a", { strategy: any({ kind: "greedy", seed: 1 }) }).whole,
    '"seed"',
  ],
  ["beams without a number", () => h.generate(writer, "a", { strategy: any({ kind: "beam" }) }).whole, '"beams"'],
  ["beams beyond memory", () => h.generate(writer, "a", { strategy: { kind: "beam", beams: 1e9 } }).whole, "1 to 1000"],
  [
    "a writer of no model",
    () => h.openWriter(device, any(graph), { weights, tokenizer: h.byteTokenizer }),
    "takes a model",
  ],
  ["what only looks like a GPU", () => h.openDevice(any({ createBuffer() {} })), "or a GPUDevice"],
])("%s is refused", async (_, call, says) => {
  await expect(call()).rejects.toThrow(says);
  await expect(call()).rejects.toThrow(h.HeddleError);
});

test.each<[string, () => unknown, string]>([
  ["dtype", () => h.hostTensor(any("f64"), [], [1]), "one of f32, f16, i32, u32, bool"],
  ["axes", () => h.hostTensor("f32", any([5]), [1]), "the last one contiguous"],
  ["data", () => h.hostTensor("f32", [], any(null)), "a typed array or a list"],
  ["elements", () => h.hostTensor("f32", [{ name: "a", size: 1 }], any(["1"])), "no number"],
  ["text", () => h.parseGraph(any(null)), "from its text"],
  ["model", () => h.defineModel(any(null)), "a model must be an object { name, summary, config, build }, got null"],
  ["stage", () => h.defineStage(any(null)), "a stage must be an object { name, loss, optimizer }, got null"],
  ["job", () => h.defineJob(any(null)), "needs `build`"],
  ["field", () => h.defineJob(any({ name: "j", summary: "", config: {}, biuld: 1 })), 'did you mean "build"?'],
  ["address", () => h.urlFiles("a.safetensors"), "begins with http:// or https://"],
  ["blobs", () => h.blobFileSystem(any({ a: new Blob() })), "a Map from file names to Blobs"],
])("what is made of no %s is refused", (_, make, says) => {
  expect(make).toThrow(says);
  expect(make).toThrow(h.UsageError);
});

test("a prompt with tokens of another model's tokenizer is refused before it is run", async () => {
  const small = { weights, tokenizer: h.byteTokenizer, settings: { ...tiny, vocab: 10 } };
  const other = await h.openWriter(device, gpt2Models[0]!, small);
  await expect(h.generate(other, "ab").whole).rejects.toThrow("the tokenizer belongs to another model");
});
