/** The gradients of a batch: what a stage computes as nodes of its model, and what becomes of that where parameters are ranges of arenas. */
import {
  differentiate,
  inputName,
  isParameter,
  type Node,
  ops,
  packArena,
  topological,
  viewNodes,
} from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { type Tensor, typed } from "../tensor.ts";
import type { Batch, GivenGradient, Stored } from "./accumulation.ts";
import type { Placed } from "./arenas.ts";

/** What a step computes of a batch, as nodes of the model. */
export interface Traced {
  /** What is minimized, scaled where the step scales it. */
  readonly loss: Node;
  /** The loss as it is, and the metrics. */
  readonly figures: Readonly<Record<string, Node>>;
  /** States that the step keeps besides. */
  readonly kept: readonly Stored[];
  readonly trained: readonly Node[];
  /** Whether samples of two micro-batches never meet. */
  readonly apart?: boolean;
}

/** How nodes of the model become those of a step. */
export interface InArenas {
  readonly axes: readonly Axis<"arena">[];
  /** With parameters read from their arenas. */
  readonly viewed: (nodes: readonly Node[]) => Node[];
  /** Gradients of the trained parameters, in their order; none for 0. */
  readonly packed: (gradients: readonly (Node | undefined)[]) => Tensor<"arena">[];
  /** Those that are given out instead, one by one. */
  readonly given: (gradients: readonly (Node | undefined)[]) => GivenGradient[];
}

export function inArenas(placed: readonly Placed[], trained: readonly Node[]): InArenas {
  const layouts = placed.map((place) => place.arena.layout);
  const parameters = placed.map((place) => place.before.parameter);
  return {
    axes: placed.map((place) => place.axis),
    viewed: (nodes) => viewNodes(nodes, layouts, parameters),
    packed: (gradients) => {
      const byName = new Map(trained.map((n, i) => [inputName(n), gradients[i]]));
      return layouts.map((layout) =>
        typed(
          packArena(
            layout,
            layout.entries.map((e) => byName.get(e.name)),
          ),
        ),
      );
    },
    given: () => [],
  };
}

/**
 * Parameters stay tensors of their own, and so do their gradients: graphs that run in parts read and give those of a part.
 * The gradients of what the loss reads last come first, as a backward pass has them.
 */
export function apartFromArenas(loss: Node, trained: readonly Node[]): InArenas {
  const order = topological([loss]).filter(isParameter);
  const numbers = trained.map((_, i) => i).sort((a, b) => order.indexOf(trained[b]!) - order.indexOf(trained[a]!));
  return {
    axes: [],
    viewed: (nodes) => [...nodes],
    packed: () => [],
    given: (gradients) =>
      numbers.flatMap((i) => {
        const [node, parameter] = [gradients[i], trained[i]!];
        const isGiven = node !== undefined && node !== zeroGradient(parameter);
        if (!isGiven) return [];
        const names = parameter.type.axes.map((a) => a.name);
        return [{ output: `gradient.${i}`, parameter: inputName(parameter), node: ops.transpose(node, names) }];
      }),
  };
}

/** The gradient of what does not depend on a parameter. */
const zeroGradient = (parameter: Node): Node => differentiate(ops.constant(0), [parameter])[0]!;

/** What one batch gives, computed in one go. */
export interface OneBatch extends Batch {
  readonly kept: readonly Stored[];
  readonly weight?: Tensor<never>;
  readonly given: readonly GivenGradient[];
}

export function oneBatch(
  { loss, figures, kept, trained }: Traced,
  { viewed, packed, given }: InArenas,
  weight?: Node,
): OneBatch {
  const names = Object.keys(figures);
  const told = [...Object.values(figures), ...kept.map((k) => k.node), ...(weight ? [weight] : [])];
  const seen = viewed([...told, ...differentiate(loss, trained)]);
  return {
    gradients: packed(seen.slice(told.length)),
    given: given(seen.slice(told.length)),
    figures: Object.fromEntries(names.map((name, i) => [name, typed<never>(seen[i]!)])),
    kept: kept.map((k, i) => ({ ...k, node: seen[names.length + i]! })),
    ...(weight && { weight: typed<never>(seen[told.length - 1]!) }),
  };
}
