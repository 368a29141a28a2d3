/**
 * Fifty steps in f16, kernel by kernel in the interpreter with halves in memory, beside the same steps by the
 * reference. Stated bounds, as parts of the first loss: 0.1 % for a classifier, and 3 % for a contrastive model, whose
 * logits are 14 and more times a product of factors that f16 rounds, as they are in other mixed precision. The same
 * steps of the contrastive model were run on lavapipe, which has f16.
 */
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type Distribution,
  elementsOf,
  type Graph,
  inputName,
  isState,
  type Precision,
  runProgram,
  sourceOf,
} from "../../compiler/index.ts";
import {
  axis,
  cosine,
  crossEntropy,
  defineStage,
  input,
  type LossResult,
  linear,
  mean,
  type Params,
  trainingStep,
} from "../../dsl/index.ts";
import { type ContrastiveConfig, stageOneLoss } from "../../models/index.ts";
import { fillRandom } from "../../runtime/random/streams.ts";
import { initialValue } from "../../runtime/training/state.ts";
import { tinyBatch, tinyConfig, tinyFeeds } from "../support/tiny-job.ts";
import { encoder } from "./models.ts";

const facts = { ...baselineFacts, maxBindings: 10, software: true, features: new Set(["f16"] as const) };

type Feeds = Readonly<Record<string, ArrayLike<number>>>;

interface Case {
  /** How far losses may be apart, relative to the first. */
  readonly bound: number;
  /** The highest learning rate: at 3e-3 the contrastive model's losses jump, and rounding decides how far. */
  readonly rate: number;
  readonly loss: (p: Params) => LossResult;
  readonly sizes: Readonly<Record<string, number>>;
  readonly feeds: (step: number) => Feeds;
}

const vit = { batch: 3, tokens: 5, width: 6, heads: 2, mlp: 9, depth: 1 };

const cases: Readonly<Record<string, Case>> = {
  "a small ViT": {
    bound: 1e-3,
    rate: 3e-3,
    loss: (p) => {
      const [kind, batch] = [axis("class", 4), axis("batch", vit.batch)];
      const pooled = mean(encoder(p, vit), axis("token", vit.tokens));
      const logits = linear(p.scope("head"), pooled, [axis("embed", vit.width)], [kind]);
      return { loss: mean(crossEntropy(logits, input("label", "i32", [batch]), kind), batch) };
    },
    sizes: {},
    feeds: (step) => ({
      x: fillRandom({ kind: "normal", mean: 0, std: 1 }, [vit.batch, vit.tokens, vit.width], 5, "x", step % 2),
      label: [0, 1, 2].map((i) => (i + step) % 2),
    }),
  },
  "a small contrastive model": {
    bound: 0.01,
    rate: 1e-3,
    loss: (p) => ({ loss: stageOneLoss(p, small).loss }),
    sizes: { batch: tinyBatch },
    feeds: (step) =>
      Object.fromEntries(Object.entries(tinyFeeds(step % 2)).map(([name, t]) => [name, t.data as ArrayLike<number>])),
  },
};

const small: ContrastiveConfig = {
  ...tinyConfig,
  vision: { ...tinyConfig.vision, width: 6, depth: 1, mlp: 7 },
  text: { ...tinyConfig.text, width: 6, depth: 1, mlp: 7 },
  embed: 5,
};

interface Figures {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly skipped: readonly number[];
}

/** One step: values of outputs, and of states after it. */
type Run = (inputs: ReadonlyMap<string, ArrayLike<number>>) => {
  readonly outputs: (name: string) => ArrayLike<number>;
  readonly after: (name: string) => ArrayLike<number>;
};

function kernelRun(graph: Graph): Run {
  const program = compileKernels(graph, facts, { precision: "f16" });
  return (inputs) => {
    const run = runProgram(program, inputs);
    return { outputs: (name) => run.outputs.get(name)!, after: (name) => run.inputs.get(name)! };
  };
}

function referenceRun(graph: Graph): Run {
  const successors = new Map(Object.entries(graph.updates).map(([output, state]) => [state, output]));
  return (inputs) => {
    const values = new Map([...inputs].map(([name, data]) => [name, Float64Array.from(data)]));
    const results = evaluate(graph, values);
    const outputs = (name: string) => results.get(name)!.data;
    const after = (name: string) => (successors.has(name) ? outputs(successors.get(name)!) : values.get(name)!);
    return { outputs, after };
  };
}

/** What a run of so many steps says; everything else is the same for both precisions. */
function trained(
  { rate, loss, sizes, feeds }: Case,
  precision: Precision,
  steps: number,
  { lossScale, startScale }: { readonly lossScale?: number; readonly startScale?: number } = {},
): Figures {
  const step = trainingStep(
    defineStage({
      name: "small",
      precision,
      ...(lossScale !== undefined && { lossScale }),
      loss,
      optimizer: { rate: cosine({ peak: rate, steps: 50, warmup: 5 }), weightDecay: 0.1, clip: 1 },
    }),
  );
  const graph = bindSizes(step.graph, sizes);
  const run = precision === "f16" ? kernelRun(graph) : referenceRun(graph);
  const initial = new Map(step.trained.map((n) => [inputName(n), initialValue(n, 3).data]));
  const held = new Map<string, ArrayLike<number>>();
  for (const { layout, parameters } of step.arenas) {
    const values = new Float32Array(layout.size);
    for (const e of layout.entries) values.set(initial.get(e.name) as Float32Array, e.offset);
    held.set(parameters, values);
  }
  if (step.lossScale) held.set(step.lossScale.state, [startScale ?? step.lossScale.initial]);
  const adapts = step.lossScale?.goodSteps !== undefined;
  const states = graph.inputs.filter(isState).map(inputName);
  for (const n of graph.inputs.filter(isState))
    if (!held.has(inputName(n))) held.set(inputName(n), new Float32Array(Number(elementsOf(n.type))));
  const figures = { losses: [] as number[], norms: [] as number[], skipped: [] as number[] };
  for (let i = 0; i < steps; i++) {
    const inputs = new Map([...held, ...Object.entries(feeds(i))]);
    for (const n of graph.inputs.filter((n) => sourceOf(n) === "random")) {
      const shape = n.type.axes.map((a) => Number(a.size));
      inputs.set(inputName(n), fillRandom(n.attrs.dist as unknown as Distribution, shape, 3, inputName(n), i));
    }
    const { outputs, after } = run(inputs);
    for (const name of states) held.set(name, after(name));
    figures.losses.push(outputs("loss")[0]!);
    figures.norms.push(outputs("gradient_norm")[0]!);
    figures.skipped.push(adapts ? outputs("skipped")[0]! : 0);
  }
  return figures;
}

describe.each(Object.entries(cases))("%s", (_, model) => {
  test("trains in f16 as it does without rounding", () => {
    const [wide, half] = [trained(model, "f32", 50), trained(model, "f16", 50)];
    const first = wide.losses[0]!;
    const off = half.losses.map((loss, i) => Math.abs(loss - wide.losses[i]!));
    expect(wide.losses.at(-1)!).toBeLessThan(0.7 * first); // there was something to learn
    expect(Math.max(...off)).toBeLessThan(model.bound * first);
    expect(half.losses).not.toEqual(wide.losses); // it was computed in f16
    expect(Math.abs(half.norms[0]! / wide.norms[0]! - 1)).toBeLessThan(5e-3);
  });

  test("skips steps whose gradient overflows until the scale is small enough, and then trains", () => {
    const { losses, norms, skipped } = trained(model, "f16", 14, { startScale: 2 ** 24 });
    const first = skipped.indexOf(0);
    expect(first).toBeGreaterThan(0);
    expect(skipped).toEqual(skipped.map((_, i) => (i < first ? 1 : 0)));
    expect(norms.map(Number.isFinite)).toEqual(skipped.map((s) => s === 0));
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(losses.at(-1)!).toBeLessThan(losses[0]!);
  });

  test("has a gradient that is not finite, and shows it, when the scale is too large", () => {
    const { losses, norms } = trained(model, "f16", 1, { lossScale: 2 ** 24 });
    expect(losses[0]).toBeCloseTo(trained(model, "f32", 1).losses[0]!, 1);
    expect(Number.isFinite(norms[0])).toBe(false);
  });
});
