/** The benchmark cases: what is measured, for which contenders, how often, and how far outputs may differ. */
import { countMacs } from "../compiler/index.ts";
import { trace } from "../dsl/index.ts";
import type { TextConfig } from "../models/index.ts";
import { matmulGraph } from "./heddle/forward.ts";
import { type BlockConfig, blockModel, type VitConfig, vitModel } from "./model/vit.ts";
import type { Output, Subject } from "./subject.ts";

/** The contenders; "heddle" is in every case, and the others are compared with it. */
export type ContenderName = "heddle" | "jax-js" | "onnxruntime webgpu" | "hand-written";

/** Contenders that make WebGPU calls from native code and select a driver through the environment. */
export const bringsOwnDawn: ReadonlySet<ContenderName> = new Set(["onnxruntime webgpu"]);

export interface Case {
  readonly name: string;
  /** The word that selects it on the command line. */
  readonly group: string;
  /** Only measured on request, since it takes long or needs much disk space. */
  readonly onRequest?: boolean;
  /** Timeout of a process, in minutes. */
  readonly patience?: number;
  /** A description of one repetition. */
  readonly summary: string;
  /** Repetitions per process; the first also compiles, and the first `warmup` are not timed. */
  readonly warmup: number;
  readonly timed: number;
  /** The number of first repetitions whose outputs are compared. */
  readonly compared: number;
  /** Maximum difference of outputs, relative to the largest magnitude. */
  readonly tolerance: number;
  /** Floating-point operations of one repetition, by the usual count: backward is twice forward. */
  readonly flops?: () => number;
  /** A description of an output. */
  readonly finding?: (output: Output) => string;
  /** Modules are loaded only by the process that measures them. */
  readonly contenders: Partial<Record<ContenderName, () => Promise<Subject>>> & { heddle: () => Promise<Subject> };
}

/** 64 patches and a class token; CIFAR-sized images. */
export const smallVit: VitConfig = {
  batch: 16,
  tokens: 65,
  width: 128,
  heads: 4,
  mlp: 512,
  depth: 4,
  image: 32,
  patch: 4,
  classes: 10,
};

const oneBlock: BlockConfig = { batch: 8, tokens: 65, width: 256, heads: 8, mlp: 1024 };

const trainVit: Case = {
  name: "train-vit",
  group: "train-vit",
  summary: "training step of a ViT: 4 blocks, width 128, 65 tokens, batch 16, f32, AdamW; images in, loss out",
  warmup: 2,
  timed: 8,
  compared: 8,
  tolerance: 1e-4,
  flops: () => 3 * 2 * countMacs(trace(vitModel(smallVit)), {}),
  contenders: {
    heddle: async () => (await import("./heddle/train-vit.ts")).trainVit(smallVit),
    "jax-js": async () => (await import("./peers/jax/train-vit.ts")).trainVit(smallVit),
  },
};

const firstStep: Case = {
  ...trainVit,
  name: "first-step",
  group: "first-step",
  summary: "that step from nothing: model traced, compiled by library and driver (its cache is off), run once",
  warmup: 0,
  timed: 1,
  compared: 1,
};

const block: Case = {
  name: "block",
  group: "block",
  summary: "forward of one ViT block: width 256, 8 heads, 65 tokens, batch 8, f32; input up, output down",
  warmup: 3,
  timed: 12,
  compared: 1,
  tolerance: 1e-4,
  flops: () => 2 * countMacs(trace(blockModel(oneBlock)), {}),
  contenders: {
    heddle: async () => (await import("./heddle/forward.ts")).block(oneBlock),
    "jax-js": async () => (await import("./peers/jax/forward.ts")).block(oneBlock),
    "onnxruntime webgpu": async () => (await import("./peers/onnxruntime/forward.ts")).block(oneBlock),
  },
};

const matmul = (size: number): Case => ({
  name: `matmul-${size}`,
  group: "matmul",
  summary: `product of two [${size}, ${size}] matrices, f32; inputs up, output down`,
  warmup: 3,
  timed: 12,
  compared: 1,
  tolerance: 1e-4,
  flops: () => 2 * countMacs(matmulGraph(size), {}),
  contenders: {
    heddle: async () => (await import("./heddle/forward.ts")).matmul(size),
    "jax-js": async () => (await import("./peers/jax/forward.ts")).matmul(size),
    "onnxruntime webgpu": async () => (await import("./peers/onnxruntime/forward.ts")).matmul(size),
    "hand-written": async () => (await import("./peers/hand-written/matmul.ts")).matmul(size),
  },
});

const compile: Case = {
  name: "compile",
  group: "compile",
  summary: "heddle inspect internvit-6b: traced, counted and compiled to kernels, no device",
  warmup: 0,
  timed: 1,
  compared: 1,
  tolerance: 0,
  finding: ([parameters = 0, kernels = 0]) => `${parameters.toLocaleString("en-US")} parameters, ${kernels} kernels`,
  contenders: { heddle: async () => (await import("./heddle/inspect.ts")).inspect("internvit-6b") },
};

/** A small LLaMA, as wide as the ViT block. */
const smallText: TextConfig = {
  width: 256,
  depth: 2,
  heads: 8,
  mlp: 1024,
  vocab: 1024,
  context: 0,
  epsilon: 1e-6,
  attentionBias: false,
  rotaryBase: 10000,
};

/** The cost of symbolic sizes: a repetition is several pairs of runs, and its output their times and ratio. */
const openSizes = (what: string, summary: string, heddle: () => Promise<Subject>): Case => ({
  name: `open-sizes ${what}`,
  group: "open-sizes",
  summary: `${summary}; sizes open against fixed, runs taking turns`,
  warmup: 1,
  timed: 1,
  compared: 2,
  tolerance: Number.POSITIVE_INFINITY, // the outputs are times
  finding: ([open = 0, fixed = 0, ratio = 0]) =>
    `sizes open ${open.toFixed(2)} ms, fixed ${fixed.toFixed(2)} ms: ${ratio.toFixed(3)} times`,
  contenders: { heddle },
});

const openCases: readonly Case[] = [
  openSizes("block", "forward of one ViT block: width 256, 8 heads, 65 tokens, batch 8", async () =>
    (await import("./heddle/open-sizes.ts")).openBlock(oneBlock),
  ),
  ...[1, 16].map((tokens) =>
    openSizes(`step of ${tokens}`, `${tokens} tokens of a LLaMA of two layers, width 256, cache of 256`, async () =>
      (await import("./heddle/open-sizes.ts")).openStep(smallText, tokens, 256),
    ),
  ),
];

/** Exports a model to ONNX, and opens the file; measures time and peak memory. */
function exportCases(group: string, model: readonly string[], more: Pick<Case, "onRequest" | "patience"> = {}): Case[] {
  const one = { group, ...more, warmup: 0, timed: 1, compared: 1, tolerance: 0 };
  const what = model.filter((word) => !word.startsWith("--")).join(" ");
  return [
    {
      ...one,
      name: `export ${what}`,
      summary: `heddle export ${model.join(" ")} --dtype f16, random weights; from nothing to files on the disk`,
      finding: ([bytes = 0]) => `${(bytes / 1e9).toFixed(2)} GB`,
      contenders: { heddle: async () => (await import("./heddle/export.ts")).exporting(...model) },
    },
    {
      ...one,
      name: `open ${what}`,
      summary: "onnxruntime opens that file, graph optimization basic",
      finding: ([inputs = 0, outputs = 0]) => `${inputs} inputs, ${outputs} outputs`,
      contenders: { heddle: async () => (await import("./heddle/export.ts")).opening(...model) },
    },
  ];
}

/** On two busy cores, exporting 12 GB took half an hour. */
const whole = { onRequest: true, patience: 90 };

export const cases: readonly Case[] = [
  ...[trainVit, firstStep, block, matmul(512), matmul(1024), compile, ...openCases],
  ...exportCases("export", ["internvit-6b", "--set", "depth=2"]),
  ...exportCases("export-full", ["internvit-6b"], whole),
  ...exportCases("export-full", ["qllama-8b", "--graph", "decode"], whole),
];
