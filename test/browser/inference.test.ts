/** The compiler and the WebGPU backend in real Chromium compute what they compute in Node. */
import { expect } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { softwareDevice } from "../support/adapter.ts";
import { excess } from "../support/samples.ts";
import { infer, inferenceGraph, pixels, weights } from "./inference.ts";
import { browserTest } from "./support.ts";

browserTest("logits of a vision transformer are those of Node and of the interpreter", async ({ chromium }) => {
  const { call } = await chromium.open<typeof import("./pages/inference.ts")>("inference");
  const inPage = await call("logits");
  const backend = webgpuBackend(await softwareDevice());
  const inNode = await infer(backend);
  const values = new Map([...weights, ["pixels", pixels] as const].map(([n, t]) => [n, Float64Array.from(t.data)]));
  const exact = evaluate(inferenceGraph, values).get("logits")!.data;
  expect(excess(inPage, exact, 1e-4, 1e-4)).toBeLessThanOrEqual(0);
  expect(excess(inPage, inNode, 1e-6, 1e-6)).toBeLessThanOrEqual(0);
});
