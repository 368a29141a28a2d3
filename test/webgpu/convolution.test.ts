/** Convolutions with both gradients on a device: by the schedules of software adapters and by those of hardware. */
import { describe, expect } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { symbol } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { convolutionByLoops, convolutionCases, convolutionGraph } from "../support/convolution.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { asHardware, hostValues, runOn, tolerance } from "./support.ts";

describe.each(Object.entries(convolutionCases))("%s", (_, c) => {
  const graph = convolutionGraph(c);
  const values = inputValues(graph, 11);
  const want = convolutionByLoops(c, graph, values);

  gpuTest.for(["software", "hardware"])("by the schedules of %s", async (family, { gpu }) => {
    const got = await runOn(family === "software" ? gpu : asHardware(gpu), graph, values);
    for (const name of ["y", "dx", "dw"] as const)
      expect([name, excess(got[name]!.data, want[name], tolerance.absolute, tolerance.relative) <= 0]).toEqual([
        name,
        true,
      ]);
  });
});

describe("a batch that is open until a run", () => {
  gpuTest.for(["software", "hardware"])("by the schedules of %s", async (family, { gpu }) => {
    const c = { ...convolutionCases["3 x 3, stride 2, more zeros after than before"]!, batch: 3 };
    const [open, sized] = [convolutionGraph({ ...c, batch: symbol("batch") }), convolutionGraph(c)];
    const values = inputValues(sized, 11);
    const backend = webgpuBackend(family === "software" ? gpu : asHardware(gpu));
    const [store, executable] = [backend.createStore(), await backend.compile(open)];
    const got = await executable.run(Object.fromEntries(hostValues(sized, values)), store, {
      fetch: ["y", "dx", "dw"],
    });
    const want = convolutionByLoops(c, sized, values);
    for (const name of ["y", "dx", "dw"] as const)
      expect([name, excess(got[name]!.data, want[name], tolerance.absolute, tolerance.relative) <= 0]).toEqual([
        name,
        true,
      ]);
    executable.dispose();
    store.dispose();
  });
});
