/** Convolutions and pooling over maps whose sides are known when the graph runs, with gradients: compiled once. */
import { describe, expect, test } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { bindSizes } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { openMapNet } from "../support/open-maps.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { hostValues, tolerance } from "./support.ts";

const graph = openMapNet();
const sides = [
  [2, 3],
  [1, 6],
  [5, 1],
] as const;

/** Runs a net at all sides; fails where a backend differs from the interpreter, or compiles for some of them. */
async function expectOnce(backend: Backend): Promise<void> {
  const [store, executable] = [backend.createStore(), await backend.compile(graph)];
  const compiled = backend.pipelines();
  expect(compiled).toBeGreaterThan(0);
  for (const [rows, columns] of sides) {
    const sized = bindSizes(graph, { rows, columns, batch: 2 });
    const values = inputValues(sized, rows);
    const feeds = Object.fromEntries(hostValues(sized, values));
    const got = await executable.run(feeds, store, { fetch: graph.outputs.map((o) => o.name) });
    for (const [name, want] of evaluate(sized, values)) {
      const over = excess(got[name]!.data, want.data, tolerance.absolute, tolerance.relative);
      expect(over, `${name} at ${rows} x ${columns}`).toBeLessThanOrEqual(0);
    }
    expect(backend.pipelines(), `at ${rows} x ${columns}`).toBe(compiled);
  }
  executable.dispose();
  store.dispose();
}

describe("a convolutional net of open height and width, and its gradients", () => {
  gpuTest("on WebGPU", async ({ gpu }) => expectOnce(webgpuBackend(gpu)));

  test("on cpu, through ONNX", async () => {
    const backend = await cpuBackend();
    await expectOnce(backend);
    backend.dispose();
  });
});
