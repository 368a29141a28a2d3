/** Files that others made, with real weights: PP-OCR reads a picture, as onnxruntime reads it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend } from "../../../backends/backend.ts";
import { openOnnx } from "../../../backends/onnx/node-index.ts";
import { cpuBackend } from "../../../backends/onnxruntime/index.ts";
import { difference } from "../../models/support.ts";
import { runImported, sidesOf } from "./imported-stage.ts";
import { assets, cutOf, drawing, modelFile, throughOrt } from "./ocr-files.ts";
import { lettersFile, readText, type Stage } from "./reading-text.ts";

/**
 * Of the stages that take pictures of any sides: what all their strides divide. The classifier's pictures have one
 * size.
 */
const openSides: Partial<Record<Stage, Readonly<Record<string, string>>>> = {
  detect: { p2o_DynamicDimension_1: "32*rows", p2o_DynamicDimension_2: "32*columns" },
  recognize: { p2o_DynamicDimension_1: "8*columns" },
};

let cpu: Backend;
beforeAll(async () => {
  cpu = await cpuBackend({ threads: 1 });
});
afterAll(() => cpu.dispose());

it("reads text in a picture, each stage within 1e-3 of onnxruntime", async () => {
  const differences: Partial<Record<Stage, number>> = {};
  const cut = cutOf(await drawing("HELLO", 256, 96));
  const names = readFileSync(join(assets, lettersFile), "utf8");
  const { text, upright } = await readText(cut, names, async (stage, input) => {
    const imported = await openOnnx(modelFile(stage), { sizes: openSides[stage] ?? sidesOf(stage, input) });
    const [made, want] = [await runImported(cpu, imported, input), await throughOrt(stage, input)];
    expect(made.shape).toEqual(want.shape);
    differences[stage] = difference(made.data, want.data);
    return made;
  });
  expect(text).toBe("HELLO");
  expect(upright).toBeGreaterThan(0.5);
  expect(Object.values(differences).every((d) => d < 1e-3)).toBe(true);
}, 60_000);
