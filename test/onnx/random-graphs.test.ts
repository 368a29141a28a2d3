/** Random graphs over the whole registry mean in ONNX what the interpreter says, as a file and on the cpu device. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { bindSizes, type Graph, type Sizes, UnsupportedError } from "../../compiler/index.ts";
import { graphArbitrary, inputValues, symbolValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { reference, throughCpu, throughOnnx } from "./support.ts";

let cpu: Backend;
beforeAll(async () => {
  cpu = await cpuBackend({ threads: 1 });
});
afterAll(() => cpu.dispose());

/** A dozen ops round a dozen times; sums and products on the way make the roundings larger. */
const tolerance = { absolute: 1e-4, relative: 1e-3 };

async function agree(graph: Graph, opset: number, sizes: Sizes = {}): Promise<void> {
  const values = inputValues(bindSizes(graph, sizes), 11);
  const want = reference(graph, values, sizes);
  for (const got of [await throughOnnx(graph, values, { opset }, sizes), await throughCpu(cpu, graph, values, sizes)]) {
    for (const { name } of graph.outputs) {
      expect(excess(got.get(name)!, want.get(name)!, tolerance.absolute, tolerance.relative)).toBeLessThanOrEqual(0);
    }
  }
}

const opsetArbitrary = fc.constantFrom(17, 18, 20, 21, 23, 26);

it("static sizes, those of 1 and odd ones included", async () => {
  const graphs = graphArbitrary({ sizes: [1, 2, 3, 5, 17] });
  await fc.assert(
    fc.asyncProperty(graphs, opsetArbitrary, (graph, opset) => agree(graph, opset)),
    { numRuns: 150, seed: 3 },
  );
});

it("symbolic sizes, sums of symbols included", async () => {
  const graphs = graphArbitrary({ sizes: [1, 2, 3, 5], symbols: true });
  const property = fc.asyncProperty(graphs, opsetArbitrary, async (graph, opset) => {
    try {
      await agree(graph, opset, symbolValues);
    } catch (error) {
      // A size that no input tells is refused by name; everything else must agree.
      if (!(error instanceof UnsupportedError && /is not a dimension of an input/.test(error.message))) throw error;
    }
  });
  await fc.assert(property, { numRuns: 150, seed: 5 });
});
