/**
 * Interpreted kernels for adapters whose facts are recorded: in f32 and in f16, with the tables' preferred schedules or
 * random ones that a tuner may choose. Every stage is checked, and every kernel against the adapter's capabilities.
 */
import {
  type AdapterFacts,
  baselineFacts,
  compileKernels,
  type Graph,
  kernelIr,
  lowering,
  type Precision,
  type Program,
} from "../../compiler/index.ts";
import { type Choose, seededChooser } from "../support/random-graph.ts";
import { type Compiled, type Executor, interpretersOf } from "./executors.ts";

/** By name: the recorded adapters, and WebGPU's guaranteed limits, with f16 added so that all can compute in it. */
const adapters: Readonly<Record<string, kernelIr.KernelFacts>> = Object.fromEntries(
  [
    ...Object.entries<kernelIr.RecordedAdapter>(kernelIr.recordedAdapters),
    ["guaranteed", { facts: kernelIr.guaranteedFacts }] as const,
  ].map(([name, { facts }]) => [name, { ...facts, features: new Set([...facts.features, "f16" as const]) }]),
);

export interface RecordedOptions {
  /** Draws schedules and settings by this seed; without it, those that the tables prefer. */
  readonly draw?: number;
  /** An extra check of every program, beside its results. */
  readonly inspect?: (program: Program) => Promise<void>;
}

/** A seed's executors: a fifth of all, so that more graphs are run; every other seed draws its schedules. */
export const recordedFor = (seed: number, inspect?: RecordedOptions["inspect"]): readonly Executor[] =>
  recordedExecutors({ ...(seed % 2 === 1 && { draw: seed }), ...(inspect && { inspect }) }).filter(
    (_, i) => (i + seed) % 5 === 0,
  );

/** Both precisions, with sizes known and symbolic, for every adapter. */
export const recordedExecutors = (options: RecordedOptions = {}): readonly Executor[] =>
  Object.entries(adapters).flatMap(([name, recorded]) => {
    const facts: AdapterFacts = { ...baselineFacts, ...recorded };
    const drawn = options.draw === undefined ? "" : `, schedules drawn by ${options.draw}`;
    return (["f32", "f16"] as const).flatMap((precision) =>
      interpretersOf(`${name}${drawn}, ${precision}`, facts, (graph) => compiled(graph, facts, precision, options)),
    );
  });

async function compiled(
  graph: Graph,
  facts: AdapterFacts,
  precision: Precision,
  { draw, inspect }: RecordedOptions,
): Promise<Compiled> {
  const schedules = draw === undefined ? lowering.scheduleTables : drawnTables(draw, facts);
  const program = compileKernels(graph, facts, { precision, schedules, check: "all" });
  await inspect?.(program);
  return { program, ...(precision === "f16" && { computed: program.graph }) };
}

/** Settings drawn of one schedule, each becoming a schedule of its own. */
const drawnOfEach = 3;

/** The tables, preceded by schedules of one setting each in random order: the first that fits is taken. */
export function drawnTables(seed: number, facts: AdapterFacts): lowering.ScheduleTables {
  const choose = seededChooser(seed);
  const { contraction, attention, row_reduction, elementwise, indexing } = lowering.scheduleTables;
  return {
    contraction: drawnTable(contraction, facts, choose),
    attention: drawnTable(attention, facts, choose),
    row_reduction: drawnTable(row_reduction, facts, choose),
    elementwise: drawnTable(elementwise, facts, choose),
    indexing: drawnTable(indexing, facts, choose),
  };
}

function drawnTable<T extends { readonly schedules: readonly lowering.Schedule<never>[] }>(
  table: T,
  facts: AdapterFacts,
  choose: Choose,
): T {
  const single = table.schedules.flatMap((schedule) => {
    const all = schedule.settings(facts);
    if (typeof all === "string") return [];
    return Array.from({ length: Math.min(drawnOfEach, all.length) }, () => {
      const one = all[choose(all.length)]!;
      return { ...schedule, settings: () => [one] };
    });
  });
  const order = single.map(() => choose(1_000_000));
  const shuffled = [...single.keys()].sort((a, b) => order[a]! - order[b]!).map((i) => single[i]!);
  return { ...table, schedules: [...shuffled, ...table.schedules] };
}
