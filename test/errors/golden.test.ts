/** The full text of errors: a model's mistake at the user's line, and every mistake of a graph's text. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkGraphText, GraphTextError, parseGraph, ShapeError, setSourceReader } from "../../compiler/index.ts";
import { filesBelow } from "../golden/golden-file.ts";

const root = new URL("../../", import.meta.url);
const accept = process.env.GOLDEN === "accept";

beforeAll(() => setSourceReader((file) => readFileSync(new URL(file, root), "utf8")));
afterAll(() => setSourceReader(() => undefined));

/** Compares a text with the file that lies beside its source; `npm run golden` writes it anew. */
function expectText(path: string, text: string): void {
  if (accept) writeFileSync(path, text);
  expect(existsSync(path) ? readFileSync(path, "utf8") : "(there is no such file)").toBe(text);
}

function errorOf(body: () => unknown): Error {
  try {
    body();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

describe("a mistake in a model", () => {
  it.each(filesBelow(`${import.meta.dirname}/models`, ".ts"))("$name", async ({ path }) => {
    const { build } = (await import(path)) as { build: () => unknown };
    const error = errorOf(build);
    expect(error).toBeInstanceOf(ShapeError);
    expectText(path.replace(/\.ts$/, ".txt"), `${error}\n`);
  });
});

describe("mistakes in a graph's text", () => {
  it.each(filesBelow(`${import.meta.dirname}/texts`, ".graph"))("$name", ({ name, path }) => {
    const error = errorOf(() => parseGraph(readFileSync(path, "utf8"), name));
    expect(error).toBeInstanceOf(GraphTextError);
    expectText(path.replace(/\.graph$/, ".txt"), `${error}\n`);
  });

  it("six of them are six, each at its own line", () => {
    const { mistakes } = checkGraphText(readFileSync(`${import.meta.dirname}/texts/six-mistakes.graph`, "utf8"));
    expect(mistakes.map((m) => m.line)).toEqual([4, 5, 6, 7, 8, 9]);
  });
});
