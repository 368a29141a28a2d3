/**
 * Verifies ONNX files: onnxruntime runs the file, heddle runs the graph on the same inputs and the weights as the file
 * holds them, with what the file rounds at every run rounded too, and the outputs are compared.
 */
import { type Backend, fedBytes, requireHostMemory } from "../backends/backend.ts";
import { type OnnxExport, storedValue } from "../backends/onnx/index.ts";
import { type Verification, verifyExport } from "../backends/onnxruntime/index.ts";
import { referenceBackend } from "../backends/reference/index.ts";
import {
  bindSizes,
  countMacs,
  type Graph,
  type HostTensor,
  inputName,
  isParameter,
  type Sizes,
} from "../compiler/index.ts";
import { createSession } from "../runtime/index.ts";
import { openDevice } from "./device.ts";
import { sampleFeeds, sampleSizes, type TokenRuns } from "./sample-feeds.ts";

export type { TokenRuns } from "./sample-feeds.ts";

type ReadParameter = (name: string) => Promise<HostTensor>;

export interface VerifiedFile extends Verification {
  /** The device that ran the graph. */
  readonly against: string;
  readonly sizes: Sizes;
  /**
   * What rounding the weights did, and what they are multiplied by where the file rounds that: how far the file is from heddle's
   * execution on the weights that it was given, relative to the largest value of an output. Absent where the file has those.
   */
  readonly rounding?: number;
}

/** Runs the file at `path`, written from `model`, and the graph that it was made from. */
export async function verifyFile(
  path: string,
  model: OnnxExport,
  read: ReadParameter,
  runs: TokenRuns = {},
): Promise<VerifiedFile> {
  const sizes = sampleSizes(model.graph, runs);
  const bound = bindSizes(model.graph, sizes);
  const asWritten = model.rounded ? bindSizes(model.rounded, sizes) : bound;
  // What is fed lies there in f32 for the file, and in float64 for the interpreter.
  requireHostMemory(bound, { besides: fedBytes(bound, 8 + 4) });
  const feeds = sampleFeeds(bound, runs);
  const backend = await independentBackend(bound);
  try {
    const compare = async (graph: Graph, values: ReadParameter) =>
      verifyExport(path, feeds, inFile(model, await execute(backend, graph, values, feeds)), { exactProducts: true });
    const verified = { ...(await compare(asWritten, storedIn(model, read))), against: backend.device.name, sizes };
    const rounded = model.stored.some((t) => t.parts[0]!.type !== "f32");
    return rounded ? { ...verified, rounding: (await compare(bound, read)).maxRelDiff } : verified;
  } finally {
    backend.dispose();
  }
}

/** The outputs of a graph by name. */
async function execute(backend: Backend, graph: Graph, read: ReadParameter, feeds: Record<string, HostTensor>) {
  const weights = new Map<string, HostTensor>();
  for (const n of graph.inputs) if (isParameter(n)) weights.set(inputName(n), await read(inputName(n)));
  const session = await createSession(backend, graph, weights);
  try {
    return await session.run(feeds);
  } finally {
    session.dispose();
  }
}

/** Outputs by their names in the file, where one that is an input too has another. */
const inFile = ({ outputs }: OnnxExport, results: Readonly<Record<string, HostTensor>>) =>
  Object.fromEntries(Object.entries(results).map(([name, value]) => [outputs[name]!, value]));

/** Parameters as a file holds them. */
function storedIn(model: OnnxExport, read: ReadParameter): ReadParameter {
  const stored = new Map(model.stored.map((t) => [inputName(t.parameter), t]));
  return async (name) => {
    const [tensor, value] = [stored.get(name), await read(name)];
    return tensor ? storedValue(tensor, value) : value;
  };
}

/** The interpreter takes about a second for this many multiply-accumulates. */
const interpreterMacs = 3e8;

/** An executor that shares nothing with the exported file: the interpreter for small graphs, WebGPU for larger ones. */
const independentBackend = async (graph: Graph): Promise<Backend> =>
  countMacs(graph, {}) <= interpreterMacs ? referenceBackend() : (await openDevice("webgpu")).backend;
