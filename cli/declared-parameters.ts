/** The parameters that a model declares, whichever of its graphs reads them. */
import { type Graph, inputName, isParameter, makeGraph, type Node, UsageError } from "../compiler/index.ts";
import { type Config, type Model, trace, withoutRule } from "../dsl/index.ts";

/** The names of a model's graphs; undefined stands for its main graph. */
export const graphsOf = (model: Model): readonly (string | undefined)[] => [
  undefined,
  ...Object.keys(model.graphs ?? {}),
];

/**
 * The parameters that a graph of a model declares, whether or not it reads them; none for a graph that cannot be built,
 * which is reported where it is requested.
 */
export function declaredParameters(model: Model, config: Config, graph: string | undefined): readonly Node[] {
  const found: Node[] = [];
  try {
    trace(model, config, { onParameter: (node) => found.push(node), ...(graph !== undefined && { graph }) });
    return found;
  } catch (error) {
    if (error instanceof UsageError) return [];
    throw error;
  }
}

/** A graph with the parameters that it does not read but its model declares. */
export interface WholeModel {
  readonly graph: Graph;
  /** Paths of the added parameters. */
  readonly added: ReadonlySet<string>;
  /** Paths of parameters that a checkpoint layout of the model, if it has any, has no rule for: they are not added. */
  readonly unknown: readonly string[];
}

/** The graph with all parameters of its model that can be written wherever the graph's own can. */
export function wholeModel(graph: Graph, model: Model | undefined, config: Config | undefined): WholeModel {
  const own = new Set(graph.inputs.filter(isParameter).map(inputName));
  const declared = model && config ? graphsOf(model).flatMap((name) => declaredParameters(model, config, name)) : [];
  const byPath = new Map(declared.toReversed().map((node) => [inputName(node), node])); // the first graph's
  const others = [...byPath.values()].toReversed().filter((node) => !own.has(inputName(node)));
  const inputs = [...graph.inputs, ...others];
  const layouts = (model?.checkpoints?.layouts ?? []).filter((rules) => withoutRule(rules, graph).length === 0);
  const unknown = new Set(layouts.flatMap((rules) => withoutRule(rules, { inputs })));
  const added = others.filter((node) => !unknown.has(inputName(node)));
  return {
    graph: makeGraph(graph.name, graph.outputs, [...graph.inputs, ...added], graph.updates),
    added: new Set(added.map(inputName)),
    unknown: [...unknown],
  };
}
