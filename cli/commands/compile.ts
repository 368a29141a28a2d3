/** `heddle compile`: a WebGPU bundle for a page, or an ONNX file. */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { type BundleManifest, compileBundle } from "../../backends/webgpu/index.ts";
import { inputName, isParameter, type Node, type Precision, type SizedAxis, UsageError } from "../../compiler/index.ts";
import {
  type ParameterSource,
  type TensorToWrite,
  writeFileAtomically,
  writeSafetensors,
} from "../../runtime/index.ts";
import { adapterNamed, anyGpu } from "../adapters.ts";
import { weightsOf } from "../checkpoint.ts";
import { type GraphChoice, loadConfigured } from "../load.ts";
import { bytes, json, table } from "../output.ts";
import { inOutputFolder } from "../output-folder.ts";
import { openParameters } from "../parameters.ts";
import { type SizeArguments, sizesOf } from "../sizes.ts";
import { exportCommand } from "./export.ts";

export interface CompileArguments extends GraphChoice, SizeArguments {
  readonly target: string;
  readonly out: string;
  readonly weights?: string;
  /** Storage type of a bundle's weights. */
  readonly dtype: string;
  /** The bundle's precision: f16 requires that feature of the page's device. */
  readonly precision: Precision;
  /** The adapter that the bundle's kernels target; the page's device must support what they need. */
  readonly adapter?: string;
  readonly seed: number;
  readonly json: boolean;
}

export async function compileCommand(source: string, args: CompileArguments): Promise<number> {
  if (args.target === "webgpu") return await writeBundle(source, args);
  if (args.target === "onnx" && args.precision !== "f32")
    throw new UsageError("--precision applies to WebGPU bundles only; for an ONNX file in f16, use --dtype f16");
  if (args.target === "onnx") return await exportCommand(source, { ...args, verify: false });
  throw new UsageError(`--target must be webgpu or onnx; got "${args.target}"`);
}

async function writeBundle(source: string, args: CompileArguments): Promise<number> {
  const begun = performance.now();
  const dtype = bundleDtypes.find((d) => d === args.dtype);
  if (!dtype)
    throw new UsageError(`--dtype of a bundle must be one of ${bundleDtypes.join(", ")}; got "${args.dtype}"`);
  const weights = weightsOf(source, args.weights);
  const { graph, model, own } = await loadConfigured(source, { ...args, weights });
  const sizes = sizesOf(graph, args);
  const { precision, adapter = anyGpu } = args;
  const { facts } = adapterNamed(adapter);
  const { graph: bound, manifest, shaders } = compileBundle(graph, { sizes, dtype, precision, facts });
  const parameters = await openParameters(bound, model, weights, args.seed, own);
  try {
    await inOutputFolder(args.out, async () => {
      const tensors = bound.inputs.filter(isParameter).map((n) => streamed(n, parameters));
      await writeSafetensors(join(args.out, "weights.safetensors"), tensors);
      for (const [name, text] of shaders) await writeFileAtomically(join(args.out, name), text);
      await cp(new URL("../../backends/webgpu/bundle/run.js", import.meta.url), join(args.out, "run.js"));
      // The manifest is written last: a folder with one is complete.
      await writeFileAtomically(join(args.out, "manifest.json"), `${json(manifest)}\n`);
    });
  } finally {
    await parameters.dispose();
  }
  const weightBytes = manifest.parameters.reduce((n, p) => n + (manifest.buffers[p.buffer] ?? 0), 0);
  const written = {
    out: args.out,
    weights: parameters.origin,
    requires: manifest.requires,
    sizes,
    shaders: shaders.size,
    dispatches: manifest.dispatches.length,
    weightBytes,
    seconds: Math.round((performance.now() - begun) / 100) / 10,
  };
  process.stdout.write(args.json ? `${json(written)}\n` : describe(written));
  return 0;
}

const bundleDtypes = ["f32", "f16"] as const;

/** A parameter that is read only when written, so that one at a time is in memory. */
const streamed = (node: Node, parameters: ParameterSource): TensorToWrite => ({
  name: inputName(node),
  dtype: node.type.dtype === "f16" ? "F16" : "F32",
  shape: (node.type.axes as readonly SizedAxis[]).map((a) => a.size),
  async *data() {
    yield (await parameters.read(inputName(node), node.type.dtype)).data;
  },
});

function describe(f: {
  out: string;
  weights: string;
  shaders: number;
  dispatches: number;
  requires: BundleManifest["requires"];
  weightBytes: number;
  seconds: number;
}): string {
  const { features, subgroups } = f.requires;
  const needs = [...features, ...(subgroups ? [lanesOf(subgroups)] : [])];
  return `${table([
    ["bundle", f.out],
    ["weights", `${bytes(f.weightBytes)}, ${f.weights}`],
    ["kernels", `${f.dispatches} dispatches of ${f.shaders} WGSL modules`],
    ...(needs.length > 0 ? [["needs", `a device with ${needs.join(", ")}`] as const] : []),
    ["written in", `${f.seconds} s`],
    ["use", 'import { loadBundle } from "./run.js"'],
  ])}\n`;
}

const lanesOf = ({ min, max, chosen }: NonNullable<BundleManifest["requires"]["subgroups"]>): string =>
  `subgroups of ${min === max ? min : `${min} to ${max}`} lanes${chosen ? "" : " only"}`;
