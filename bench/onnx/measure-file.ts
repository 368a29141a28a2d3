/** Opens and runs an ONNX file in its own process. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { MadeFile } from "./files.ts";
import type { Phase } from "./subjects.ts";

export interface FileOrder {
  readonly file: string;
  readonly phases: readonly Phase[];
  readonly timed: number;
  readonly operators: boolean;
}

export interface PhaseFigures {
  readonly firstMs: number;
  /** The median of the runs after the first. */
  readonly medianMs: number;
  /** The last values of each output, by name. */
  readonly ends: Readonly<Record<string, readonly number[]>>;
}

export interface RunFigures {
  readonly loadMs: number;
  /** Peak memory of the process, after opening the file and at the end. */
  readonly openBytes: number;
  readonly peakBytes: number;
  /** Size of the file with its external data. */
  readonly fileBytes: number;
  readonly phases: readonly PhaseFigures[];
  /** Op counts after onnxruntime's optimizations. */
  readonly operators?: Readonly<Record<string, number>>;
}

/** A file with its measurements. */
export interface Measured extends MadeFile {
  readonly rounds: readonly RunFigures[];
}

const script = fileURLToPath(new URL("file-process.ts", import.meta.url));

/** Never rejects: a crash is an outcome too. */
export function measureFile(
  order: FileOrder,
): Promise<{ readonly figures: RunFigures } | { readonly failure: string }> {
  const { promise, resolve } = Promise.withResolvers<{ figures: RunFigures } | { failure: string }>();
  const child = fork(script, [JSON.stringify(order)], { silent: true, serialization: "advanced" });
  let said = "";
  let figures: RunFigures | undefined;
  child.stderr!.on("data", (chunk) => {
    said = (said + chunk).slice(-20_000);
  });
  child.stdout!.resume();
  child.on("message", (message) => {
    figures = message as RunFigures;
  });
  child.on("error", (error) => resolve({ failure: error.message }));
  child.on("close", (code, signal) => {
    const why = said.split("\n").find((line) => /Error\b.*:/.test(line)) ?? said.trim().split("\n").at(-1);
    resolve(figures ? { figures } : { failure: `onnxruntime ended with ${signal ?? code}: ${why}` });
  });
  return promise;
}
