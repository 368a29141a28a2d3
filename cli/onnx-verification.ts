/** Verifies ONNX files: onnxruntime runs the file, heddle runs the graph on the same inputs, and the outputs are compared. */
import type { Backend } from "../backends/backend.ts";
import { type Verification, verifyExport } from "../backends/onnxruntime/index.ts";
import { referenceBackend } from "../backends/reference/index.ts";
import { bindSizes, countMacs, type Graph, type HostTensor, inputName, type Sizes } from "../compiler/index.ts";
import { createSession } from "../runtime/index.ts";
import { openDevice } from "./device.ts";
import { sampleFeeds, sampleSizes, type TokenRuns } from "./sample-feeds.ts";

export type { TokenRuns } from "./sample-feeds.ts";

export interface VerifiedFile extends Verification {
  /** The device that ran the graph. */
  readonly against: string;
  readonly sizes: Sizes;
}

/** Runs the file at `path` and the graph that it was made from. */
export async function verifyFile(
  path: string,
  graph: Graph,
  read: (name: string) => Promise<HostTensor>,
  runs: TokenRuns = {},
): Promise<VerifiedFile> {
  const sizes = sampleSizes(graph, runs);
  const bound = bindSizes(graph, sizes);
  const weights = new Map<string, HostTensor>();
  for (const n of bound.inputs) if (n.op === "parameter") weights.set(inputName(n), await read(inputName(n)));
  const feeds = sampleFeeds(bound, runs);
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
