/**
 * The plan of a data-parallel step: its graphs as ranks run them, whole or cut by `--shard`, compiled up to scheduling.
 */
import {
  type AdapterFacts,
  bindSizes,
  dimValue,
  dtypeBytes,
  elementsOf,
  type Graph,
  halvesInMemory,
  isParameter,
  type MemoryByKind,
  type Node,
  type PlannedProgram,
  type Precision,
  planKernels,
  precisionPath,
  type Sizes,
} from "../../compiler/index.ts";
import { stepMemory } from "../../dsl/index.ts";
import {
  cutGraph,
  handedOn,
  isHandedOn,
  partsOptions,
  type Shard,
  sharedStep,
  stepParts,
  usualPartBytes,
} from "../../runtime/index.ts";
import { ofEachGraph, type StepGraphs } from "../stage-figures.ts";
import { samples, type TrainingSubject } from "../training-subject.ts";

type Step = TrainingSubject["step"];
type Divided = NonNullable<NonNullable<NonNullable<NonNullable<Step["accumulation"]>["shared"]>["shard"]>["divided"]>;

export interface SharingDevices {
  /** What each keeps its part of; nothing where it is not given. */
  readonly shard?: Shard | undefined;
  readonly count: number;
}

/** Programs that run in sequence, as one. */
type Planned = Pick<PlannedProgram, "kernels" | "copied" | "largestBinding"> & {
  readonly bound: readonly PlannedProgram["bound"][];
  /** Bytes of weights read by all parts, and by the part that reads most. */
  readonly weights: { readonly all: number; readonly most: number };
};

export interface SharedPlan {
  readonly memory: MemoryByKind;
  readonly programs: StepGraphs<Planned>;
  /** Host memory in bytes for a device's shards of weights and gradient sums. */
  readonly host: number;
}

/** The step of the first device. Throws UsageError for a step that devices cannot share. */
export function firstDevicesStep({ step }: TrainingSubject, { shard, count }: SharingDevices): Step {
  const own = { first: 0, count: step.accumulation?.count ?? 1 };
  return sharedStep(step, { rank: 0, size: count, shard }, { count: count * own.count, own });
}

/** Plans the step of `firstDevicesStep` for a micro-batch size. */
export function planShared(
  step: Step,
  sizes: Sizes,
  batch: number,
  facts: AdapterFacts,
  memory: number | undefined,
  { count }: SharingDevices,
): SharedPlan {
  const bound = { ...sizes, [samples]: batch };
  const divided = step.accumulation?.shared?.shard?.divided;
  const places = handedOn();
  const isHalf = (precision: Precision) => precisionPath(facts, { precision }).computes === "f16";
  const programs = ofEachGraph<Planned>(step, (graph, precision, made) => {
    const graphs =
      divided && hasWeights(graph)
        ? partsOf(graph, step, bound, divided, places, isHalf(precision))
        : [bindSizes(graph, bound)];
    const beside = made.flatMap((p) => p.bound);
    return planInOrder(graphs, facts, { precision, memory, beside }, divided);
  });
  const all = Object.values<Planned>(programs);
  const kinds = memoryByKind(step, all, bound, divided);
  const trained = step.arenas.reduce((n, a) => n + 4 * a.layout.size, 0);
  const frozen = kinds[wholeKind] === undefined ? 0 : frozenBytes(step, all);
  const host = divided ? (trained + (divided.what === "weights" ? trained + frozen : 0)) / count : 0;
  // Only the weights of one part are on the device at a time.
  const most = Math.max(...all.map((p) => p.weights.most));
  return { memory: kinds[wholeKind] === undefined ? kinds : { ...kinds, [wholeKind]: most }, programs, host };
}

/** Plans the parts of a graph, each beside those before it. */
function planInOrder(
  graphs: readonly Graph[],
  facts: AdapterFacts,
  { beside, ...options }: NonNullable<Parameters<typeof planKernels>[2]> & { readonly beside: Planned["bound"] },
  divided: Divided | undefined,
): Planned {
  const planned: PlannedProgram[] = [];
  for (const one of graphs)
    planned.push(planKernels(one, facts, { ...options, beside: [...beside, ...planned.map((p) => p.bound)] }));
  const weights = divided?.what === "weights" ? graphs.map(weightBytes) : [];
  return {
    kernels: planned.flatMap((p) => p.kernels),
    copied: planned.reduce((n, p) => n + p.copied, 0),
    largestBinding: Math.max(...planned.map((p) => p.largestBinding)),
    bound: planned.map((p) => p.bound),
    weights: { all: weights.reduce((a, b) => a + b, 0), most: Math.max(0, ...weights) },
  };
}

/** Bytes of a step by kind, of which some exist only where its state is sharded. */
function memoryByKind(step: Step, programs: readonly Planned[], sizes: Sizes, divided: Divided | undefined) {
  const kindOf = (name: string): string | undefined => {
    if (isHandedOn(name)) return "handed on between parts";
    if (name.startsWith("train.shard.average")) return "averages";
    if (name.startsWith("train.shard.gradients")) return "gradients of a device's ranges";
    return divided?.what === "weights" && !name.startsWith("train.") ? wholeKind : undefined;
  };
  return stepMemory(
    step,
    programs.flatMap((p) => p.bound),
    sizes,
    kindOf,
  );
}

const wholeKind = "weights of a part";

const hasWeights = (graph: Graph): boolean => graph.inputs.some(isParameter);

const bytesOf = (node: Node): number => dimValue(elementsOf(node.type), {}) * dtypeBytes[node.type.dtype];

const weightBytes = (graph: Graph): number => graph.inputs.filter(isParameter).reduce((n, p) => n + bytesOf(p), 0);

/** Bytes of frozen weights as stored, each counted once. */
function frozenBytes(step: Step, programs: readonly Planned[]): number {
  const trained = new Set(step.trained.map((n) => String(n.attrs.name)));
  const read = programs.flatMap((p) => p.bound.flatMap((b) => b.graph.inputs.filter(isParameter)));
  const frozen = new Map(read.map((n) => [String(n.attrs.name), n]));
  return [...frozen].reduce((n, [name, node]) => n + (trained.has(name) ? 0 : bytesOf(node)), 0);
}

const partsOf = (
  graph: Graph,
  step: Step,
  sizes: Sizes,
  divided: Divided,
  places: ReturnType<typeof handedOn>,
  isHalf: boolean,
): readonly Graph[] => {
  const cut = cutGraph(graph, usualPartBytes, sizes, divided.given);
  const options = { ...partsOptions(divided), ...(isHalf && { halves: halvesInMemory(cut.whole) }) };
  return stepParts(cut, step, sizes, places, options).map((p) => p.graph);
};
