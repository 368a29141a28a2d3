/** What scripts/reference/stages.py recorded of a stage, and the same stage here, with the same weights and batches. */
import { readFileSync } from "node:fs";
import {
  type Distribution,
  elementCount,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  isFeed,
  type Node,
  type Precision,
  type SizedAxis,
  type Sizes,
  sourceOf,
} from "../../compiler/index.ts";
import {
  type CheckpointPlace,
  configure,
  knownPlaces,
  type Recipe,
  type Stage,
  trainingStep,
} from "../../dsl/index.ts";
import { bundledModels, familyRules } from "../../models/index.ts";
import type { TrainingJob } from "../../runtime/index.ts";
import { type Digest, fed, permuted } from "../models/support.ts";
import { spread, uniformly } from "./numbers.ts";

type Nested = readonly (number | Nested)[];

export interface Recorded {
  readonly stage: string;
  readonly seed: number;
  readonly model: string;
  /** What differs from the published configuration. */
  readonly config: object;
  readonly given: Readonly<Record<string, number | string>> & { readonly batch: number };
  /** Of every tensor, by its published name: base and width of its numbers. */
  readonly weights: Readonly<Record<string, readonly [number, number]>>;
  /** Integers of every batch; batches take turns. */
  readonly inputs: readonly Readonly<Record<string, Nested>>[];
  /** Figures of every step: `loss`, its parts, `rate`, `gradient_norm`. */
  readonly steps: Readonly<Record<string, readonly number[]>> & { readonly loss: readonly number[] };
  /**
   * Digests, by published name: gradients of the first step; then trained tensors and running statistics after all
   * steps.
   */
  readonly gradients: Readonly<Record<string, Digest>>;
  readonly after: Readonly<Record<string, Digest>>;
  readonly kept: Readonly<Record<string, Digest>>;
  /** How far PyTorch's own float32 is from its float64, relative. */
  readonly float32: Readonly<Record<"figures" | "norm" | "after" | "kept", number>>;
}

export const readRecorded = (path: string): Recorded => JSON.parse(readFileSync(path, "utf8")) as Recorded;

const stageNames: Readonly<Record<string, string>> = { "3a": "3", "3b": "3" };

/** The recipe of the bundled model at the recorded configuration. */
export function recipeOf({ model: name, config, given, stage }: Recorded): Recipe {
  const model = bundledModels.find((m) => m.name === name);
  if (!model) throw new Error(`no bundled model is named ${name}`);
  const of = stage.replace(/^3[ab]/, (path) => stageNames[path]!);
  const make = model.stages?.[of];
  if (!make) throw new Error(`${name} has no stage ${of}`);
  return make(configure(model as never, config as never) as never, given) as Recipe;
}

/** Where every parameter of a step lies in checkpoints; running statistics lie there under their own names. */
export const placesOf = (nodes: readonly Node[]): Map<string, CheckpointPlace> =>
  new Map(knownPlaces(nodes, familyRules).map(([place]) => [place!.parameter, place!]));

/** A job of the recorded stage, whose weights are the recorded ones. */
export function jobOf(recorded: Recorded, precision: Precision = "f32") {
  const recipe = recipeOf(recorded);
  const stage: Stage = { ...recipe.stage, precision };
  const step = trainingStep(stage);
  const nodes = [...step.trained, ...step.frozen];
  const places = placesOf(nodes);
  const byName = new Map(nodes.map((n) => [inputName(n), n]));
  const initial = async (name: string): Promise<HostTensor | undefined> => {
    const node = byName.get(name);
    const kept = step.kept.find((k) => k.name === name);
    const published = places.get(name)?.name ?? name;
    const range = recorded.weights[published];
    if (!range) throw new Error(`PyTorch has no tensor ${published}`);
    const axes = (node ?? kept)!.type.axes as readonly SizedAxis[];
    const values = spread(`${recorded.seed}/weights/${published}`, elementCount(axes), ...range);
    const order = places.get(name)?.order ?? axes.map((a) => a.name);
    const stored = order.map((axis) => axes.find((a) => a.name === axis)!);
    return permuted(
      hostTensor("f32", stored, values),
      axes.map((a) => a.name),
    );
  };
  const sizes: Sizes = { batch: recorded.given.batch };
  const job: Pick<TrainingJob, "step" | "initial" | "seed" | "sizes"> = { step, initial, seed: 0, sizes };
  return { job: job as TrainingJob, stage, step, places, byName };
}

/** What a graph of the stage is fed in step `t`: the recorded batch, and random numbers as PyTorch had them. */
export function feedsAt({ seed, inputs, given }: Recorded, graph: Graph, t: number): Record<string, HostTensor> {
  const which = t % inputs.length;
  const feed = (node: Node): HostTensor => {
    const name = inputName(node);
    const axes = node.type.axes.map((a): SizedAxis => ({ name: a.name, size: sizeOf(a.size, given.batch) }));
    const count = elementCount(axes);
    if (sourceOf(node) === "random") {
      const { kind, p } = node.attrs.dist as unknown as Distribution & { readonly p?: number };
      const draws = uniformly(`${seed}/${name}/${t}`, count);
      return hostTensor("f32", axes, kind === "bernoulli" ? draws.map((u) => Number(u < p!)) : draws);
    }
    if (name === "pixels") return hostTensor("f32", axes, spread(`${seed}/pixels/${which}`, count, 0, 1.7));
    const values = inputs[which]![name];
    if (!values) throw new Error(`PyTorch was fed no ${name}`);
    return fed(node, hostTensor("i32", axes, (values as number[]).flat(Number.POSITIVE_INFINITY) as number[]));
  };
  const fedNodes = graph.inputs.filter((n) => sourceOf(n) === "random" || isFeed(n));
  return Object.fromEntries(fedNodes.map((n) => [inputName(n), feed(n)]));
}

const sizeOf = (size: unknown, batch: number): number => (typeof size === "number" ? size : batch);
