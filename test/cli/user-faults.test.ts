/** What a user's own model or job throws is told as theirs, with the line, wherever it is called from. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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

/** The file of another test's model or job with one piece of it replaced, and the number of the line where that stands. */
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
    expect(err).toMatch(/TypeError at .*: Cannot read properties of undefined/);
    expect(err).toContain(`${file}:${line}:`);
    expect(err).not.toMatch(/heddle itself failed|\n {4}at /);
    expect(status).toBe(1);
    expect(existsSync(folder.at("runs")) ? readdirSync(folder.at("runs")) : []).toEqual([]);
  });

  it("says so of what is thrown and is no Error", async () => {
    const { file } = inStage(
      "text",
      "feeds: (rows) => (",
      'feeds: (rows) => { throw "no"; }, unused: (rows: never[]) => (',
    );
    const { status, err } = await heddle(
      "train",
      file,
      ...["--stage", "classes", "--data", folder.at("classes"), ...onCpu],
    );
    expect(err).toContain("no was thrown, which is no Error");
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
