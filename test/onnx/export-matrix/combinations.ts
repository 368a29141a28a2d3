/**
 * Every combination of what a bundled model can be exported as: its graphs, dtypes, activations, dialects and opsets.
 */
import {
  type Activations,
  activationTypes,
  type Dialect,
  dialects,
  type ExportOptions,
  exportDtypes,
  opsets,
} from "../../../backends/onnx/options.ts";
import type { TokenRuns } from "../../../cli/sample-feeds.ts";
import { type Graph, nodesOf, printGraph } from "../../../compiler/index.ts";
import { configure, modelGraph, parseSettings, trace } from "../../../dsl/index.ts";
import { bundledModels } from "../../../models/index.ts";
import { randomStream } from "../../../runtime/index.ts";

/** A graph of a bundled model, in its small configuration. */
export interface Subject {
  /** The model, and its graph unless that is the main one: `gpt2`, `gpt2:decode`. */
  readonly name: string;
  readonly graph: Graph;
  readonly runs: TokenRuns;
}

/**
 * The graphs of all models, or of the named ones, each once: many models differ in nothing but the sizes of their
 * published configuration.
 */
export function subjects(models?: readonly string[]): Subject[] {
  const found = new Map<string, Subject>();
  for (const model of bundledModels.filter(({ name }) => models?.includes(name) ?? true)) {
    const config = configure(model, parseSettings(model, ["tiny"]));
    for (const named of [undefined, ...Object.keys(model.graphs ?? {})]) {
      const graph = trace(model, config, named === undefined ? {} : { graph: named });
      const text = printGraph(graph).replace(/^graph @[^(]*/m, "");
      const name = named === undefined ? model.name : `${model.name}:${named}`;
      if (!found.has(text)) found.set(text, { name, graph, runs: modelGraph(model, named).runs?.(config) ?? {} });
    }
  }
  return [...found.values()];
}

export type Form = Required<Pick<ExportOptions, "dtype" | "activations" | "dialect" | "opset">>;

export const nameOf = ({ dtype, activations, dialect, opset }: Form): string =>
  `${dtype}${activations === "int8" ? " with int8 activations" : ""}, ${dialect}, opset ${opset}`;

/** All forms that the options can spell, refused ones included. */
export function forms(): Form[] {
  const all = Array.from({ length: opsets.newest - opsets.oldest + 1 }, (_, i) => opsets.oldest + i);
  return exportDtypes.flatMap((dtype) =>
    activationTypes.flatMap((activations: Activations) =>
      dialects.flatMap((dialect: Dialect) => all.map((opset) => ({ dtype, activations, dialect, opset }))),
    ),
  );
}

export interface Combination {
  readonly subject: Subject;
  readonly form: Form;
}

/**
 * All combinations, in an order in which the first of them are a fair sample: a step through them that is coprime to
 * their number.
 */
export function combinations(chosen: readonly Subject[]): Combination[] {
  const ways = forms();
  const total = chosen.length * ways.length;
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  let step = Math.max(1, Math.round(total * 0.618));
  while (divisor(total, step) !== 1) step += 1;
  return Array.from({ length: total }, (_, i) => {
    const at = (i * step) % total;
    return { subject: chosen[Math.floor(at / ways.length)]!, form: ways[at % ways.length]! };
  });
}

/**
 * `count` of the combinations drawn at random without replacement, a function of the seed. They come in rounds of one
 * for each graph, small graphs first, so that a run that is stopped has tried as many graphs as possible.
 */
export function sampled(all: readonly Combination[], count: number, seed: number): Combination[] {
  const drawn = Map.groupBy(randomStream(seed, "export matrix").shuffle(all), ({ subject }) => subject);
  const bySize = [...drawn].sort(([a], [b]) => nodesOf(a.graph).length - nodesOf(b.graph).length);
  const rounds = Math.max(0, ...bySize.map(([, of]) => of.length));
  const ordered = Array.from({ length: rounds }, (_, round) => bySize.flatMap(([, of]) => of.slice(round, round + 1)));
  return ordered.flat().slice(0, count);
}
