/** Bundles: a model compiled to WebGPU, for pages that run it without a compiler. */
import { type BundleOptions, compileBundle } from "../backends/webgpu/index.ts";
import { type HostTensor, inputName, isParameter } from "../compiler/index.ts";
import type { Config } from "../dsl/index.ts";
import { requirePrecision, requireSizes } from "./checks.ts";
import { graphOf, type Modelled, type ModelledOptions, modelOf } from "./modelled.ts";
import { openParameters, safetensorsBytes, type WeightsFrom } from "./weights.ts";

/** What a bundle is made of, and how. */
export interface CompileOptions<C extends Config = Config> extends ModelledOptions<C>, BundleOptions {
  readonly weights?: WeightsFrom;
}

/**
 * Compiles a model to a WebGPU bundle: the files of its folder by name, `manifest.json`, `weights.safetensors` and WGSL. A page
 * runs them by `loadBundle` of `heddle/bundle`, in 5 kB and without a compiler. Throws UnsupportedError where a size is open:
 * `sizes` gives numbers.
 */
export async function compile<C extends Config>(
  what: Modelled<C>,
  { weights = new Map(), settings, graph: named, ...options }: CompileOptions<C> = {},
): Promise<ReadonlyMap<string, string | Uint8Array>> {
  const choice = { ...(settings && { settings }), ...(named !== undefined && { graph: named }) };
  const whole = graphOf(what, choice);
  if (options.precision !== undefined) requirePrecision(options.precision);
  requireSizes(whole, options.sizes ?? {});
  const { graph, manifest, shaders } = compileBundle(whole, options);
  const parameters = await openParameters(weights, graph, modelOf(what));
  try {
    const tensors = new Map<string, HostTensor>();
    for (const node of graph.inputs.filter(isParameter))
      tensors.set(inputName(node), await parameters.read(inputName(node), node.type.dtype));
    return new Map<string, string | Uint8Array>([
      ["manifest.json", JSON.stringify(manifest, null, 2)],
      ["weights.safetensors", await safetensorsBytes(tensors)],
      ...shaders,
    ]);
  } finally {
    await parameters.dispose();
  }
}
