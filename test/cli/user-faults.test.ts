/** What a user's own model or job throws is told as theirs, with the line, wherever it is called from. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { heddle, modelFile, scratch, writePicture } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("user-faults");
afterAll(() => folder.remove());
beforeAll(async () => {
  for (const [i, name] of ["cat", "dog"].entries()) {
    mkdirSync(folder.at("classes", name), { recursive: true });
    for (const n of [0, 1]) await writePicture(folder.at("classes", name, `${n}.png`), 200 * i, 20 * n, 0);
  }
});

/**
 * The file of another test's model or job with one piece of it replaced, and the number of the line where that stands.
 */
function spoilt(original: string, name: string, piece: string, by: string) {
  const source = readFileSync(modelFile(original), "utf8");
  expect(source.split(piece)).toHaveLength(2);
  const text = source
    .replace(piece, by)
    .replaceAll('"../../', `"${modelFile("../../")}`)
    .replaceAll('"./', `"${modelFile("../support/")}`);
  const file = folder.at(name);
  writeFileSync(file, text);
  return { file, line: text.slice(0, text.indexOf(by)).split("\n").length };
}

const thrown = "(undefined as never as { x: { y: number } }).x.y";
const feeds = "{ label: perRow(rows.map((row) => row.label)) }";
const onCpu = ["--device", "cpu", "--runs", folder.at("runs"), "--set", "steps=2", "--set", "workers=0"];

describe("a stage of one's own", () => {
  const inStage = (name: string, piece: string, by: string) => spoilt("own-classifier.ts", `${name}.ts`, piece, by);
  it.each([
    ["feeds", inStage("feeds", feeds, `{ label: ${thrown} as never }`)],
    ["loss", inStage("loss", "const scores = classify(p, c);", `const scores = classify(p, c); void ${thrown};`)],
    ["recipe", inStage("recipe", "config: c,", `config: ${thrown} as never,`)],
    ["what the language cannot take", inStage("language", "gelu(mixed)", "undefined as never")],
    ["the file itself", inStage("file", "side: 8,", `side: ${thrown},`)],
  ])("%s", async (_, { file, line }) => {
    const { status, err } = await heddle(
      "train",
      file,
      ...["--stage", "classes", "--data", folder.at("classes"), ...onCpu],
    );
    expect(err).toMatch(/TypeError at .*: Cannot read properties of undefined|UsageError: reduce_sum: x is undefined/);
    expect(err).toContain(`${file}:${line}:`);
    expect(err).not.toMatch(/heddle itself failed|\n {4}at /);
    expect(status).toBe(1);
    expect(existsSync(folder.at("runs")) ? readdirSync(folder.at("runs")) : []).toEqual([]);
  });

  it("a mistake in what `feeds` is given", async () => {
    const { file, line } = inStage(
      "context",
      `feeds: (rows) => (${feeds})`,
      "feeds: (rows, context) => ({ label: perRow(context.text.encode(rows[0]!.name, 3)) })",
    );
    const { status, err } = await heddle(
      "train",
      file,
      ...["--stage", "classes", "--data", folder.at("classes"), ...onCpu],
    );
    expect(err).toContain("its data must declare the model's vocabulary size");
    expect(err).toContain(`at ${file}:${line}:`);
    expect(status).toBe(1);
  });

  it("says so of what is thrown and is no Error", async () => {
    const { file } = inStage(
      "text",
      "feeds: (rows) => (",
      'feeds: (rows) => ((() => { throw "no"; }) as () => void)() as never ?? (',
    );
    const { status, err } = await heddle(
      "train",
      file,
      ...["--stage", "classes", "--data", folder.at("classes"), ...onCpu],
    );
    expect(err).toContain("no was thrown, which is not an Error");
    expect(status).toBe(1);
  });
});

it.each([
  ["build", "const tiny = tinyJob(c.steps);", `const tiny = tinyJob(c.steps); void ${thrown};`],
  ["batches", "await sleep(delay);", `void ${thrown};`],
  ["validation", "...tiny,", `...tiny, validate: { every: 1, run: async () => ${thrown} as never },`],
  ["finish", "...tiny,", `...tiny, finish: async () => ${thrown} as never,`],
])("a job's %s", async (name, piece, by) => {
  const { file, line } = spoilt("../support/job-with-settings.ts", `job-${name}.ts`, piece, by);
  const { status, err } = await heddle("train", file, "--device", "cpu", "--runs", folder.at("jobs", name));
  expect(err).toContain(`TypeError at ${file}:${line}:`);
  expect(err).not.toMatch(/heddle itself failed|\n {4}at /);
  expect(status).toBe(1);
});

describe("a mistake in a model's file says what, where and what to do", () => {
  const build = "build: (p, c) => ({ scores: classify(p, c) }),";
  const built = (by: string) => [build, `build: (${by}) as never,`] as const;
  const stage = ["--stage", "classes"];
  const declared = "export default defineModel";
  const pooled = "const pooled = mean(gelu(mixed), token);";
  const before = (code: string) => [pooled, `${code} ${pooled}`] as const;

  it.each<[string, readonly string[], readonly [string, string], string, string?]>([
    [
      "an option of a layer",
      [],
      ["{ init: normal(0.02) }", "{ bais: false } as never"],
      'linear has no option "bais"; did you',
    ],
    [
      "options of another kind",
      [],
      ["patches, [embed])", 'patches, [embed], "1e-6" as never)'],
      "the options of layerNorm must be an object",
    ],
    [
      "an axis whose size is misspelt",
      [],
      ['axis("class", c.classes)', 'axis("class", (c as never as { n: number }).n)'],
      'the size of axis "class" must be a positive integer or a symbol, got undefined',
    ],
    ["an axis that is not there", [], ["[embed], [axis(", "[embed], [undefined as never, axis("], "TypeError at"],
    ["an axis that the tensor lacks", [], ["pooled, [embed]", "pooled, [token] as never"], "[contract C1]"],
    [
      "an open size of a parameter",
      [],
      ['axis("class", c.classes)', 'axis("class", "n")'],
      'parameter "head.weight" has the axis "class" of symbolic size n',
    ],
    [
      "a dtype that there is not",
      [],
      ['input("pixels", "f32"', 'input("pixels", "float32" as never'],
      'the dtype of input "pixels" must be one of',
    ],
    [
      "whole numbers where floats are needed",
      [],
      ['input("pixels", "f32"', 'input("pixels", "i32"'],
      "convert one with cast(x, dtype)",
    ],
    ["a cast to no dtype", [], before('(0, cast)(mixed, "bf16" as never);'), "the dtype of cast must be"],
    [
      "a number where a parameter's beginning belongs",
      [],
      before('p.parameter("a", [embed], 0.02 as never);'),
      "expected one such as zeros, ones",
    ],
    [
      "+ on tensors",
      [],
      ["mean(gelu(mixed), token)", "mean((mixed as never) + (mixed as never) as never, token)"],
      "the + of JavaScript joins texts",
    ],
    ["a method that tensors do not have", [], ["gelu(mixed)", "(mixed as any).gelu()"], "mixed.gelu is not a function"],
    [
      "a build that gives a tensor",
      [],
      built("(p: never, c: never) => classify(p, c)"),
      "the build of own-vit returns a tensor; expected",
      declared,
    ],
    ["a build that gives nothing", [], built("() => {}"), "the build of own-vit returns undefined", declared],
    [
      "a build that gives a number",
      [],
      built("() => ({ scores: 3 })"),
      'returns the number 3 as output "scores"',
      declared,
    ],
    ["a build that gives no output", [], built("() => ({})"), "returns no outputs", declared],
    ["an async build", [], built("async (p: never, c: never) => ({ s: classify(p, c) })"), "remove `async`", declared],
    ["no build", [], [build, ""], "own-vit needs `build`, a function", declared],
    ["no name", [], ['  name: "own-vit",\n', ""], "a model needs `name`", declared],
    [
      "a misspelt field",
      [],
      ["  stages: {", "  stagse: {"],
      'a model has no field "stagse"; did you mean "stages"?',
      declared,
    ],
    [
      "a mode of no graph",
      [],
      [build, `${build} modes: { features: { graph: "states" } },`],
      'names the graph "states", which own-vit does not have',
      declared,
    ],
    [
      "a misspelt mode",
      [],
      [build, `${build} modes: { clasify: { output: "scores" } } as never,`],
      'no field "clasify"; did you mean "classify"?',
      declared,
    ],
    [
      "a field of pictures",
      [],
      [build, `${build} preprocessing: { fit: "crp", mean: [0, 0, 0], std: [1, 1] } as never,`],
      "fit must be one of crop, squash, pad",
      declared,
    ],
    [
      "one list of rules too few",
      [],
      [build, `${build} checkpoints: { layouts: [{ path: "a", name: "a", axes: "" }] as never },`],
      "[[rule, rule]]",
      declared,
    ],
    [
      "a misspelt field of a rule",
      [],
      [build, `${build} checkpoints: { layouts: [[{ path: "a", nam: "a", axes: "" }]] as never },`],
      'no field "nam"; did you mean "name"?',
      declared,
    ],
    [
      "a stage that is a record",
      stage,
      ["classes: (c, given) => {", "other: {} as never, classes: (c, given) => {"],
      "expected a function (config, given)",
      declared,
    ],
    [
      "a recipe without steps",
      stage,
      ["...{ steps, batch, rate },", "batch, rate,"],
      "needs `steps`, a number, got undefined",
      declared,
    ],
    [
      "a misspelt field of a recipe",
      stage,
      ["startsFrom:", "startFrom:"],
      'no field "startFrom"; did you mean "startsFrom"?',
      declared,
    ],
    [
      "a misspelt field of a stage",
      stage,
      ['name: "classes",\n', 'name: "classes", trainabel: ["head.**"],\n'],
      'no field "trainabel"; did you mean "trainable"?',
    ],
    [
      "no optimizer",
      stage,
      ["optimizer: { rule: sgd({ momentum }), rate: constantRate(rate), clip: 1 },", ""],
      "needs `optimizer`, such as",
    ],
    [
      "a rate that is a number",
      stage,
      ["constantRate(rate)", "0.1 as never"],
      "needs `rate`, a schedule such as constantRate",
    ],
    [
      "a misspelt field of an optimizer",
      stage,
      ["clip: 1", "wieghtDecay: 1"],
      'no field "wieghtDecay"; did you mean "weightDecay"?',
    ],
    [
      "a schedule without its number",
      stage,
      ["constantRate(rate)", "constantRate(undefined as never)"],
      "rate of constantRate must be a number",
    ],
    [
      "a loss that is a bare tensor",
      stage,
      ["return {\n              loss: mean(", "return {\n              los: mean("],
      'no field "los"; did you mean',
    ],
  ])("%s", async (name, args, [piece, by], message, at) => {
    const { file } = spoilt("own-classifier.ts", `mistake-${name.replaceAll(/\W/g, "-")}.ts`, piece, by);
    const source = readFileSync(file, "utf8").replace("  axisOf,", "  axisOf, cast,");
    writeFileSync(file, source);
    const { status, err } = await heddle("inspect", file, ...args);
    expect(err).toContain(message);
    const place = at === undefined ? "" : `${source.slice(0, source.indexOf(at)).split("\n").length}:`;
    expect(err).toContain(`${file}:${place}`);
    expect(err).not.toMatch(/heddle itself failed|\n {4}at /);
    expect(status).toBe(1);
  });
});

/** What `heddle inspect` says of each file in one process of its own, where Node loads them. */
async function inNode(files: readonly string[]): Promise<readonly { readonly status: number; readonly err: string }[]> {
  const program = `
    const { main } = await import(${JSON.stringify(modelFile("../../cli/index.ts"))});
    const print = process.stdout.write.bind(process.stdout);
    let err = "";
    process.stdout.write = () => true;
    process.stderr.write = (text) => ((err += text), true);
    for (const file of ${JSON.stringify(files)}) {
      err = "";
      const status = await main(["inspect", file]);
      print(JSON.stringify({ status, err }) + "\\n");
    }`;
  const child = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = (await text(child.stdout)).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

describe("a file that Node loads", () => {
  const door = modelFile("../../dsl/index.ts");
  const one = 'h.defineModel({ name: "m", summary: "", config: {}, build: () => ({ x: h.input("x", "f32", []) }) });';
  const model = `import * as h from "${door}";\nconst model = ${one}\n`;
  const commonJs = folder.at("commonjs", "package.json");
  /** By the file's name: its text, and what is said of it; nothing of one that is a model. */
  const files: Readonly<Record<string, readonly [string, string?]>> = {
    "two.ts": [
      `${model}export const a = model; export const b = { ...model };`,
      "exports several models, a, b: export one",
    ],
    "function.ts": [`${model}export default () => model;`, "its default export is a function"],
    "promise.ts": [`${model}export default Promise.resolve(model);`, "its default export is a promise"],
    "enum.ts": [`${model}export default model; enum Side { left }`, "Node only strips types: enum"],
    "extension.ts": ['import "./layers"; export default 1;', "an import needs the full file name, with its extension"],
    "export.ts": [
      `import { linaer } from "${door}"; export default linaer;`,
      'heddle exports no "linaer"; did you mean "linear"',
    ],
    "text.txt": ["", "is not a model: a model file ends in .ts"],
    "commonjs/module.js": [`${model}export default model;`, `${commonJs} makes it CommonJS: rename the file to .mts`],
    "commonjs/script.js": [`const h = require("${door}"); module.exports = ${one}`],
    "commonjs/module.mjs": [`${model}export default model;`],
    "commonjs/module.ts": [`/** export nothing */\n${model}export default model;`],
    "commonjs/script.ts": [`/** export nothing */\nconst h = require("${door}"); module.exports = ${one}`],
  };
  let said: Awaited<ReturnType<typeof inNode>>;
  beforeAll(async () => {
    mkdirSync(folder.at("commonjs"));
    writeFileSync(commonJs, '{ "type": "commonjs" }');
    for (const [name, [text]] of Object.entries(files)) writeFileSync(folder.at(name), text);
    said = await inNode(Object.keys(files).map((name) => folder.at(name)));
  });

  it.each(Object.keys(files))("%s", (name) => {
    const { status, err } = said[Object.keys(files).indexOf(name)]!;
    const [, message] = files[name]!;
    expect(err).toContain(message ?? "");
    expect(err).not.toMatch(/heddle itself failed|\n {4}at /);
    expect(status).toBe(message === undefined ? 0 : 1);
  });
});

describe("--check-types", () => {
  it("tells what TypeScript says, by line, and does not load the file", async () => {
    const { file, line } = spoilt("own-classifier.ts", "types.ts", "{ init: normal(0.02) }", "{ bais: false }");
    const { status, out, err } = await heddle("inspect", file, "--check-types");
    expect(err).toMatch(
      /has a type error\n {2}.*types\.ts:\d+:\d+: TS2353: .*'bais' does not exist in type 'LinearOptions'/,
    );
    expect(err).toContain(`types.ts:${line}:`);
    expect({ status, out }).toEqual({ status: 1, out: "" });
  });

  it("is about files of programs", async () => {
    const { status, err } = await heddle("inspect", "internvit-6b", "--check-types");
    expect(err).toContain("--check-types needs a TypeScript or JavaScript file");
    expect(status).toBe(1);
  });
});

describe("a layout of one's own", () => {
  const written = (file: string, rules: string) =>
    writeFileSync(
      file,
      `import { axis, defineModel, input, linear, same } from "${modelFile("../../dsl/index.ts")}";
const [x, y] = [axis("x", 2), axis("y", 3)];

export default defineModel({
  name: "own", summary: "one layer", config: { width: 3 },
  checkpoints: { layouts: [[${rules}]] },
  build: (p) => ({ out: linear(p.scope("fc"), input("in", "f32", [x]), [x], [y]) }),
});
`,
    );

  it.each(
    [
      [`same("fc.weight", "y x")`, /layout of "own" has no rule for fc.bias/],
      [
        `same("fc.weight", "y"), same("fc.bias", "y")`,
        /"fc.weight" has the axes \[y, x\], but its checkpoint layout says "y"/,
      ],
      [`same("fc.weight", "y x*1/z+1"), same("fc.bias", "y")`, /no parameter in "fc.weight" has an axis "z"/],
    ].map(([rules, message], i) => [rules, message, folder.at(`layout-${i}.ts`)] as const),
  )("%s", async (rules, message, file) => {
    written(file, rules as string);
    const { status, err } = await heddle("convert", file, "--weights", "random", "--out", folder.at("converted"));
    expect([status, err]).toEqual([1, expect.stringMatching(message as RegExp)]);
    expect(err).toContain(`at ${file}:4:16`);
  });
});
