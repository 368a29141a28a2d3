/**
 * InternViT: loading its weights from a file, and its forward pass on many images and on one, with and without matrix
 * units.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import type { CompileOptions, Store } from "../../backends/backend.ts";
import { type WebgpuBackend, webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  bindSizes,
  type Graph,
  hostTensor,
  inputName,
  isParameter,
  keepParametersAs,
  type SizedAxis,
} from "../../compiler/index.ts";
import { defineModel, type Params, trace } from "../../dsl/index.ts";
import { internvit, internvit6b, pixelsInput, type VisionConfig } from "../../models/index.ts";
import {
  openWeights,
  requireFreeSpace,
  type TensorToWrite,
  type Weights,
  writeSafetensors,
} from "../../runtime/index.ts";
import { join, type MarkContext, type MarkGroup, wallMs } from "./mark.ts";
import { parameterPattern, patternOf, patternsOf, sampleOf, valuesOf } from "./pattern.ts";
import { halfOptions } from "./precision.ts";
import type { Shapes } from "./shapes.ts";

const configOf = (s: Shapes): VisionConfig => ({
  ...internvit6b,
  ...{ width: s.encoderWidth, heads: s.encoderHeads, depth: s.encoderDepth, mlp: 4 * s.encoderWidth },
  image: s.encoderImage,
});

/** The encoder with f16 weights and a symbolic number of images. */
export const encoderGraph = (s: Shapes): Graph => keepParametersAs(graphOf(configOf(s)), "f16");

function graphOf(config: VisionConfig): Graph {
  const build = (p: Params) => ({ features: internvit(p, pixelsInput(config), config).at(-1)! });
  return trace(defineModel({ name: "internvit", summary: "", config: {}, build }));
}

const bytesOf = (graph: Graph): number =>
  2 * graph.inputs.filter(isParameter).reduce((n, p) => n + elements(p.type.axes as readonly SizedAxis[]), 0);

const elements = (axes: readonly SizedAxis[]): number => axes.reduce((n, a) => n * a.size, 1);

const names = (s: Shapes) => {
  const model = s.encoderDepth === 48 && s.encoderWidth === 3200 ? "InternViT-6B" : "InternViT";
  return {
    loading: `loading ${(bytesOf(graphOf(configOf(s))) / 1e9).toPrecision(3)} GB`,
    many: `${model} f16, ${s.pictures} pictures`,
    one: `${model} f16, 1 picture`,
    plain: `${model}, ${s.pictures} pictures, without matrix units`,
  };
};

export const encoder: MarkGroup = {
  name: "internvit",
  marks: (s) => ({
    [names(s).loading]: { unit: "s", first: 4, goal: 2.5 },
    [names(s).many]: { unit: "ms", first: 320, goal: 190 },
    [names(s).one]: { unit: "ms", first: 32, goal: 15 },
    [names(s).plain]: { unit: "ms", first: 1600, goal: 1400 },
  }),
  measure: async (context, record) => {
    const { backend, shapes } = context;
    const config = configOf(shapes);
    const graph = graphOf(config);
    const kept = keepParametersAs(graph, "f16");
    const store = backend.createStore();
    try {
      record(names(shapes).loading, { value: await load(context, kept, store) });
      const half = halfOptions(context);
      const peer = { run: "internvit", weights: patternsOf(graph), ...vitOf(config) };
      for (const [name, batch] of [
        [names(shapes).many, shapes.pictures],
        [names(shapes).one, 1],
      ] as const) {
        const found = await forward(backend, bindSizes(kept, { batch }), store, half.options, shapes.times);
        record(name, { ...found, tolerance: 3e-2, peer: { ...peer, batch }, ...join(half.note) });
      }
      const plain = withoutMatrices(backend);
      if (!plain)
        record(names(shapes).plain, { skipped: "this adapter has no matrix units, so the rows above are it" });
      else {
        const many = bindSizes(kept, { batch: shapes.pictures });
        const found = await forward(plain, many, store, half.options, shapes.times);
        record(names(shapes).plain, { ...found, tolerance: 3e-2, peer: { ...peer, batch: shapes.pictures } });
      }
    } finally {
      store.dispose();
    }
  },
};

const vitOf = ({ heads, image, patch }: VisionConfig) => ({ heads, image, patch });

/** Seconds to load a file that was just written, and is thus in the page cache, into device memory. */
async function load({ note }: MarkContext, graph: Graph, store: Store): Promise<number> {
  const folder = mkdtempSync(joinPath(tmpdir(), "heddle-marks-"));
  const path = joinPath(folder, "weights.safetensors");
  try {
    const parameters = graph.inputs.filter(isParameter);
    await requireFreeSpace(folder, 1.05 * bytesOf(graph));
    note(`writing ${(bytesOf(graph) / 1e9).toFixed(2)} GB of weights to a temporary file ...`);
    await writeSafetensors(
      path,
      parameters.map((node): TensorToWrite => {
        const { shape, ...rest } = parameterPattern(node);
        return { name: inputName(node), dtype: "F16", shape, data: () => [valuesOf({ shape, ...rest }, "f16")] };
      }),
    );
    const begun = performance.now();
    const weights = await openWeights(path, graph);
    try {
      await readInto(store, graph, weights);
    } finally {
      await weights.dispose();
    }
    return (performance.now() - begun) / 1000;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Loads weights like a session does; reading the smallest back waits until all have arrived. */
async function readInto(store: Store, graph: Graph, weights: Weights): Promise<void> {
  const parameters = graph.inputs.filter(isParameter);
  for (const node of parameters)
    await store.write(inputName(node), await weights.read(inputName(node), node.type.dtype));
  const smallest = [...parameters].sort(
    (a, b) => elements(a.type.axes as SizedAxis[]) - elements(b.type.axes as SizedAxis[]),
  );
  await store.read(inputName(smallest[0]!));
}

async function forward(backend: WebgpuBackend, graph: Graph, store: Store, options: CompileOptions, times: number) {
  const [pixels] = graph.inputs.filter((n) => n.op === "input");
  const axes = pixels!.type.axes as readonly SizedAxis[];
  const data = valuesOf(
    patternOf(
      "pixels",
      axes.map((a) => a.size),
    ),
  );
  const feeds = { pixels: hostTensor("f32", axes, data as Float32Array) };
  const executable = await backend.compile(graph, options);
  try {
    const { features } = await executable.run(feeds, store);
    const sample = sampleOf(features!.data);
    return { sample, value: await wallMs(() => executable.run(feeds, store), times) };
  } finally {
    executable.dispose();
  }
}

/** The same device with the features that browsers currently offer; undefined if it has no matrix units anyway. */
function withoutMatrices({ gpu }: WebgpuBackend): WebgpuBackend | undefined {
  if (gpu.adapter.subgroupMatrices.length === 0) return undefined;
  const features = new Set([...gpu.features].filter((f) => !f.includes("subgroup-matrix")));
  return webgpuBackend({ ...gpu, features, adapter: { ...gpu.adapter, subgroupMatrices: [] } });
}
