/**
 * Every model at a small odd configuration in f16, as a file and as kernels: as near as f16 is, also where activations
 * are in thousands.
 */
import { describe, expect, test } from "vitest";
import { encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";
import { verifyExport } from "../../backends/onnxruntime/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  keepParametersAs,
  runProgram,
} from "../../compiler/index.ts";
import { configure, trace } from "../../dsl/index.ts";
import { bundledModels, imageToken } from "../../models/index.ts";
import { allExecutors, runOnce } from "./executors.ts";
import { anyFeeds, anyWeights } from "./support.ts";

const vision = { width: 15, depth: 3, heads: 3, mlp: 13, image: 15, patch: 5, positions: 10 };
const text = { width: 20, depth: 3, heads: 5, mlp: 9, vocab: 37, context: 16 };
const asked = { ...text, queries: 3, crossEvery: 2 };
const shared = { embed: 7, poolingHeads: 1 };

const cases: readonly (readonly [string, object])[] = [
  ["internvit-6b", vision],
  ["qllama-8b", { ...asked, visionWidth: 9, visionTokens: 5 }],
  ["internvl-c", { vision, text, ...shared }],
  ["internvl-g", { vision, text: asked, ...shared }],
  ["internvl-chat-vicuna-7b", { vision, text, features: -2 }],
  ["internvl-chat-vicuna-7b-qllama", { vision, text, features: -2, qllama: asked }],
  ["internvit-6b-probe", { vision, classes: 5, embed: 7, poolingHeads: 3 }],
  ["internvit-6b-segmentation", { vision, classes: 5, blocks: [2] }],
  ["internvit-6b-upernet", { vision, classes: 5, blocks: [1, 2, 2, 3], channels: 4 }],
];

/** Kernels for CPU threads take the interpreter least. */
const facts = { ...baselineFacts, software: true, maxBindings: 12, features: new Set(["f16"] as const) };

/** Ids of the text, and in a chat the image's tokens after the first one. */
const withImage = (ids: HostTensor): HostTensor =>
  hostTensor(
    "i32",
    ids.axes,
    Array.from(ids.data, (id, i) => (i % text.context >= 1 && i % text.context <= 12 ? imageToken : id)),
  );

/** The weights with branches, and the variances that follow from them, made larger. */
const louder = (weights: ReadonlyMap<string, HostTensor>, by: number): Map<string, HostTensor> =>
  new Map(
    [...weights].map(([name, x]) => {
      const factor = /\.ls[12]$/.test(name) ? by : name.endsWith("running_var") ? by * by : 1;
      return [name, { ...x, data: Float32Array.from(x.data, (v) => v * factor) }];
    }),
  );

function kernelOutputs(graph: Graph, weights: ReadonlyMap<string, HostTensor>, feeds: Record<string, HostTensor>) {
  const program = compileKernels(keepParametersAs(graph, "f16"), facts, { precision: "f16" });
  const inputs = new Map([...weights, ...Object.entries(feeds)].map(([n, t]) => [n, Array.from(t.data)]));
  return runProgram(program, inputs).outputs;
}

function expectSame(expected: Readonly<Record<string, HostTensor>>, got: ReadonlyMap<string, ArrayLike<number>>): void {
  for (const [output, tensor] of Object.entries(expected)) {
    const data = Array.from(tensor.data);
    const largest = Math.max(...data.map(Math.abs));
    const off = Math.max(...data.map((v, i) => Math.abs(v - got.get(output)![i]!)));
    expect(off / largest, output).toBeLessThan(4e-3);
  }
}

describe.each([1, 300])("with branches %i times as large", (by) => {
  test.each(cases)("%s", async (name, changes) => {
    const model = bundledModels.find((m) => m.name === name)!;
    const graph = bindSizes(trace(model, configure(model, changes as never)), { batch: 2 });
    const weights = louder(anyWeights(graph, 4), by);
    const drawn = anyFeeds(graph, {}, 5, [1, 30]);
    const feeds = name.includes("chat") ? { ...drawn, ids: withImage(drawn.ids!) } : drawn;
    const expected = await runOnce(allExecutors[0]!, graph, feeds, weights);
    const file = await encodeOnnx(exportOnnx(graph, { dtype: "f16" }), (p) => weights.get(inputName(p)));
    // Eleven bits, and a dozen roundings one after another.
    expect((await verifyExport(file, feeds, expected, { threads: 1 })).maxRelDiff).toBeLessThan(4e-3);

    // The interpreter takes its time: kernels where it is hardest.
    if (by > 1) expectSame(expected, kernelOutputs(graph, weights, feeds));
  });
});
