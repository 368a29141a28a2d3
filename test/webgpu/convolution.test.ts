/** Convolutions with both gradients on a device: by the schedules of software adapters and by those of hardware. */
import { describe, expect } from "vitest";
import { gpuTest } from "../support/adapter.ts";
import { convolutionByLoops, convolutionCases, convolutionGraph } from "../support/convolution.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { asHardware, runOn, tolerance } from "./support.ts";

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
