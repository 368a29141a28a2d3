/** Figures of a training step: parameters, what is trained, how, and the operations of an update. */
import {
  countParameters,
  countStepOperations,
  type Graph,
  inputName,
  type Operations,
  type Precision,
  type Sizes,
  type StepOperations,
} from "../compiler/index.ts";
import { digits, short } from "./output.ts";
import type { TrainingSubject } from "./training-subject.ts";

type Step = TrainingSubject["step"];
type Row = readonly [string, string];

export interface ParameterFigures {
  /** Elements of all parameters of the model. */
  readonly all: number;
  readonly tensors: number;
  /** Buffer elements, which are stored but not trained. */
  readonly buffers: number;
  readonly byGroup: Readonly<Record<string, number>>;
  readonly trained: number;
  readonly trainedTensors: number;
}

/** Counts the model's parameters if it is known; else those that the step reads, without low-rank updates. */
export function parameterFigures({ step, model }: Pick<TrainingSubject, "step" | "model">): ParameterFigures {
  const added = new Set((step.adapters ?? []).flatMap(({ down, up }) => [down, up]));
  const read = { inputs: [...step.trained, ...step.frozen].filter((n) => !added.has(inputName(n))) };
  const { parameters: all, tensors, buffers, byGroup } = countParameters(model ?? read);
  const trained = countParameters({ inputs: step.trained });
  return { all, tensors, buffers, byGroup, trained: trained.parameters, trainedTensors: trained.tensors };
}

/** A stage's training settings, as far as its step shows them. */
export interface StageSettings {
  readonly rule: string;
  readonly precision: Precision;
  /** Micro-batches per update. */
  readonly accumulate: number;
  /** Weights with low-rank updates. */
  readonly lora: number;
  /** Whether a moving average of the weights is kept. */
  readonly ema: boolean;
}

export const stageSettings = ({ rule, precision, accumulation, adapters, arenas }: Step): StageSettings => ({
  rule: rule.name,
  precision,
  accumulate: accumulation?.count ?? 1,
  lora: adapters?.length ?? 0,
  ema: arenas.some((a) => a.average !== undefined),
});

/** "adamw, f16, 8 micro-batches, low-rank updates of 12 weights, an average of the weights" */
export function printSettings({ rule, precision, accumulate, lora, ema }: StageSettings): string {
  const parts = [
    rule,
    precision,
    accumulate > 1 && `${accumulate} micro-batches`,
    lora > 0 && `LoRA on ${lora} weights`,
    ema && "EMA of the weights",
  ];
  return parts.filter((part) => part !== false).join(", ");
}

/**
 * The graphs of a step: a single one, or those of a micro-batch, of cached features, of what compares them, at once
 * (`middle`) or in a share for each micro-batch (`shares`), of the update and its sums.
 */
export type StepGraphs<T> = { readonly step: T } & {
  readonly [K in "update" | "terms" | "features" | "middle" | "shares"]?: T;
};

/**
 * Applies a function to each graph of a step, with the earlier results, in the order in which a run compiles them; the
 * optimizer computes in f32 in either precision.
 */
export function ofEachGraph<T>(
  { graph, accumulation, precision }: Step,
  f: (graph: Graph, p: Precision, beside: readonly T[]) => T,
): StepGraphs<T> {
  const cached = accumulation && "cached" in accumulation ? accumulation.cached : undefined;
  const terms = accumulation && "terms" in accumulation ? accumulation.terms : undefined;
  const before: T[] = [];
  const made = (graph: Graph, p: Precision): T => {
    const one = f(graph, p, [...before]);
    before.push(one);
    return one;
  };
  const parts = {
    ...(cached && {
      features: made(cached.features, precision),
      [cached.inShares ? "shares" : "middle"]: made(cached.middle, precision),
    }),
    ...(terms && { terms: made(terms, "f32") }),
    ...(accumulation && { update: made(accumulation.update, "f32") }),
  };
  return { step: made(graph, precision), ...parts };
}

/**
 * Operations of an update of so many micro-batches of these sizes. With cached features, all that follows the features
 * counts as backward: what compares them, and each micro-batch again.
 */
export function updateOperations(step: Step, sizes: Sizes, microBatches: number): StepOperations {
  const parts = ofEachGraph(step, (graph) => countStepOperations(graph, sizes));
  const times = (n: number, { macs, flops }: Operations) => ({ macs: n * macs, flops: n * flops });
  const all = (of: StepOperations | undefined) => total(of ? [of.forward, of.backward, of.update] : []);
  const { forward, backward, update } = parts.step;
  const once = total([all(parts.terms), all(parts.update)]);
  if (parts.features)
    return {
      forward: times(microBatches, all(parts.features)),
      backward: total([times(microBatches, total([all(parts.step), all(parts.shares)])), all(parts.middle)]),
      update: once,
    };
  return {
    forward: times(microBatches, forward),
    backward: times(microBatches, backward),
    update: total([parts.update ? times(microBatches, update) : update, once]),
  };
}

const total = (parts: readonly Operations[]): Operations => ({
  macs: parts.reduce((n, p) => n + p.macs, 0),
  flops: parts.reduce((n, p) => n + p.flops, 0),
});

export const operationRows = ({ forward, backward, update }: StepOperations): readonly Row[] => [
  ["operations of an update", `${short(forward.flops + backward.flops + update.flops)}FLOP`],
  ["  forward", `${short(forward.macs)} multiply-accumulates, ${short(forward.flops)}FLOP`],
  ["  backward", `${short(backward.macs)} multiply-accumulates, ${short(backward.flops)}FLOP`],
  ["  update", `${short(update.flops)}FLOP`],
];

export const parameterRows = (p: ParameterFigures): readonly Row[] => [
  ["parameters", `${digits(p.all)} in ${digits(p.tensors)} tensors`],
  ["  trained", `${digits(p.trained)} in ${digits(p.trainedTensors)} tensors`],
];
