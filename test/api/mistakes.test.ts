/** What the package's functions refuse, and what a person is told. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { picture } from "../../api/browser-picture.ts";
import * as h from "../../api/index.ts";
import { gpt2Models } from "../../models/gpt2/index.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-mistakes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const point = h.axis("point", 5);
const line = (p: h.Params) => h.mul(h.input("x", "f32", [point]), p.parameter("slope", [], h.zeros));
const model = h.defineModel({ name: "line", summary: "a line", config: {}, build: (p) => ({ y: line(p) }) });
const stage = h.defineStage({
  name: "line",
  optimizer: { rate: h.constantRate(0.1) },
  loss: (p) => ({ loss: h.mean(line(p), point) }),
});
const tensor = (...data: number[]) => h.hostTensor("f32", [{ name: "point", size: data.length }], data);
const weights = new Map([["slope", h.hostTensor("f32", [], [2])]]);
const x = tensor(1, 2, 3, 4, 5);
const device = await h.openDevice("reference");

/** Arguments that a type checker refuses too. */
const any = (value: unknown) => value as never;
const integers = h.hostTensor("i32", [], [2]);

test("a page's drop without a file is no picture", async () => {
  await expect(picture(any(undefined), { size: 8 })).rejects.toThrow("an image must be a File, a Blob, a URL, bytes");
});

test("a size that is no exact integer is no size", () => {
  expect(() => h.axis("a", 1e300)).toThrow('the size of axis "a" must be a positive integer or a symbol, got 1e+300');
});

test("a setting of a model that has none says so", async () => {
  await expect(h.session(device, model, { weights, settings: any({ depth: 2 }) })).rejects.toThrow(
    'line has no setting "depth". It has none.',
  );
});

describe("defaults that are no settings", () => {
  const circle: Record<string, unknown> = { side: 8 };
  circle.inner = { circle };
  test.each([
    [circle, "bad.config.inner.circle contains itself"],
    [{ a: Number.NaN }, "bad.config.a is the number NaN; expected a number"],
    [{ a: new Date(0) }, "bad.config.a is a value of type Date; expected a number"],
    [{ a: { b: new Float32Array(2) } }, "bad.config.a.b is a value of type Float32Array; expected a number"],
    [{ a: new Map([["b", 1]]) }, "bad.config.a is a value of type Map; expected a number"],
    [{ a: 5n }, "bad.config.a is the bigint 5; expected a number"],
    [{ a: [1, () => 1] }, "bad.config.a.1 is a function; expected a number"],
  ])("of a model are named (%#)", (config, says) => {
    expect(() => h.defineModel({ name: "bad", summary: "", config: any(config), build: any(line) })).toThrow(says);
  });

  test.each([
    [circle, 'the job "bad": the setting "inner" must be a number, a string or a boolean, got an object'],
    [{ a: 5n }, 'the setting "a" must be a number, a string or a boolean, got bigint 5'],
    [{ a: Number.NaN }, 'the setting "a" must be a number, a string or a boolean, got number NaN'],
  ])("of a job are named (%#)", (config, says) => {
    expect(() => h.defineJob({ name: "bad", summary: "", config: any(config), build: any(line) })).toThrow(says);
  });

  test("of an optimizer are named", () => {
    const optimizer = { rate: h.constantRate(0.1), weightDecay: any("1") };
    expect(() => h.defineStage({ name: "bad", optimizer, loss: any(line) })).toThrow(
      'the optimizer of stage "bad": weightDecay must be a number, got the string "1"',
    );
  });
});

describe("weights in memory", () => {
  test.each([
    [tensor(1, 2, 3), "f32[point=3]"],
    [integers, "i32[]"],
    [{ ...tensor(1), data: new Float32Array(4) }, "its data has 4 elements"],
    [any(5), "is not a tensor"],
    [any(undefined), "is not a tensor"],
  ])("are refused where they are not the parameter's (%#)", async (slope, says) => {
    const given = { weights: new Map([["slope", slope]]) };
    await expect(h.session(device, model, given)).rejects.toThrow(says);
    await expect(h.compile(model, given)).rejects.toThrow(h.HeddleError);
    await expect(h.exportOnnx(model, given)).rejects.toThrow(says);
  });

  test("may be what load reads, whose axes have no names, and halves", async () => {
    for (const slope of [h.hostTensor("f16", [], Float16Array.of(2)), h.hostTensor("f32", [], [2])]) {
      const path = join(folder, "slope");
      await h.save(
        path,
        new Map([
          ["slope", slope],
          ["x", x],
        ]),
      );
      const file = await h.load(path);
      const read = new Map([
        ["slope", await file.read("slope")],
        ["offset", await file.read("x")],
      ]);
      await file.dispose();
      const moved = (p: h.Params) => ({ y: h.add(line(p), p.parameter("offset", [point], h.zeros)) });
      const both = h.defineModel({ name: "moved", summary: "", config: {}, build: moved });
      const session = await h.session(device, both, { weights: read });
      expect([...(await session.run({ x })).y!.data]).toEqual([3, 6, 9, 12, 15]);
    }
  });

  test("are saved as tensors only", async () => {
    await expect(h.save(join(folder, "a"), any({}))).rejects.toThrow("must be a Map");
    await expect(h.safetensorsBytes(new Map([["a", { ...tensor(1), data: new Float32Array(2) }]]))).rejects.toThrow(
      'tensor "a" is f32[point=1], but its data has 2 elements',
    );
  });
});

test.each<[string, () => Promise<unknown>, string]>([
  ["a promise of a device", () => h.session(any(h.openDevice("reference")), model, { weights }), "await openDevice"],
  [
    "no device",
    () => h.train({ stage, steps: 1, batch: () => ({ x }) }, { device: any(undefined) }),
    "a device must be",
  ],
  ["no GPUDevice", () => h.openDevice(any({})), "or a GPUDevice"],
  ["no model", () => h.session(device, any(undefined)), "defineModel"],
  ["a stage for a model", () => h.compile(any(stage)), "got heddle.stage"],
  ["no weights", () => h.session(device, model, { weights: any(null) }), "a Map of tensors, or { seed }"],
  ["a precision that there is not", () => h.session(device, model, { weights, precision: any("f8") }), '"f8"'],
  [
    "a size that is not open",
    () => h.session(device, model, { weights, sizes: { point: 3 } }),
    'no symbolic size "point"',
  ],
  ["a dtype that there is not", () => h.exportOnnx(model, { weights, dtype: any("f64") }), '"f64"'],
  ["ids of no type", () => h.exportOnnx(model, { weights, ids: any("int16") }), '"int16"'],
  ["an address of no file", () => h.load(new URL("file:///no/%zz")), "%zz is not a valid file URL"],
])("%s", async (_, call, says) => {
  await expect(call()).rejects.toThrow(says);
  await expect(call()).rejects.toThrow(h.HeddleError);
});

describe("a session", () => {
  test("is run with tensors whose data fills their axes", async () => {
    const session = await h.session(device, model, { weights });
    await expect(session.run({ x: { ...x, data: new Float32Array(3) } })).rejects.toThrow("data of 3 elements");
    await expect(session.run(any(undefined))).rejects.toThrow('input "x" of type');
    await expect(session.run({ x }, { fetch: any("y") })).rejects.toThrow("a list of output names");
  });

  test("is run with elements that their dtype holds: executors would each make other numbers of the rest", async () => {
    const axes = [{ name: "n", size: 2 }];
    const n = h.axis("n", 2);
    const build = () => ({ y: h.select(h.input("b", "bool", [n]), h.input("k", "i32", [n]), 0) });
    const session = await h.session(device, h.defineModel({ name: "two", summary: "", config: {}, build }), {});
    const run = async (k: unknown, b: unknown) => {
      const { y } = await session.run({
        k: any({ dtype: "i32", axes, data: k }),
        b: any({ dtype: "bool", axes, data: b }),
      });
      return [...y!.data];
    };
    expect(await run([3, 4], [true, false])).toEqual([3, 0]);
    expect(await run(Float64Array.of(3, -4), Float32Array.of(0, 1))).toEqual([0, -4]);
    await expect(run(Float32Array.of(3, 1.5), Uint8Array.of(1, 255))).rejects.toThrow(
      /"b": element 1 is 255, which bool does not hold: it is 0 or 1\n.*"k": element 1 is 1\.5, which i32 does not hold/,
    );
    await expect(run(BigInt64Array.of(3n, 4n), [1, 0])).rejects.toThrow(
      '"k": element 0 is 3n, no number: convert by Number',
    );
    await expect(run([3, undefined], [1, 0])).rejects.toThrow('"k": element 1 is undefined, no number');
    await expect(session.run({ k: any(new Int32Array(2)) })).rejects.toThrow(
      '"k" is fed the array Int32Array, not a tensor',
    );
    expect(h.hostTensor("i32", axes, Float32Array.of(1, 2)).data).toEqual(Int32Array.of(1, 2));
    expect(() => h.hostTensor("u32", axes, any(Float32Array.of(1, -2)))).toThrow(
      "element 1 is -2, which u32 does not hold",
    );
    expect(() => h.hostTensor("bool", axes, Uint8Array.of(0, 2))).toThrow("element 1 is 2, which bool does not hold");
  });

  test("ends the runs that were begun before it is disposed of, and begins none after", async () => {
    const session = await h.session(device, model, { weights });
    const begun = session.run({ x });
    session.dispose();
    session.dispose();
    await expect(session.run({ x })).rejects.toThrow("the session of @line has been disposed");
    expect([...(await begun).y!.data]).toEqual([2, 4, 6, 8, 10]);
  });

  test("gives outputs that are called as what every object has", async () => {
    const named = h.defineModel({ name: "named", summary: "", config: {}, build: (p) => ({ toString: line(p) }) });
    const session = await h.session(device, named, { weights });
    expect(Object.keys(await session.run({ x }))).toEqual(["toString"]);
  });
});

describe("a training", () => {
  const train = (change: object) =>
    h.train({ stage, steps: 1, batch: () => ({ x }), ...change }, { device, folder: join(folder, "run") });

  test.each([
    [{ from: new Map([["slope", tensor(1, 2)]]) }, "f32[point=2]"],
    [{ from: new Map([["slop", tensor(1)]]) }, 'none of the initial tensors (slop) is a parameter of "line"'],
    [{ from: {} }, "a Map of tensors"],
    [{ sizes: { batch: 2 } }, 'no symbolic size "batch"'],
    [{ batch: undefined }, "a function that returns the feeds of a step"],
    [{ stage: undefined }, "expected a job from defineJob"],
  ])("is refused (%#)", async (change, says) => {
    await expect(train(change)).rejects.toThrow(says);
    await expect(train(change)).rejects.toThrow(h.HeddleError);
  });

  test("of a job is refused where what a parameter begins with has another size", async () => {
    const job = {
      step: h.trainingStep(stage),
      ...{ steps: 1, sizes: {}, seed: 0, checkpointEvery: 1 },
      initial: async () => tensor(1, 2),
      async *batches() {
        yield { feeds: { x }, next: 1 };
      },
    };
    await expect(h.train(job, { device, folder: join(folder, "job") })).rejects.toThrow('"slope" is f32[]');
  });
});

describe("a writer", () => {
  const tiny = { depth: 1, width: 8, heads: 2, mlp: 8, vocab: 300, positions: 12 };
  const options = { weights: { seed: 1 }, tokenizer: h.byteTokenizer, settings: tiny };
  const open = () => h.openWriter(device, gpt2Models[0]!, options);
  const long = { maxNewTokens: 6 };

  test.each<[string, h.WritingOptions, string]>([
    [
      "a prompt that is too long",
      {},
      "has 15 tokens, which leaves no room for new ones: the context length of the model is 12",
    ],
    ["ab", { strategy: any("greedy") }, 'one of { kind: "greedy" }'],
  ])("refuses %s, and writes on", async (prompt, how, says) => {
    const writer = await open();
    await expect(h.generate(writer, prompt.slice(0, 14), how).whole).rejects.toThrow(says);
    expect((await h.generate(writer, "ab", { maxNewTokens: 1 }).whole).tokens).toHaveLength(1);
    writer.dispose();
    await expect(h.generate(writer, "ab").whole).rejects.toThrow('the writer of "gpt2" has been disposed');
  });

  test("needs a tokenizer", async () => {
    const without = { ...options, tokenizer: any(undefined) };
    await expect(h.openWriter(device, gpt2Models[0]!, without)).rejects.toThrow("the result of `tokenizer`");
  });

  test("gives every loop all parts, ends a text whose loop is left, and one that was begun before it is disposed of", async () => {
    const writer = await open();
    const written = h.generate(writer, "ab", long);
    const parts = async () => (await Array.fromAsync(written)).join("");
    const { text } = await written.whole;
    expect(await Promise.all([parts(), parts()])).toEqual([text, text]);
    for await (const _ of h.generate(writer, "ab", long)) break;
    const last = h.generate(writer, "ab", long);
    writer.dispose();
    expect((await last.whole).text).toBe(text);
  });
});
