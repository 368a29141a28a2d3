/** What a start of the command line loads: memory and time of short commands are mostly that. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { modelFile, scratch } from "./support.ts";

const folder = scratch("start");
afterAll(() => folder.remove());

/** Tells what was loaded when the process ends; Node's own modules by the names that it gives them. */
const watch = folder.at("watch.mjs");
writeFileSync(
  watch,
  `import { writeFileSync } from "node:fs";
  import { registerHooks } from "node:module";
  const urls = [];
  registerHooks({ load: (url, context, next) => (urls.push(url), next(url, context)) });
  process.on("exit", () =>
    writeFileSync(process.env.LOADED, JSON.stringify({ urls, stripper: process.moduleLoadList.some((m) => m.includes("amaro")) })));`,
);

interface Start {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
  /** Whether Node loaded what strips types. */
  readonly stripper: boolean;
  readonly urls: readonly string[];
}

/** Runs `heddle` in a process of its own. */
function start(...args: readonly string[]): Start {
  const bin = modelFile("../../bin/heddle.js");
  const told = folder.at("loaded.json");
  const { NODE_COMPILE_CACHE: _, NODE_DISABLE_COMPILE_CACHE: __, ...env } = process.env;
  const ended = spawnSync(process.execPath, ["--import", watch, bin, ...args], { env: { ...env, LOADED: told } });
  const loaded = JSON.parse(readFileSync(told, "utf8")) as Pick<Start, "stripper" | "urls">;
  return { status: ended.status, out: String(ended.stdout), err: String(ended.stderr), ...loaded };
}

describe("inspect", () => {
  start("inspect", modelFile("tiny-model.ts")); // from here on sources are kept
  const { status, urls, stripper } = start("inspect", modelFile("tiny-model.ts"), "--json");
  const loads = (part: RegExp) => urls.filter((url) => part.test(url));

  it("compiles, which is what these tests are about", () => {
    expect(status).toBe(0);
    expect(loads(/\/compiler\/lowering\//)).not.toEqual([]);
  });

  it("loads no room that figures do not need", () => {
    expect(loads(/\/(data|backends\/(onnx|onnxruntime|reference))\/[^.]+\.ts$/)).toEqual([]);
    expect(loads(/\/cli\/commands\/(?!inspect\/)/)).toEqual([]);
  });

  it("loads no package for pictures, devices or files of other programs", () => {
    const package_ = /\/node_modules\/(sharp|webgpu|koffi|tar-stream|onnx-proto|onnxruntime-node|@huggingface)\//;
    expect(loads(package_)).toEqual([]);
  });

  it("strips no types where it did so before, of heddle's files and of the user's", () => {
    expect(loads(/\.ts$/).length).toBeGreaterThan(100);
    expect(stripper).toBe(false);
  });
});

describe("a file of the user's", () => {
  const own = folder.at("own.ts");
  const text = (lines: string) => `${lines}export const text: string = "broken";\nthrow new Error(text as string);\n`;

  it("has the same lines when it is loaded again, and is read anew when it changed", () => {
    writeFileSync(own, text(""));
    const [first, second] = [start("inspect", own), start("inspect", own)];
    expect(first).toMatchObject({ status: 1, err: expect.stringContaining("own.ts:2:") });
    expect(second).toMatchObject({ status: 1, err: first.err, stripper: false });
    writeFileSync(own, text("interface Added { readonly field: number }\n"));
    expect(start("inspect", own)).toMatchObject({ err: expect.stringContaining("own.ts:3:") });
  });
});
