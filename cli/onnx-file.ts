/** Writes ONNX files, checked where that is asked for: a file that does not compute what heddle does is removed. */
import { rm } from "node:fs/promises";
import {
  type ExportOptions,
  exportOnnx,
  opsets,
  type WriteOptions,
  type WrittenModel,
  writeOnnx,
} from "../backends/onnx/index.ts";
import { FileError, type Graph, type HostTensor, inputName, type Node } from "../compiler/index.ts";
import { requireWritable } from "../runtime/index.ts";
import { untilInterrupted } from "./interruption.ts";
import { type TokenRuns, type VerifiedFile, verifyFile } from "./onnx-verification.ts";
import { heddleVersion } from "./versions.ts";

/**
 * How far a verified file may be from heddle's own execution on the same weights, relative to each output's largest value.
 * f16 rounds activations too.
 */
const tolerances = { f32: 1e-3, f16: 3e-2, int8: 1e-3, int4: 1e-3 } as const;

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
 * its dtype's tolerance is removed and FileError says by how much.
 */
export async function writeOnnxFile(
  path: string,
  graph: Graph,
  read: ReadParameter,
  options: OnnxFileOptions = {},
): Promise<OnnxFile> {
  await requireWritable(path);
  const model = exportOnnx(graph, { ...options, version: heddleVersion() });
  const written = await untilStopped(path, read, async (readOn) => {
    const weights = (node: Node) => ({ dtype: "f32" as const, chunks: chunksOf(readOn, inputName(node)) });
    return await writeOnnx(path, model, weights, options);
  });
  const opset = options.opset ?? opsets.usual;
  if (!options.verify) return { ...written, opset };
  const verified = await verifyFile(path, model, read, options.runs);
  const tolerance = tolerances[options.dtype ?? "f32"];
  if (verified.maxRelDiff <= tolerance) return { ...written, opset, verified };
  await Promise.all(written.files.map((f) => rm(f, { force: true })));
  throw new FileError(
    `the exported file differs from ${verified.against} by ${verified.maxRelDiff.toExponential(2)} of an output's largest value, above ${tolerance}; it was removed`,
  );
}

type ReadParameter = (name: string) => Promise<HostTensor>;

/** Runs `write`, whose reader throws from Ctrl-C on, so that the writer removes what it has written so far. */
async function untilStopped<T>(
  path: string,
  read: ReadParameter,
  write: (readOn: ReadParameter) => Promise<T>,
): Promise<T> {
  const results: T[] = [];
  await untilInterrupted(async (signal) => {
    const readOn: ReadParameter = async (name) => {
      if (signal.aborted) throw new FileError(`writing ${path} was stopped; what was there before is unchanged`);
      return await read(name);
    };
    results.push(await write(readOn));
  });
  return results[0]!;
}

/** What is converted at a time: a table of 50,000 words in f16 beside the same in f32 would be felt. */
const pieceBytes = 2 ** 24;

async function* chunksOf(read: ReadParameter, name: string): AsyncGenerator<Uint8Array> {
  const { data } = await read(name);
  const f32 = data instanceof Float32Array ? data : Float32Array.from(data);
  const bytes = new Uint8Array(f32.buffer, f32.byteOffset, f32.byteLength);
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
