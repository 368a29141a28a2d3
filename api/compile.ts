/** Bundles: a model compiled to WebGPU, for pages that run it without the compiler. */
import { type BundleOptions, compileBundle } from "../backends/webgpu/index.ts";
import type { AdapterFacts } from "../compiler/index.ts";
import type { Config } from "../dsl/index.ts";
import { requireSizes } from "./checks.ts";
import { sizedByWeights } from "./config-beside.ts";
import { graphOf, type Modelled, type ModelledOptions, modelledOptions, modelOf } from "./modelled.ts";
import { kinds, type OptionTable, oneOf, requireOptions } from "./options.ts";
import { openParameters, parameterBytes, type WeightsFrom, weightsKind } from "./weights.ts";

/** Options of `compile`. */
export interface CompileOptions<C extends Config = Config> extends ModelledOptions<C>, BundleOptions {
  readonly weights?: WeightsFrom;
}

const compileOptions: OptionTable<CompileOptions> = {
  ...modelledOptions,
  weights: weightsKind,
  sizes: kinds.sizes,
  dtype: oneOf(["f32", "f16"]),
  precision: kinds.precision,
  facts: {
    is: (facts) => Array.isArray((facts as AdapterFacts | null)?.matrices),
    needed: "the facts of an adapter",
  },
};

/**
 * Compiles a model to a WebGPU bundle: its files by name, `manifest.json`, `weights.safetensors` and WGSL. A page runs
 * it with `loadBundle` of `heddle/bundle`, which is 5 kB and has no compiler. Throws UnsupportedError for a size left
 * symbolic: `sizes` binds them.
 */
export async function compile<C extends Config>(
  what: Modelled<C>,
  given: CompileOptions<C> = {},
): Promise<ReadonlyMap<string, string | Uint8Array>> {
  requireOptions<CompileOptions>("compile", given, compileOptions);
  const { weights = new Map(), settings, graph: named, ...options } = given;
  const choice = { ...(settings && { settings }), ...(named !== undefined && { graph: named }) };
  const whole = graphOf(await sizedByWeights(what, weights), choice);
  requireSizes(whole, options.sizes ?? {});
  const { graph, manifest, shaders } = compileBundle(whole, options);
  const parameters = await openParameters(weights, graph, modelOf(what));
  try {
    return new Map<string, string | Uint8Array>([
      ["manifest.json", JSON.stringify(manifest, null, 2)],
      ["weights.safetensors", await parameterBytes(parameters, graph)],
      ...shaders,
    ]);
  } finally {
    await parameters.dispose();
  }
}
