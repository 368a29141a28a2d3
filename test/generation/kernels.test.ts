/** What a token costs: kernels of a layer, and bytes that it writes, at the sizes of a published decoder. */
import { describe, expect, it } from "vitest";
import {
  baselineFacts,
  compileKernels,
  dimValue,
  keepWeightsAs,
  kernelIr,
  type Precision,
  type Program,
  symbol,
} from "../../compiler/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { chineseLlama7b, decodeStep } from "../../models/index.ts";
import { cachedStep } from "../../runtime/generation/cache-graphs.ts";

const depth = 3;
const { width, heads } = chineseLlama7b;
const facts = { ...baselineFacts, ...kernelIr.recordedAdapters["nvidia-h200"].facts };

function tokenOf(rows: number, precision: Precision, weights?: "int4" | "int8"): Program {
  const config = { ...chineseLlama7b, depth };
  const made = trace(defineModel({ name: "llama", summary: "", config, build: (p, c) => decodeStep(p, c) }));
  const step = weights ? keepWeightsAs(made, weights).graph : made;
  const shape = { rows, capacity: symbol("capacity"), ...(precision === "f16" && { dtype: precision }) };
  return compileKernels(cachedStep(step, shape, 1, { rank: 1 }), facts, { precision });
}

const ofLayer = (program: Program, layer: number) => program.kernels.filter((k) => k.name.includes(`layers.${layer}.`));

describe.each([
  [1, "f32"],
  [1, "f16"],
  [5, "f32"],
  [5, "f16"],
] as const)("a token of %i texts in %s", (rows, precision) => {
  const program = tokenOf(rows, precision);

  it("takes at most ten kernels a layer", () => {
    for (let layer = 0; layer < depth; layer++) expect(ofLayer(program, layer).length).toBeLessThanOrEqual(10);
    expect(program.plan.copies).toEqual([]);
  });

  it("writes its own rows of the cache, however many places there are", () => {
    const states = program.graph.inputs.filter((n) => n.attrs.role === "state");
    expect(states).toHaveLength(2 * depth);
    expect(states[0]!.type.dtype).toBe(precision);
    const written = (capacity: number) =>
      program.kernels.reduce((n, k) => n + dimValue(k.bytesWritten, { capacity }), 0);
    expect(written(8192)).toBe(written(64));
    const element = precision === "f16" ? 2 : 4;
    const writers = program.kernels.filter((k) =>
      k.bindings.some((b, i) => states.includes(b.root) && k.kernel.buffers[i]!.access === "read_write"),
    );
    expect(writers).toHaveLength(2 * depth);
    // Values lie beside what the same kernel hands to the rotation; rotated keys are all that theirs writes.
    expect(writers.map((k) => k.bytesWritten)).toContain(rows * heads * (width / heads) * element);
  });
});

it.each(["int8", "int4"] as const)("weights as %s take no more kernels", (weights) => {
  const program = tokenOf(1, "f16", weights);
  for (let layer = 0; layer < depth; layer++) expect(ofLayer(program, layer).length).toBeLessThanOrEqual(10);
});
