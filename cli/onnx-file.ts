/** Writes ONNX files, optionally verified: a file that does not match heddle's results is discarded. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { heddleVersion } from "../api/node-index.ts";
import { type ExportOptions, exportOnnx, settledOptions } from "../backends/onnx/index.ts";
import { type WriteOptions, type WrittenModel, writeOnnx } from "../backends/onnx/node-index.ts";
import { FileError, type Graph, type HostTensor, inputName } from "../compiler/index.ts";
import { requireWritable } from "../runtime/index.ts";
import { InterruptedError, listenForEnding } from "./interruption.ts";
import { type TokenRuns, type VerifiedFile, verifyFile } from "./onnx-verification.ts";

/**
 * Tolerances of verification against heddle's own execution on the same weights, relative to each output's largest
 * value. f16 rounds activations too.
 */
const tolerances = { f32: 1e-3, f16: 3e-2, int8: 1e-3, int4: 1e-3 } as const;

/**
 * If the file quantizes like the graph it is compared with: a few times the error of that quantization, which each
 * incurs in its own way.
 */
const roundedAlike = { least: 1e-2, steps: 4 };

const toleranceOf = ({ dtype = "f32" }: ExportOptions, { steps }: VerifiedFile): number =>
  steps === undefined ? tolerances[dtype] : Math.max(roundedAlike.least, roundedAlike.steps * steps);

export interface OnnxFileOptions extends ExportOptions, WriteOptions {
  /** Run the file and compare its outputs. */
  readonly verify?: boolean;
  /** Runs of ids that inputs must contain; verification feeds them. */
  readonly runs?: TokenRuns;
}

export interface OnnxFile extends WrittenModel {
  readonly opset: number;
  /** The file's outputs, by the graph's names. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Present if the file was verified. */
  readonly verified?: VerifiedFile;
}

/**
 * Writes `graph` to `path`, reading parameters one at a time. With `verify`, a file that exceeds its dtype's tolerance
 * does not replace the existing one, and FileError gives the difference.
 */
export async function writeOnnxFile(
  path: string,
  graph: Graph,
  read: ReadParameter,
  options: OnnxFileOptions = {},
): Promise<OnnxFile> {
  await requireWritable(path);
  const model = exportOnnx(graph, { ...options, version: heddleVersion() });
  const { opset } = settledOptions(options);
  const made = { opset, outputs: model.outputs };
  return await untilStopped(path, read, async (readOn, throwIfAsked) => {
    const write = (to: string) =>
      writeOnnx(to, model, (n) => ({ dtype: "f32" as const, chunks: chunksOf(readOn, inputName(n)) }), options);
    if (!options.verify) return { ...(await write(path)), ...made };
    // The existing file stays until the new one is verified.
    const folder = await mkdtemp(join(dirname(path), `.${basename(path)}.`));
    try {
      const written = await write(join(folder, basename(path)));
      const verified = await verifyFile(written.files[0]!, model, readOn, options.runs);
      throwIfAsked();
      requireWithin(verified, toleranceOf(options, verified));
      const files = written.files.map((file) => join(dirname(path), basename(file)));
      // Data is moved first, so that a model never refers to missing data.
      for (let i = files.length - 1; i >= 0; i--) await rename(written.files[i]!, files[i]!);
      return { ...written, ...made, files, verified };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

function requireWithin(
  { maxRelDiff, against, rounding = 0, roundsActivations }: VerifiedFile,
  tolerance: number,
): void {
  if (roundsActivations && !Number.isFinite(rounding))
    throw new FileError(
      "the exported file gives values that are not finite where activations are rounded; it was not kept",
    );
  if (maxRelDiff <= tolerance) return;
  throw new FileError(
    `the exported file differs from ${against} by ${maxRelDiff.toExponential(2)} of an output's largest value, above ${Number(tolerance.toPrecision(3))}; it was not kept`,
  );
}

type ReadParameter = (name: string) => Promise<HostTensor>;

/** Runs `write`, whose reader throws on interruption, so that the writer removes its partial output. */
async function untilStopped<T>(
  path: string,
  read: ReadParameter,
  write: (readOn: ReadParameter, throwIfAsked: () => void) => Promise<T>,
): Promise<T> {
  const ending = listenForEnding();
  const throwIfAsked = () => {
    if (!ending.signal.aborted) return;
    throw new InterruptedError(`writing ${path} was interrupted; any existing file is unchanged`, ending.status());
  };
  const readOn: ReadParameter = async (name) => {
    throwIfAsked();
    return await read(name);
  };
  try {
    return await write(readOn, throwIfAsked);
  } finally {
    ending.dispose();
  }
}

/** Bytes converted at a time: a 50,000-token table in both f16 and f32 would take noticeable memory. */
const pieceBytes = 2 ** 24;

async function* chunksOf(read: ReadParameter, name: string): AsyncGenerator<Uint8Array> {
  const { data } = await read(name);
  const f32 = data instanceof Float32Array ? data : Float32Array.from(data);
  const bytes = new Uint8Array(f32.buffer, f32.byteOffset, f32.byteLength);
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
