/** From a graph to a bundle, for a page's device that is not known yet. */
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

/** WebGPU's guaranteed limits, but for the ten storage buffers a kernel that desktop browsers and drivers all grant. */
export const typicalFacts: AdapterFacts = { ...baselineFacts, maxBindings: 10 };

export interface BundleOptions {
  /** Numbers for all open sizes. */
  readonly sizes?: Sizes;
  /** What weights are kept as. Default "f32". */
  readonly dtype?: "f32" | "f16";
  /** What is computed in: "f16" asks the page's device for that feature. Default "f32". */
  readonly precision?: Precision;
  /** Whom kernels are made for; the page's device must have what they need. Default `typicalFacts`. */
  readonly facts?: AdapterFacts;
}

/** A bundle, and the graph whose parameters are its weights. Throws UnsupportedError where a size is left open. */
export function compileBundle(
  graph: Graph,
  { sizes = {}, dtype = "f32", precision = "f32", facts = typicalFacts }: BundleOptions = {},
): Bundle & { readonly graph: Graph } {
  const bound = keepParametersAs(bindSizes(graph, sizes), dtype);
  const asked = precision === "f16" ? { ...facts, features: new Set([...facts.features, "f16" as const]) } : facts;
  return { ...bundleOf(bound, compileKernels(bound, asked, { precision }), asked), graph: bound };
}
