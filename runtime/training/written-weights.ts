/**
 * The weights that a run writes: those of the plain model, read back from a store, or as seen by a graph on the device.
 */
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

/**
 * All weights by name: low-rank updates merged, averages if the step keeps them, and parameters that the loss does not
 * use at their initial value.
 */
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
 * Rewrites a graph of the plain model to read these weights from a training step's store, where they lie in arenas and
 * apart from their low-rank updates; frozen weights in their stored form, which may be rounded. Throws UsageError for a
 * graph with updates, since the store belongs to the training run.
 */
export function overTrainedWeights(graph: Graph, step: CompiledStep): Graph {
  return overWeights(graph, step, (roots) => {
    const layouts = step.arenas.map((a) => a.layout);
    const arenas = step.arenas.map((a) => ops.state(a.average ?? a.parameters, "f32", [arenaAxis(a.layout)]));
    return viewNodes(roots, layouts, arenas);
  });
}

/** The same for a step whose weights are sharded: each is read by its name. */
export const overWeightParts = (graph: Graph, step: CompiledStep): Graph => overWeights(graph, step, (roots) => roots);

function overWeights(graph: Graph, step: CompiledStep, viewed: (roots: readonly Node[]) => readonly Node[]): Graph {
  if (Object.keys(graph.updates).length > 0)
    throw new UsageError(`@${graph.name} updates state, but a validation must not change a run's weights`);
  return withoutCapture(() => {
    const nodes = viewed(asKept(withLowRank(graph, step), step));
    return makeGraph(
      graph.name,
      graph.outputs.map(({ name }, i) => ({ name, node: nodes[i]! })),
      graph.inputs.filter((n) => !isParameter(n)),
    );
  });
}

/** The outputs, with W + scale · up · down for each weight that has a low-rank update. */
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

/** Nodes that read frozen weights in the store's form. */
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
