/** A stage of PP-OCR by heddle, imported before: compiled and run, in Node or in a page. */
import type { Backend } from "../../../backends/backend.ts";
import type { OnnxImport } from "../../../backends/onnx/import/index.ts";
import { type HostTensor, hostTensor, type Sizes } from "../../../compiler/index.ts";
import { createSession } from "../../../runtime/index.ts";
import type { Plain, Stage } from "./reading-text.ts";

/** The sides of an input as numbers, by their names in the files. */
export function sidesOf(stage: Stage, { shape }: Plain): Sizes {
  const sides = stage === "recognize" ? [shape[3]!] : [shape[2]!, shape[3]!];
  return Object.fromEntries(sides.map((side, i) => [`p2o_DynamicDimension_${i + 1}`, side]));
}

export async function runImported(
  backend: Backend,
  { graph, parameters }: OnnxImport,
  { shape, data }: Plain,
): Promise<Plain> {
  const weights = new Map<string, HostTensor>();
  for (const [name, { read }] of parameters) weights.set(name, await read());
  const session = await createSession(backend, graph, weights);
  const axes = graph.inputs[0]!.type.axes.map(({ name }, i) => ({ name, size: shape[i]! }));
  const [made] = Object.values(await session.run({ x: hostTensor("f32", axes, Float32Array.from(data)) }));
  session.dispose();
  return { shape: made!.axes.map((a) => a.size), data: made!.data };
}
