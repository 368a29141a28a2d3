/** Exports one combination with verification, as the command line does. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { InterruptedError } from "../../../cli/interruption.ts";
import { writeOnnxFile } from "../../../cli/onnx-file.ts";
import { openParameters } from "../../../cli/parameters.ts";
import { HeddleError, UnsupportedError, UsageError } from "../../../compiler/index.ts";
import { type Combination, nameOf } from "./combinations.ts";

export type Outcome =
  | { readonly result: "verified"; readonly difference: number; readonly files: readonly string[] }
  | { readonly result: "refused" | "failed"; readonly why: string };

/**
 * Writes `path` and compares it in onnxruntime with heddle's own execution. "refused" is an error that says that the
 * combination is not available; any other error, and a file that differs, is "failed". Throws where it is interrupted.
 */
export async function attempt({ subject, form }: Combination, path: string): Promise<Outcome> {
  const { graph, runs } = subject;
  const parameters = await openParameters(graph, undefined, undefined, 1);
  try {
    const written = await writeOnnxFile(path, graph, (name) => parameters.read(name), { ...form, runs, verify: true });
    return { result: "verified", difference: written.verified!.maxRelDiff, files: written.files };
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    const isRefused = error instanceof UsageError || error instanceof UnsupportedError;
    const why = error instanceof HeddleError ? error.message : String((error as Error).stack);
    return { result: isRefused ? "refused" : "failed", why };
  } finally {
    await parameters.dispose();
  }
}

/** The file of a combination in a folder. */
export const fileOf = (folder: string, { subject, form }: Combination): string =>
  join(folder, `${subject.name} ${nameOf(form)}`.replace(/[^\w.-]+/g, "-").concat(".onnx"));

export const removeFiles = async (files: readonly string[]): Promise<void> => {
  for (const file of files) await rm(file, { force: true });
};
