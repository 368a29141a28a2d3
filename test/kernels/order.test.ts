/** Every read is preceded by the write it means: graphs that once were computed from memory not yet written. */
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { verifyReads } from "../../compiler/fusion/verify-reads.ts";
import { parseGraph } from "../../compiler/index.ts";
import { fuseForUpdates } from "../../compiler/lowering/in-place.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

const graphs = {
  "a concatenation that is an output, and what is computed from it": `graph @g(%x: f32[a=2, b=3], %y: f32[a=2, b=1]) {
  %0 = concat %x, %y axis b : f32[a=2, b=4]
  %1 = neg %0 : f32[a=2, b=4]
  return %0 as all, %1 as negated
}
`,
  "a scattered sum beside itself": `graph @g(%i: i32[t=4], %x: f32[t=4, e=2]) {
  %0 = scatter_add %i, %x axis v=3 batched [] : f32[v=3, e=2]
  %1 = concat %0, %0 axis v : f32[v=6, e=2]
  return %1, %0
}
`,
  "a concatenation of concatenations": `graph @g(%x: f32[a=3], %y: f32[a=2]) {
  %0 = concat %x, %y axis a : f32[a=5]
  %1 = exp %0 : f32[a=5]
  %2 = concat %1, %0, %1 axis a : f32[a=15]
  %3 = mul %2, %2 : f32[a=15]
  return %2, %3, %0
}
`,
};

describe.each(Object.keys(adapters))("kernels for a %s adapter", (adapter) => {
  test.each(Object.entries(graphs))("%s", (_, text) => {
    const graph = parseGraph(text);
    const values = inputValues(graph, 3);
    const got = interpretProgram(compileFor(graph, adapters[adapter]!), values);
    for (const [name, want] of evaluate(graph, values))
      expect(excess(got.get(name)!, want.data, 1e-5, 1e-5)).toBeLessThanOrEqual(0);
  });
});

test("a plan out of order is refused, and says what is read too early", () => {
  const graph = parseGraph(Object.values(graphs)[0]!);
  const plan = fuseForUpdates(graph, adapters.gpu!);
  expect(verifyReads(plan)).toEqual([]);
  const backwards = verifyReads({ ...plan, kernels: [...plan.kernels].reverse() });
  expect(backwards.join()).toContain("reads concat, which no earlier kernel has written");
});

test("states that change places are copied through memory of their own", () => {
  const graph = parseGraph(`graph @g(state %a: f32[n=3], state %b: f32[n=3]) {
  return %a as next_b updates b, %b as next_a updates a
}
`);
  const { plan } = compileFor(graph, adapters.gpu!);
  expect(plan.copies).toHaveLength(3);
  expect(plan.copies.map((c) => c.to.kind)).toEqual(["slot", "input", "input"]);
});
