/** The gradients of a batch: a stage's results as nodes of its model, and the same with parameters read from arenas. */
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

/** The results of a step on a batch, as nodes of the model. */
export interface Traced {
  /** The loss to minimize, scaled if the step uses loss scaling. */
  readonly loss: Node;
  /** The unscaled loss, and the metrics. */
  readonly figures: Readonly<Record<string, Node>>;
  /** Other states that the step updates. */
  readonly kept: readonly Stored[];
  readonly trained: readonly Node[];
  /** Whether the loss never relates samples of two micro-batches. */
  readonly apart?: boolean;
}

/** Translates nodes of the model into those of a step. */
export interface InArenas {
  readonly axes: readonly Axis<"arena">[];
  /** Replaces parameters by views of their arenas. */
  readonly viewed: (nodes: readonly Node[]) => Node[];
  /** Packs the gradients of the trained parameters, in their order, into arenas; undefined is 0. */
  readonly packed: (gradients: readonly (Node | undefined)[]) => Tensor<"arena">[];
  /** The gradients to output one by one instead. */
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
 * Parameters and gradients stay separate tensors, so that graphs which run in parts need only those of a part.
 * Gradients are in reverse order of use, the order in which the backward pass produces them.
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

/** The gradient if the loss does not depend on the parameter. */
const zeroGradient = (parameter: Node): Node => differentiate(ops.constant(0), [parameter])[0]!;

/** The results of one batch, computed at once. */
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
