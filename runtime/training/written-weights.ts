/** The weights that a run writes: of the plain model, read back from a store or as what a graph computes with there. */
import type { Store } from "../../backends/backend.ts";
import {
  arenaAxis,
  decodedParameter,
  type Graph,
  type HostTensor,
  halfParameter,
  inputName,
  isParameter,
  makeGraph,
  type Node,
  ops,
  rewriteNodes,
  UsageError,
  viewNodes,
  withoutCapture,
} from "../../compiler/index.ts";
import type { WeightParts } from "../sharding/weight-parts.ts";
import { mergedWeights } from "./adapters.ts";
import { type CompiledStep, type TrainingJob, unusedParameters } from "./job.ts";
import { readWeights, startingValue } from "./state.ts";

/** All of them by name: low-rank updates merged, averages where the step keeps them, what the loss does not use as it began. */
export async function writtenWeights(
  job: TrainingJob,
  store: Store,
  parts?: Pick<WeightParts, "ask">,
): Promise<Map<string, HostTensor>> {
  const weights = mergedWeights(await readWeights(job, store, parts), job.step.adapters ?? []);
  for (const node of unusedParameters(job)) weights.set(inputName(node), await startingValue(job, node));
  return weights;
}

/**
 * A graph of the plain model that reads these weights from the store of a training step, where they lie in arenas and
 * beside their low-rank updates; frozen weights as they are kept there, which may be rounded. Throws UsageError for a graph with updates: the store is the training run's.
 */
export function overTrainedWeights(graph: Graph, step: CompiledStep): Graph {
  return overWeights(graph, step, (roots) => {
    const layouts = step.arenas.map((a) => a.layout);
    const arenas = step.arenas.map((a) => ops.state(a.average ?? a.parameters, "f32", [arenaAxis(a.layout)]));
    return viewNodes(roots, layouts, arenas);
  });
}

/** The same of a step whose weights are in parts: it reads each by its name. */
export const overWeightParts = (graph: Graph, step: CompiledStep): Graph => overWeights(graph, step, (roots) => roots);

function overWeights(graph: Graph, step: CompiledStep, viewed: (roots: readonly Node[]) => readonly Node[]): Graph {
  if (Object.keys(graph.updates).length > 0)
    throw new UsageError(`@${graph.name} updates state: a validation computes with a run's weights and changes none`);
  return withoutCapture(() => {
    const nodes = viewed(asKept(withLowRank(graph, step), step));
    return makeGraph(
      graph.name,
      graph.outputs.map(({ name }, i) => ({ name, node: nodes[i]! })),
      graph.inputs.filter((n) => !isParameter(n)),
    );
  });
}

/** The outputs with W + scale · up · down for each weight that has a low-rank update. */
function withLowRank(graph: Graph, { adapters = [], trained }: CompiledStep): Node[] {
  const roots = graph.outputs.map((o) => o.node);
  const learned = new Map(trained.map((n) => [inputName(n), n]));
  const updates = new Map(
    adapters.map(({ weight, up, down, scale }) => {
      const [b, a] = [learned.get(up)!, learned.get(down)!];
      return [weight, ops.mul(ops.contract(b, a, [a.type.axes[0]!.name]), scale)] as const;
    }),
  );
  const map = rewriteNodes(roots, (node) => {
    const update = isParameter(node) ? updates.get(inputName(node)) : undefined;
    return update ? ops.add(node, update) : node;
  });
  return roots.map((r) => map.get(r)!);
}

/** Nodes with frozen weights read as the store keeps them. */
function asKept(roots: readonly Node[], { frozenAs }: CompiledStep): Node[] {
  if (!frozenAs) return [...roots];
  const halves = new Set(frozenAs.halves);
  const integers = new Map(frozenAs.quantized.map((q) => [q.parameter, q]));
  const map = rewriteNodes(roots, (node) => {
    if (!isParameter(node)) return node;
    const q = integers.get(inputName(node));
    if (q) return decodedParameter(node, q);
    return halves.has(inputName(node)) ? halfParameter(node) : node;
  });
  return roots.map((r) => map.get(r)!);
}
