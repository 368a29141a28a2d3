/** The model that the user's module exports, with its graphs and the training steps of its stages. */
import {
  countParameters,
  type Graph,
  graphSymbols,
  inputName,
  isParameter,
  type Node,
  printType,
  UsageError,
} from "../../compiler/index.ts";
import { configure, type Model, modelGraph, type StageSettings, trace, trainingStep } from "../../dsl/index.ts";
import { type Code, runModule } from "./user-module.ts";

/** What to compile: the model itself, another of its graphs, or a training step. */
export type Subject =
  | { readonly kind: "graph"; readonly name?: string }
  | { readonly kind: "stage"; readonly name: string; readonly settings?: StageSettings };

/** A description of a model for the page. */
export interface ModelAbout {
  readonly name: string;
  readonly summary: string;
  readonly parameters: number;
  readonly tensors: readonly { readonly name: string; readonly type: string; readonly elements: number }[];
  readonly byGroup: Readonly<Record<string, number>>;
  readonly graphs: readonly { readonly name: string; readonly summary: string }[];
  readonly stages: readonly StageAbout[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface StageAbout {
  readonly name: string;
  readonly batch: number;
  readonly steps: number;
  readonly rate: number;
}

/** The default export as a model. Throws UsageError when it is not one. */
export async function loadModel(code: Code): Promise<Model> {
  const exported = (await runModule(code)).default;
  const kind = (exported as Partial<Model> | undefined)?.kind;
  if (kind === "heddle.model") return exported as Model;
  throw new UsageError(
    `the module has ${exported === undefined ? "no default export" : "a default export that is not a model"}\n  hint: end it with export default h.defineModel({ name, summary, config, build })`,
  );
}

export function aboutModel(model: Model): ModelAbout {
  const graph = trace(model);
  const { parameters, byGroup } = countParameters(graph);
  const { own, fed } = Object.groupBy(graph.inputs, (node) => (isParameter(node) ? "own" : "fed"));
  return {
    name: model.name,
    summary: model.summary,
    parameters,
    byGroup,
    tensors: (own ?? []).map((node) => ({
      name: inputName(node),
      type: printType(node.type),
      elements: elements(node),
    })),
    graphs: Object.entries(model.graphs ?? {}).map(([name, { summary }]) => ({ name, summary })),
    stages: Object.keys(model.stages ?? {}).map((name) => {
      const { batch, steps, rate } = recipeOf(model, name);
      return { name, batch, steps, rate };
    }),
    inputs: (fed ?? []).map((node) => `${inputName(node)}: ${printType(node.type)}`),
    outputs: graph.outputs.map(({ name, node }) => `${name}: ${printType(node.type)}`),
  };
}

const elements = ({ type }: Node): number => type.axes.reduce((n, a) => n * Number(a.size), 1);

/** A stage of the model with its settings. Throws UsageError when there is none of that name. */
export function recipeOf(model: Model, name: string, settings?: StageSettings) {
  const recipe = model.stages?.[name];
  if (!recipe) throw new UsageError(`${model.name} has no stage "${name}" to train`);
  return recipe(configure(model, {}), settings);
}

/** The graph to compile, and the training step that it belongs to, if any. */
export function graphOf(model: Model, subject: Subject) {
  if (subject.kind === "graph") {
    modelGraph(model, subject.name);
    return { graph: trace(model, {}, subject.name === undefined ? {} : { graph: subject.name }), step: undefined };
  }
  const step = trainingStep(recipeOf(model, subject.name, subject.settings).stage);
  return { graph: step.graph, step };
}

/** Values for a graph's symbolic sizes: the batch, and 1 for all others. */
export const sizesOf = (graph: Graph, batch: number): Record<string, number> =>
  Object.fromEntries(graphSymbols(graph).map((name) => [name, name === "batch" ? batch : 1]));
