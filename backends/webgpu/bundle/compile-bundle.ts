/** Compiles a graph to a bundle for a device that is not known yet. */
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  keepParametersAs,
  type Precision,
  type Sizes,
} from "../../../compiler/index.ts";
import { type Bundle, bundleOf } from "./bundle.ts";

/**
 * WebGPU's guaranteed limits, except for 10 storage buffers per kernel, which all desktop browsers and drivers support.
 */
export const typicalFacts: AdapterFacts = { ...baselineFacts, maxBindings: 10 };

export interface BundleOptions {
  /** Values for all symbolic sizes. */
  readonly sizes?: Sizes;
  /** The dtype of the weights. Default "f32". */
  readonly dtype?: "f32" | "f16";
  /** The compute precision: "f16" requires that feature of the page's device. Default "f32". */
  readonly precision?: Precision;
  /** The adapter facts to compile for; the page's device must provide what the kernels use. Default `typicalFacts`. */
  readonly facts?: AdapterFacts;
}

/** A bundle, and the graph whose parameters are its weights. Throws UnsupportedError if a symbolic size is unbound. */
export function compileBundle(
  graph: Graph,
  { sizes = {}, dtype = "f32", precision = "f32", facts = typicalFacts }: BundleOptions = {},
): Bundle & { readonly graph: Graph } {
  const bound = keepParametersAs(bindSizes(graph, sizes), dtype);
  const asked = precision === "f16" ? { ...facts, features: new Set([...facts.features, "f16" as const]) } : facts;
  return { ...bundleOf(bound, compileKernels(bound, asked, { precision }), asked), graph: bound };
}
