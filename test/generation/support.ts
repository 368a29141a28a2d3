/** A tiny LLaMA with PyTorch's weights, as a decoder with a cache. */
import type { Backend } from "../../backends/backend.ts";
import { type Graph, type HostTensor, UsageError } from "../../compiler/index.ts";
import { defineModel, type TokenRules, trace } from "../../dsl/index.ts";
import { causalRules, decodeStep, type TextConfig } from "../../models/index.ts";
import {
  type CachedSession,
  cachedSession,
  deviceModel,
  type GenerateOptions,
  type ParameterSource,
} from "../../runtime/index.ts";
import { loadFixture, weightsOf } from "../models/support.ts";

export interface Case {
  readonly prompts: readonly (readonly number[])[];
  readonly eos: readonly number[];
  readonly min?: number;
  readonly max: number;
  readonly beams?: number;
  readonly penalty?: number;
  readonly early?: boolean | "never";
  readonly rules?: TokenRules;
  readonly written: readonly (readonly number[])[];
}

/** How a case is written. */
export const optionsOf = ({ eos, min, max, beams, penalty, early, rules }: Case): GenerateOptions => ({
  strategy:
    beams === undefined
      ? { kind: "greedy" }
      : {
          kind: "beam",
          beams,
          ...(penalty !== undefined && { lengthPenalty: penalty }),
          ...(early !== undefined && { earlyStopping: early }),
        },
  eos,
  maxNewTokens: max,
  ...(min !== undefined && { minNewTokens: min }),
  ...(rules && { rules }),
});

export interface GenerationFacts {
  readonly text: TextConfig;
  readonly greedy: readonly Case[];
  readonly beam: readonly Case[];
  readonly kept: readonly {
    readonly temperature?: number;
    readonly topK?: number;
    readonly topP?: number;
    readonly minP?: number;
    readonly typicalP?: number;
    readonly epsilonCutoff?: number;
    readonly etaCutoff?: number;
  }[];
}

export const generationFixture = await loadFixture<GenerationFacts>("generation");

export const stepGraph: Graph = trace(
  defineModel({
    name: "llama-step",
    summary: "",
    config: generationFixture.facts.text,
    build: (p, c) => decodeStep(p, c),
  }),
);

export const weights = weightsOf(generationFixture, stepGraph, causalRules);

export const parametersOf = (values: ReadonlyMap<string, HostTensor>): ParameterSource => ({
  read: async (name) => {
    const found = values.get(name);
    if (found) return found;
    throw new UsageError(`there is no parameter ${name}`);
  },
});

/** A session of so many rows on a backend. */
export const sessionOn = (backend: Backend, rows: number, capacity?: number): CachedSession =>
  cachedSession(deviceModel(backend, parametersOf(weights)), stepGraph, { rows, ...(capacity && { capacity }) });

/** Counts what a backend compiles, by graph name. */
export function counting(backend: Backend): { readonly backend: Backend; readonly compiled: readonly string[] } {
  const compiled: string[] = [];
  const counted: Backend = {
    ...backend,
    compile: (graph, options) => {
      compiled.push(graph.name);
      return backend.compile(graph, options);
    },
  };
  return { backend: counted, compiled };
}
