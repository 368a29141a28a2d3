/** The precision that a graph is actually computed in on an adapter when f16 is requested, and why. */
import { type AdapterFacts, type ScheduleTables, scheduleTables } from "../lowering/index.ts";
import type { Precision } from "../passes/index.ts";

/** The requested precision of computation, and of stored parameters. */
export interface PrecisionAsked {
  readonly precision: Precision;
  /** Default: `precision`. */
  readonly parameters?: Precision;
}

export interface PrecisionPath {
  readonly computes: Precision;
  /** In a few words: "f16 on matrices". */
  readonly path: "f16 on matrices" | "f16 on scalar tiles" | "f16 storage only, f32 compute" | "f32";
  /** A phrase that fits after "because". */
  readonly why: string;
}

export function precisionPath(
  facts: AdapterFacts,
  { precision, parameters = precision }: PrecisionAsked,
  schedules: ScheduleTables = scheduleTables,
): PrecisionPath {
  const stored = parameters === "f16" ? "f16 storage only, f32 compute" : "f32";
  if (precision === "f32")
    return {
      computes: "f32",
      path: stored,
      why: `${parameters === "f16" ? "only parameters are" : "nothing is"} asked for in f16`,
    };
  if (!facts.features.has("f16"))
    return { computes: "f32", path: stored, why: "the adapter has no arithmetic on f16 (feature shader-f16)" };
  const refused = whyNoMatrices(facts, schedules);
  return refused === undefined
    ? { computes: "f16", path: "f16 on matrices", why: "the adapter multiplies matrices of f16 and sums them in f32" }
    : { computes: "f16", path: "f16 on scalar tiles", why: refused };
}

/** Why no contraction schedule uses f16 matrix units; undefined if one does. */
function whyNoMatrices(facts: AdapterFacts, { contraction }: ScheduleTables): string | undefined {
  const onMatrices = contraction.schedules.filter((s) => s.features?.includes("subgroup_matrix"));
  if (!facts.features.has("subgroup_matrix")) return "the adapter has no matrix units that WebGPU shows";
  if (!facts.matrices.some((m) => m.operands === "f16")) return "the adapter's matrix units take no f16";
  const reasons = onMatrices.map((s) => s.settings(facts)).filter((s) => typeof s === "string");
  return reasons.length < onMatrices.length ? undefined : (reasons[0] ?? "no schedule uses matrix units");
}
