/** Every published layout of every tiny model: weights written in it are found, and read back element by element. */
import { afterAll, expect, test } from "vitest";
import { layoutsOf } from "../../cli/parameters.ts";
import type { Graph, HostTensor } from "../../compiler/index.ts";
import { openWeights, permute, tensorsInLayout, writeSafetensors } from "../../runtime/index.ts";
import { scratch } from "../cli/support.ts";
import { subjects } from "../onnx/export-matrix/combinations.ts";
import { bundled } from "./classifiers.ts";
import { anyWeights } from "./support.ts";

const folder = scratch("layouts");
afterAll(() => folder.remove());

/** Values in memory as weights that can be written in a layout. */
const source = (values: ReadonlyMap<string, HostTensor>) => ({
  dtypeOf: () => "F32" as const,
  read: async (parameter: string) => values.get(parameter)!,
  async *pieces(parameter: string, order: readonly string[]) {
    yield permute(values.get(parameter)!, order).data;
  },
});

/** The main graphs of the models, which have nearly all parameters. */
const cases = subjects()
  .filter(({ name }) => !name.includes(":"))
  .map(({ name, graph }) => [name, graph] as const);

test.each(cases)("%s", async (name, graph: Graph) => {
  const model = bundled(name);
  const layouts = layoutsOf(graph, model);
  // EVA's towers of two kinds have two layouts each.
  expect(layouts.length).toBe(model.checkpoints!.layouts.length / (name.startsWith("eva") ? 2 : 1));
  const values = anyWeights(graph, 7);
  for (const layout of layouts) {
    const file = folder.at("model.safetensors");
    await writeSafetensors(file, tensorsInLayout(layout, source(values)));
    const weights = await openWeights(file, graph, layouts);
    expect(weights.report).toMatch(/ 0 missing, 0 with another shape, 0 unexpected$/);
    for (const [parameter, { data }] of values)
      expect([parameter, (await weights.read(parameter)).data]).toEqual([parameter, data]);
    await weights.dispose();
  }
});
