/** Files that others made, with real weights: PP-OCR reads a picture, as onnxruntime reads it. */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Backend } from "../../../backends/backend.ts";
import { openOnnx } from "../../../backends/onnx/node-index.ts";
import { cpuBackend } from "../../../backends/onnxruntime/index.ts";
import { type HostTensor, hostTensor } from "../../../compiler/index.ts";
import { createSession } from "../../../runtime/index.ts";
import { difference } from "../../models/support.ts";
import { drawing, modelFiles, type Plain, readText, type Stage } from "./reading-text.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;

async function throughOrt(stage: Stage, { shape, data }: Plain): Promise<Plain> {
  const session = await ort.InferenceSession.create(modelFiles[stage], { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const made = await session.run({ x: new ort.Tensor("float32", data as Float32Array, shape as number[]) });
  await session.release();
  const [output] = Object.values(made);
  return { shape: output!.dims, data: output!.data as Float32Array };
}

let cpu: Backend;
beforeAll(async () => {
  cpu = await cpuBackend({ threads: 1 });
});
afterAll(() => cpu.dispose());

/** The sides of a map must be numbers when a convolution is imported; the batch may stay open. */
async function throughHeddle(stage: Stage, { shape, data }: Plain): Promise<Plain> {
  const sides = stage === "recognize" ? [shape[3]!] : [shape[2]!, shape[3]!];
  const sizes = Object.fromEntries(sides.map((side, i) => [`p2o_DynamicDimension_${i + 1}`, side]));
  const { graph, parameters } = await openOnnx(modelFiles[stage], { sizes });
  const weights = new Map<string, HostTensor>();
  for (const [name, { read }] of parameters) weights.set(name, await read());
  const session = await createSession(cpu, graph, weights);
  const axes = graph.inputs[0]!.type.axes.map(({ name }, i) => ({ name, size: shape[i]! }));
  const [made] = Object.values(await session.run({ x: hostTensor("f32", axes, Float32Array.from(data)) }));
  session.dispose();
  return { shape: made!.axes.map((a) => a.size), data: made!.data };
}

it("reads text in a picture, each stage within 1e-3 of onnxruntime", async () => {
  const differences: Partial<Record<Stage, number>> = {};
  const { text, upright } = await readText(await drawing("HELLO", 256, 96), async (stage, input) => {
    const [made, want] = [await throughHeddle(stage, input), await throughOrt(stage, input)];
    expect(made.shape).toEqual(want.shape);
    differences[stage] = difference(made.data, want.data);
    return made;
  });
  expect(text).toBe("HELLO");
  expect(upright).toBeGreaterThan(0.5);
  expect(Object.values(differences).every((d) => d < 1e-3)).toBe(true);
}, 60_000);
