/** Fused kernels on a real device against the reference: every op, and random graphs at odd sizes. */
import fc from "fast-check";
import { describe, expect } from "vitest";
import { build, opRecords } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";
import { graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";
import { asHardware, mistakes } from "./support.ts";

const records = opRecords().filter((r) => r.kind !== "source");

describe.each(["software", "hardware"])("with the schedules of %s", (family) => {
  gpuTest.for(records)("$name computes what the reference does", async (record, { gpu }) => {
    const device = family === "software" ? gpu : asHardware(gpu);
    for (const c of record.cases) {
      const inputs = inputsOf(c);
      const graph = graphOf(record.name, inputs, build(record.name, inputs, c.attrs));
      expect(await mistakes(device, graph, inputMap(operandsOf(record, c, 7)))).toEqual([]);
    }
  });

  gpuTest("random graphs compute what the reference does", async ({ gpu }) => {
    const device = family === "software" ? gpu : asHardware(gpu);
    const graphs = graphArbitrary({ sizes: [1, 3, 17, 65, 257] });
    const property = fc.asyncProperty(graphs, fc.nat(1000), async (graph, seed) => {
      expect(await mistakes(device, graph, inputValues(graph, seed))).toEqual([]);
    });
    await fc.assert(property, { numRuns: 40, seed: 7 });
  });
});
