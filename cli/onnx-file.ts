/** Writes ONNX files and checks them: onnxruntime runs the file, heddle runs the graph, and the two must agree. */
import { rm } from "node:fs/promises";
import type { Backend } from "../backends/backend.ts";
import {
  type ExportOptions,
  exportOnnx,
  opsets,
  type WriteOptions,
  type WrittenModel,
  writeOnnx,
} from "../backends/onnx/index.ts";
import { type Verification, verifyExport } from "../backends/onnxruntime/index.ts";
import { referenceBackend } from "../backends/reference/index.ts";
import {
  bindSizes,
  countMacs,
  FileError,
  type Graph,
  graphSymbols,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  nodesOf,
  type SizedAxis,
  type Sizes,
} from "../compiler/index.ts";
import { createSession, randomStream, requireWritable } from "../runtime/index.ts";
import { openDevice } from "./device.ts";
import { untilInterrupted } from "./interrupt.ts";
import { heddleVersion } from "./versions.ts";

/** How far a verified file may be from heddle's own execution, relative to each output's largest value. */
const tolerances = { f32: 1e-3, f16: 3e-2, int8: 0.2, int4: 0.6 } as const;

export interface OnnxFileOptions extends ExportOptions, WriteOptions {
  /** Run the file and compare. */
  readonly verify?: boolean;
}

export interface OnnxFile extends WrittenModel {
  readonly opset: number;
  /** Present when the file was verified. */
  readonly verified?: Verification & { readonly against: string; readonly sizes: Sizes };
}

type ReadParameter = (name: string) => Promise<HostTensor>;

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
  const verified = await verifyFile(path, graph, read);
  const tolerance = tolerances[options.dtype ?? "f32"];
  if (verified.maxRelDiff <= tolerance) return { ...written, opset, verified };
  await Promise.all(written.files.map((f) => rm(f, { force: true })));
  throw new FileError(
    `the exported file differs from ${verified.against} by ${verified.maxRelDiff.toExponential(2)} of an output's largest value, above ${tolerance}; it was removed`,
  );
}

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

async function* chunksOf(read: ReadParameter, name: string): AsyncGenerator<Uint8Array> {
  const { data } = await read(name);
  const f32 = data instanceof Float32Array ? data : Float32Array.from(data);
  yield new Uint8Array(f32.buffer, f32.byteOffset, f32.byteLength);
}

/** Two rows of every symbolic size: enough to find an axis that was taken for a constant. */
const verifiedSize = 2;

async function verifyFile(path: string, graph: Graph, read: ReadParameter) {
  const sizes = Object.fromEntries(graphSymbols(graph).map((s, i) => [s, verifiedSize + i]));
  const bound = bindSizes(graph, sizes);
  const weights = new Map<string, HostTensor>();
  for (const n of bound.inputs) if (n.op === "parameter") weights.set(inputName(n), await read(inputName(n)));
  const feeds = Object.fromEntries(
    bound.inputs.filter((n) => n.op !== "parameter").map((n) => [inputName(n), draw(n, bound)]),
  );
  const backend = await independentBackend(bound);
  try {
    const session = await createSession(backend, bound, weights);
    const expected = await session.run(feeds);
    session.dispose();
    return { ...(await verifyExport(path, feeds, expected)), against: backend.device.name, sizes };
  } finally {
    backend.dispose();
  }
}

/** The interpreter takes about a second for this many multiply-accumulates. */
const interpreterMacs = 3e8;

/** An executor that shares nothing with the exported file: the interpreter for small graphs, WebGPU for larger ones. */
const independentBackend = async (graph: Graph): Promise<Backend> =>
  countMacs(graph, {}) <= interpreterMacs ? referenceBackend() : (await openDevice("webgpu")).backend;

/** Values for an input: normal floats, and indices that the tables they index have. */
function draw(node: Node, graph: Graph): HostTensor {
  const axes = node.type.axes as readonly SizedAxis[];
  const count = axes.reduce((n, a) => n * a.size, 1);
  const random = randomStream(1, `verify ${inputName(node)}`);
  if (node.type.dtype === "f32" || node.type.dtype === "f16") {
    return hostTensor(node.type.dtype, axes, [...random.fill({ kind: "normal", mean: 0, std: 1 }, count)]);
  }
  const below = node.type.dtype === "bool" ? 2 : indexBound(node, graph);
  return hostTensor(
    node.type.dtype,
    axes,
    Array.from({ length: count }, (_, i) => random.integer(i, below)),
  );
}

/** Below the smallest table that the input indexes; small where it indexes none. */
function indexBound(node: Node, graph: Graph): number {
  const tables = nodesOf(graph).filter((n) => n.op === "gather" && n.operands[1] === node);
  const sizes = tables.map((n) => n.operands[0]!.type.axes.find((a) => a.name === n.attrs.axis)!.size as number);
  return sizes.length === 0 ? 8 : Math.min(...sizes);
}
