/** Writes ONNX files, checked where that is asked for: a file that does not compute what heddle does is not kept. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { heddleVersion } from "../api/node-index.ts";
import { type ExportOptions, exportOnnx, opsets } from "../backends/onnx/index.ts";
import { type WriteOptions, type WrittenModel, writeOnnx } from "../backends/onnx/node-index.ts";
import { FileError, type Graph, type HostTensor, inputName } from "../compiler/index.ts";
import { requireWritable } from "../runtime/index.ts";
import { InterruptedError, listenForEnding } from "./interruption.ts";
import { type TokenRuns, type VerifiedFile, verifyFile } from "./onnx-verification.ts";

/**
 * How far a verified file may be from heddle's own execution on the same weights, relative to each output's largest value.
 * f16 rounds activations too.
 */
const tolerances = { f32: 1e-3, f16: 3e-2, int8: 1e-3, int4: 1e-3 } as const;

/** onnxruntime's own products of integers round what they multiply to 8 bits, in blocks of 32. */
const roundedInputs = 3e-2;

/**
 * Where the file rounds as the graph does that it is compared with: a few times what that rounding does, which both are off by, each
 * in its own way.
 */
const roundedAlike = { least: 1e-2, steps: 4 };

function toleranceOf({ dtype = "f32", dialect }: ExportOptions, { steps }: VerifiedFile): number {
  if (steps !== undefined) return Math.max(roundedAlike.least, roundedAlike.steps * steps);
  return dialect === "onnxruntime" && (dtype === "int8" || dtype === "int4") ? roundedInputs : tolerances[dtype];
}

export interface OnnxFileOptions extends ExportOptions, WriteOptions {
  /** Run the file and compare. */
  readonly verify?: boolean;
  /** Runs of ids that inputs are meant to have; verification feeds them. */
  readonly runs?: TokenRuns;
}

export interface OnnxFile extends WrittenModel {
  readonly opset: number;
  /** Present when the file was verified. */
  readonly verified?: VerifiedFile;
}

/**
 * Writes `graph` at `path` with parameters that are read one at a time. With `verify`, a file that differs by more than
 * its dtype's tolerance does not take the place of what was there, and FileError says by how much.
 */
export async function writeOnnxFile(
  path: string,
  graph: Graph,
  read: ReadParameter,
  options: OnnxFileOptions = {},
): Promise<OnnxFile> {
  await requireWritable(path);
  const model = exportOnnx(graph, { ...options, version: heddleVersion() });
  const opset = options.opset ?? opsets.usual;
  return await untilStopped(path, read, async (readOn, throwIfAsked) => {
    const write = (to: string) =>
      writeOnnx(to, model, (n) => ({ dtype: "f32" as const, chunks: chunksOf(readOn, inputName(n)) }), options);
    if (!options.verify) return { ...(await write(path)), opset };
    // What was at the path stays until the new file is known to be right.
    const folder = await mkdtemp(join(dirname(path), `.${basename(path)}.`));
    try {
      const written = await write(join(folder, basename(path)));
      const verified = await verifyFile(written.files[0]!, model, readOn, options.runs);
      throwIfAsked();
      requireWithin(verified, toleranceOf(options, verified));
      const files = written.files.map((file) => join(dirname(path), basename(file)));
      // The data goes first: a model never names data that is not there.
      for (let i = files.length - 1; i >= 0; i--) await rename(written.files[i]!, files[i]!);
      return { ...written, files, opset, verified };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

function requireWithin({ maxRelDiff, against }: VerifiedFile, tolerance: number): void {
  if (maxRelDiff <= tolerance) return;
  throw new FileError(
    `the exported file differs from ${against} by ${maxRelDiff.toExponential(2)} of an output's largest value, above ${Number(tolerance.toPrecision(3))}; it was not kept`,
  );
}

type ReadParameter = (name: string) => Promise<HostTensor>;

/** Runs `write`, whose reader throws once the command is asked to end, so that the writer removes what it has written. */
async function untilStopped<T>(
  path: string,
  read: ReadParameter,
  write: (readOn: ReadParameter, throwIfAsked: () => void) => Promise<T>,
): Promise<T> {
  const ending = listenForEnding();
  const throwIfAsked = () => {
    if (!ending.signal.aborted) return;
    throw new InterruptedError(`writing ${path} was stopped; what was there before is unchanged`, ending.status());
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

/** What is converted at a time: a table of 50,000 words in f16 beside the same in f32 would be felt. */
const pieceBytes = 2 ** 24;

async function* chunksOf(read: ReadParameter, name: string): AsyncGenerator<Uint8Array> {
  const { data } = await read(name);
  const f32 = data instanceof Float32Array ? data : Float32Array.from(data);
  const bytes = new Uint8Array(f32.buffer, f32.byteOffset, f32.byteLength);
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
