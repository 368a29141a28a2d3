/** `heddle export` of a bundled model with random f16 weights, and opening the file as any program would. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InferenceSession } from "onnxruntime-node";
import type { Subject } from "../subject.ts";
import { printed } from "./command.ts";

/** One run writes the files; its output is their size in bytes. */
export async function exporting(...model: readonly string[]): Promise<Subject> {
  const file = temporaryFile();
  return {
    build: async () => async () => {
      const { bytes } = JSON.parse(await printed(exportOf(model, file))) as { bytes: number };
      return Float64Array.of(bytes);
    },
  };
}

/** One run opens the file, written by another process; its output is the number of the model's inputs and outputs. */
export async function opening(...model: readonly string[]): Promise<Subject> {
  const file = temporaryFile();
  execFileSync(process.execPath, [heddle, ...exportOf(model, file)]);
  return {
    build: async () => async () => {
      // At higher levels onnxruntime converts every f16 weight to f32 at load time, since its CPU provider has no f16
      // matmul.
      const session = await InferenceSession.create(file, { graphOptimizationLevel: "basic", logSeverityLevel: 3 });
      return Float64Array.of(session.inputNames.length, session.outputNames.length);
    },
  };
}

const heddle = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));

const exportOf = (model: readonly string[], file: string): string[] => [
  ...["export", ...model],
  ...["--dtype", "f16", "--out", file, "--json"],
];

/** In a folder that is removed with the process; TMPDIR selects the disk. */
function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "model.onnx");
}
