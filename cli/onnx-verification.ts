/**
 * Verifies ONNX files: onnxruntime runs the file, heddle runs the graph on the same inputs and on the file's stored
 * weights, with the same dynamic quantization, and the outputs are compared. Products of onnxruntime that round their
 * left operands to 8 bits or not, as the processor can, compute in f32 meanwhile.
 */
import { type Backend, fedBytes, requireHostMemory } from "../backends/backend.ts";
import { type OnnxExport, storedValue } from "../backends/onnx/index.ts";
import { roundsOperands, type Verification, verifyExport } from "../backends/onnxruntime/index.ts";
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
   * The error of quantizing the weights, and the activations if the file does: the difference of the file, as it is,
   * from heddle's execution on the original weights, relative to the largest value of an output. Absent if the file
   * stores them unchanged.
   */
  readonly rounding?: number;
  /** True if the file quantizes activations. */
  readonly roundsActivations: boolean;
  /**
   * If the file quantizes activations: the error that this causes in heddle's own execution of the graph, likewise
   * relative. In a deep graph the file cannot be closer than this: values between two integers round either way by the
   * last bits of a float, and each such difference propagates.
   */
  readonly steps?: number;
}

/** Verifies the file at `path`, written from `model`, against the graph that it was made from. */
export async function verifyFile(
  path: string,
  model: OnnxExport,
  read: ReadParameter,
  runs: TokenRuns = {},
): Promise<VerifiedFile> {
  const sizes = sampleSizes(model.graph, runs);
  const bound = bindSizes(model.graph, sizes);
  // Feeds are held in f32 for the file, and in float64 for the interpreter.
  requireHostMemory(bound, { besides: fedBytes(bound, 8 + 4) });
  const feeds = sampleFeeds(bound, runs);
  const backend = await independentBackend(bound);
  try {
    const compare = async (results: Results, exactProducts: boolean) =>
      verifyExport(path, feeds, inFile(model, results), { exactProducts });
    const roundsActivations = model.rounded !== undefined || roundsOperands(model.model);
    const stored = storedIn(model, read);
    const right = await execute(backend, model.rounded ? bindSizes(model.rounded, sizes) : bound, stored, feeds);
    const verified = { ...(await compare(right, true)), against: backend.device.name, sizes, roundsActivations };
    if (model.stored.every((t) => t.parts[0]!.type === "f32")) return verified;
    // Of a file in standard operators, whether activations are rounded is up to whoever runs it.
    const original = await execute(backend, bound, read, feeds);
    const rounding = (await compare(original, !roundsActivations)).maxRelDiff;
    if (!model.rounded) return { ...verified, rounding };
    return { ...verified, rounding, steps: farthest(right, await execute(backend, bound, stored, feeds)) };
  } finally {
    backend.dispose();
  }
}

type Results = Readonly<Record<string, HostTensor>>;

/** The largest difference between two runs' outputs, relative to the largest value of each. */
function farthest(some: Results, others: Results): number {
  const apart = Object.entries(others).map(([name, { data: b }]) => {
    const { data: a } = some[name]!;
    let [worst, largest] = [0, 0];
    for (let i = 0; i < b.length; i++) {
      worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
      largest = Math.max(largest, Math.abs(b[i]!));
    }
    return worst === 0 ? 0 : worst / largest;
  });
  return Math.max(0, ...apart);
}

/** The outputs of a graph by name. */
async function execute(
  backend: Backend,
  graph: Graph,
  read: ReadParameter,
  feeds: Record<string, HostTensor>,
): Promise<Results> {
  const weights = new Map<string, HostTensor>();
  for (const n of graph.inputs) if (isParameter(n)) weights.set(inputName(n), await read(inputName(n)));
  const session = await createSession(backend, graph, weights);
  try {
    return await session.run(feeds);
  } finally {
    session.dispose();
  }
}

/** Outputs by their names in the file, where an output that is also an input is renamed. */
const inFile = ({ outputs }: OnnxExport, results: Results) =>
  Object.fromEntries(Object.entries(results).map(([name, value]) => [outputs[name]!, value]));

/** Parameters as the file stores them. */
function storedIn(model: OnnxExport, read: ReadParameter): ReadParameter {
  const stored = new Map(model.stored.map((t) => [inputName(t.parameter), t]));
  return async (name) => {
    const [tensor, value] = [stored.get(name), await read(name)];
    return tensor ? storedValue(tensor, value) : value;
  };
}

/** The interpreter takes about a second for this many multiply-accumulates. */
const interpreterMacs = 3e8;

/** A backend independent of the exported file: the interpreter for small graphs, WebGPU for larger ones. */
const independentBackend = async (graph: Graph): Promise<Backend> =>
  countMacs(graph, {}) <= interpreterMacs ? referenceBackend() : (await openDevice("webgpu")).backend;
