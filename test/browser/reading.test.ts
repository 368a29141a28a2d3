/** Files that others made, with real weights, in real Chromium: PP-OCR is imported there and reads a picture. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { difference } from "../models/support.ts";
import { assets, drawing, throughOrt } from "../onnx/import/ocr-files.ts";
import { lettersFile, modelFiles } from "../onnx/import/reading-text.ts";
import { browserTest } from "./support.ts";

browserTest(
  "imported files read text in a page, each stage within 1e-3 of onnxruntime",
  { timeout: 120_000 },
  async ({ chromium }) => {
    const files = [...Object.values(modelFiles), lettersFile].map(
      (name) => [name, readFileSync(join(assets, name))] as const,
    );
    const { url } = await chromium.serve(new Map([...files, ["picture.png", await drawing("LET", 160, 64)]]));
    const { call } = await chromium.open<typeof import("./pages/reading.ts")>("reading");
    const { text, upright, stages } = await call("read", url, "picture.png");
    expect(text).toBe("LET");
    expect(upright).toBeGreaterThan(0.5);
    expect(stages.map(({ stage }) => stage)).toEqual(Object.keys(modelFiles));
    for (const { stage, input, output } of stages) {
      const want = await throughOrt(stage, input);
      expect(output.shape).toEqual(want.shape);
      expect(difference(output.data, want.data)).toBeLessThan(1e-3);
    }
  },
);
