/** Parameter values for commands that need them: from a file if given, else randomly initialized. */
import { type Graph, inputName, isParameter, UsageError } from "../compiler/index.ts";
import { type CheckpointPlace, checkpointLayout, faultIn, type Model, withoutRule } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { drawnWeights, openWeights, type Weights } from "../runtime/index.ts";

export interface ParameterSource extends Weights {
  /** The source of the values, as a message. */
  readonly origin: string;
}

/** The rule of a parameter whose tensor has its name and axis order. */
function ruleFor(graph: Graph, name: string): string {
  const { type } = graph.inputs.find((n) => isParameter(n) && inputName(n) === name)!;
  return `add same("${name}", "${type.axes.map((a) => a.name).join(" ")}"), or the name of its tensor and the order of its axes`;
}

/** Maximum parameters that an error names; the rest are counted. */
const mostShown = 5;

/**
 * How third-party checkpoints store the parameters of a graph, in each layout that its model knows; for a bare graph,
 * in those of all bundled models. Throws UsageError if the model's layouts miss parameters.
 */
export function layoutsOf(graph: Graph, model: Model | undefined): CheckpointPlace[][] {
  const known = (model ? [model] : bundledModels).flatMap((m) => m.checkpoints?.layouts ?? []);
  const lacking = known.map((rules) => withoutRule(rules, graph));
  const whole = known.filter((_, i) => lacking[i]!.length === 0);
  if (model && known.length > 0 && whole.length === 0) {
    const fewest = lacking.reduce((a, b) => (b.length < a.length ? b : a));
    const more = fewest.length > mostShown ? ` and ${fewest.length - mostShown} more` : "";
    throw faultIn(
      known[lacking.indexOf(fewest)]!,
      `the checkpoint layout of "${model.name}" has no rule for ${fewest.slice(0, mostShown).join(", ")}${more}\n  hint: ${ruleFor(graph, fewest[0]!)}`,
    );
  }
  if (model) return whole.map((rules) => checkpointLayout(graph, rules));
  return whole.flatMap((rules) => unlessOfOthers(() => [checkpointLayout(graph, rules)]));
}

/** A bare graph may have names that mean something else in another model's layout. */
function unlessOfOthers(layouts: () => CheckpointPlace[][]): CheckpointPlace[][] {
  try {
    return layouts();
  } catch (error) {
    if (error instanceof UsageError) return [];
    throw error;
  }
}

/**
 * Opens `file` as the graph's weights; without one, its `own`, or else random initial values for `seed`. `optional`
 * parameters may be missing in the file.
 */
export async function openParameters(
  graph: Graph,
  model: Model | undefined,
  file: string | undefined,
  seed: number,
  own?: ParameterSource,
  optional: ReadonlySet<string> = new Set(),
): Promise<ParameterSource> {
  if (file !== undefined)
    return { ...(await openWeights(file, graph, layoutsOf(graph, model), { optional })), origin: file };
  if (own) return own;
  const origin = `random values from the initializers, seed ${seed} (give --weights for trained ones)`;
  return { ...drawnWeights(graph, seed), origin };
}
