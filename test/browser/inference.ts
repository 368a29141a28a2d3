/** Inference as both a page and Node run it: a vision transformer whose numbers follow from their places alone. */
import type { Backend } from "../../backends/backend.ts";
import {
  bindSizes,
  elementCount,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  type SizedAxis,
} from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { createSession } from "../../runtime/session.ts";
import tinyVit from "./tiny-vit.ts";

export const inferenceGraph = bindSizes(trace(tinyVit), { batch: 2 });

/** Values of about -1 to 1 that no two tensors share. */
const patterned = (axes: readonly SizedAxis[], phase: number, scale: number): HostTensor =>
  hostTensor(
    "f32",
    axes,
    Float32Array.from({ length: elementCount(axes) }, (_, i) => scale * Math.fround(Math.sin(1.7 * i + phase))),
  );

export const weights = new Map(
  inferenceGraph.inputs
    .filter(isParameter)
    .map((node, i) => [inputName(node), patterned(node.type.axes as readonly SizedAxis[], i, 0.2)]),
);

export const pixels = patterned(
  inferenceGraph.inputs.find((n) => inputName(n) === "pixels")!.type.axes as readonly SizedAxis[],
  0.5,
  1,
);

/** The logits of a batch. */
export async function infer(backend: Backend): Promise<number[]> {
  const session = await createSession(backend, inferenceGraph, weights);
  const { logits } = await session.run({ pixels });
  session.dispose();
  return [...logits!.data];
}
