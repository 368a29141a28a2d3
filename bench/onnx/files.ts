/** Writes the compared files from one checkpoint: the peers' with a Python process, heddle's with its command line. */
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Subject } from "./subjects.ts";

const script = fileURLToPath(new URL("../peers/torch/onnx_files.py", import.meta.url));
const cli = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));

export interface MadeFile {
  readonly peer: string;
  readonly dtype: string;
  readonly file: string;
  /** Seconds taken to write it. */
  readonly seconds: number;
}

export interface Refused {
  readonly peer: string;
  readonly dtype: string;
  readonly failure: string;
}

/**
 * heddle's files: each dtype with standard operators; integers also with onnxruntime's own, and with integer
 * arithmetic.
 */
const own = [
  { peer: "heddle", dtype: "f32", more: [] },
  { peer: "heddle", dtype: "f16", more: [] },
  { peer: "heddle", dtype: "int8", more: [] },
  { peer: "heddle --dialect onnxruntime", dtype: "int8", more: ["--dialect", "onnxruntime"] },
  { peer: "heddle --activations int8", dtype: "int8", more: ["--activations", "int8"] },
  { peer: "heddle", dtype: "int4", more: [] },
  { peer: "heddle --dialect onnxruntime", dtype: "int4", more: ["--dialect", "onnxruntime"] },
] as const;

/** The dtypes of the compared files. */
export const dtypes = [...new Set(own.map((o) => o.dtype))];

/** The opset of heddle's files: the first with 4-bit weights. */
const opset = "21";

interface Where {
  readonly folder: string;
  readonly python: string;
  readonly layers: number | undefined;
  /** Those to write. */
  readonly dtypes: readonly string[];
}

/** heddle's files first, then the peers'. Throws when there is no checkpoint to export. */
export async function writtenFiles(
  subject: Subject,
  { folder, python, layers, dtypes }: Where,
): Promise<(MadeFile | Refused)[]> {
  const asked = `${JSON.stringify({ model: subject.name, folder, layers, dtypes })}\n`;
  const { lines, ending } = await run(python, [script], asked);
  const said = lines.map((line) => JSON.parse(line) as MadeFile | Refused | { readonly checkpoint: string });
  const [first, ...peers] = said;
  if (!first || !("checkpoint" in first)) throw new Error(`${python} wrote no checkpoint: ${ending}`);
  const files: (MadeFile | Refused)[] = [];
  for (const [i, { peer, dtype, more }] of own.entries()) {
    if (!dtypes.includes(dtype)) continue;
    const file = join(folder, `heddle-${i}`, "model.onnx");
    await mkdir(dirname(file));
    const begun = performance.now();
    const args = ["--weights", first.checkpoint, "--dtype", dtype, "--opset", opset, "--out", file, ...more];
    const { ending } = await run(process.execPath, [cli, "export", ...subject.heddle, ...args], "");
    const seconds = (performance.now() - begun) / 1e3;
    files.push(ending ? { peer, dtype, failure: ending } : { peer, dtype, file, seconds });
  }
  return [...files, ...(peers as (MadeFile | Refused)[]).filter((file) => dtypes.includes(file.dtype))];
}

/** The lines printed by a process, and how it failed if it did. */
async function run(command: string, args: readonly string[], input: string) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors = (errors + chunk).slice(-4000);
  });
  const ended = new Promise<string | undefined>((resolve) => {
    child.on("error", (error) => resolve(`${command} cannot be started: ${error.message}`));
    child.on("close", (code) =>
      resolve(code === 0 ? undefined : `it ended with ${code}: ${errors.trim().split("\n").at(-1)}`),
    );
  });
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout)) lines.push(line);
  return { lines, ending: await ended };
}
