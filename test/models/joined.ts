/** Fixtures whose tensors hold several parameters each, read and compared as commands read and write checkpoints. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Graph, type HostTensor, inputName, isParameter } from "../../compiler/index.ts";
import { checkpointLayout, type TensorRule } from "../../dsl/index.ts";
import { openWeights, tensorsInLayout } from "../../runtime/index.ts";
import { type Digest, noGradient, permuted } from "./support.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));

/** The weights of a fixture as values of the graph's parameters, by path. */
export async function joinedWeights(
  name: string,
  graph: Graph,
  rules: readonly TensorRule[],
): Promise<Map<string, HostTensor>> {
  const layout = checkpointLayout(graph, rules).map((place) => ({ ...place, name: `weights/${place.name}` }));
  const weights = await openWeights(join(fixtures, `${name}.safetensors`), graph, [layout]);
  const values = new Map<string, HostTensor>();
  for (const path of graph.inputs.filter(isParameter).map(inputName)) values.set(path, await weights.read(path));
  await weights.dispose();
  return values;
}

/**
 * The worst disagreement of gradients with PyTorch's digests, relative to the norm, with the tensor's name. Every
 * parameter has a gradient in `got`, and every tensor of the layout is in the fixture, and the other way round.
 */
export async function joinedDifference(
  got: Readonly<Record<string, HostTensor>>,
  want: Readonly<Record<string, Digest>>,
  graph: Graph,
  rules: readonly TensorRule[],
): Promise<{ readonly name: string; readonly difference: number }> {
  const learned = { inputs: graph.inputs.filter((n) => n.attrs.role !== "buffer") };
  const tensors = tensorsInLayout(checkpointLayout(learned, rules), {
    dtypeOf: () => "F32",
    read: async (path) => got[path]!,
    pieces: async function* (path, order) {
      yield permuted(got[path]!, order).data;
    },
  });
  const [mine, theirs] = [tensors.map((t) => t.name).sort(), Object.keys(want).sort()];
  if (mine.join() !== theirs.join()) throw new Error(`here: ${mine}; there: ${theirs}`);
  let worst = { name: "", difference: 0 };
  for (const { name, data } of tensors) {
    const flat: number[] = [];
    for await (const piece of data()) flat.push(...(piece as Float32Array));
    const [norm, product] = want[name]!;
    const mixed = flat.reduce((total, v, i) => total + v * Math.cos(i + 1), 0);
    const apart = Math.max(Math.abs(Math.hypot(...flat) - norm), Math.abs(mixed - product));
    const difference = apart / Math.max(norm, noGradient);
    if (!(difference <= worst.difference)) worst = { name, difference };
  }
  return worst;
}
