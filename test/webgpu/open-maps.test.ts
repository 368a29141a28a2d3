/** Convolutions and pooling over maps whose sides are known when the graph runs, with gradients: compiled once. */
import { describe, expect } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { bindSizes } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { openMapNet } from "../support/open-maps.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { asHardware, hostValues, tolerance } from "./support.ts";

describe("a convolutional net of open height and width", () => {
  gpuTest.for(["software", "hardware"])("by the schedules of %s", async (family, { gpu }) => {
    const graph = openMapNet();
    const backend = webgpuBackend(family === "software" ? gpu : asHardware(gpu));
    const [store, executable] = [backend.createStore(), await backend.compile(graph)];
    const compiled = backend.pipelines();
    for (const [rows, columns] of [
      [2, 3],
      [1, 6],
      [5, 4],
    ] as const) {
      const sized = bindSizes(graph, { rows, columns, batch: 2 });
      const values = inputValues(sized, rows);
      const feeds = Object.fromEntries(hostValues(sized, values));
      const got = await executable.run(feeds, store, { fetch: graph.outputs.map((o) => o.name) });
      for (const [name, want] of evaluate(sized, values))
        expect([name, excess(got[name]!.data, want.data, tolerance.absolute, tolerance.relative) <= 0]).toEqual([name, true]);
      expect(backend.pipelines(), `at ${rows} x ${columns}`).toBe(compiled);
    }
    executable.dispose();
    store.dispose();
  });
});
