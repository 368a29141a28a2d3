/** The autotuner's search space: each kernel shape of a graph with every schedule and settings that can lower it. */
import { runStages } from "../driver/index.ts";
import { kernelName } from "../fusion/index.ts";
import type { Sizes } from "../ir/dim.ts";
import { bindSizes, type Graph } from "../ir/graph.ts";
import {
  type AdapterFacts,
  type Alternatives,
  alternativesOf,
  holds,
  markOfShape,
  onlyKernel,
  type Program,
  type ScheduledPlan,
  type Settings,
} from "../lowering/index.ts";
import {
  type KernelOptions,
  loweringStages,
  type PlanningOptions,
  planningStages,
  programForm,
  scheduleForm,
} from "./webgpu.ts";

/** One way to lower a kernel. */
export interface Candidate {
  readonly schedule: string;
  readonly settings: Settings;
  /** Compiles only this kernel, as a program that otherwise is that of the whole graph. */
  readonly compile: () => Program;
}

/** Kernels of one shape. */
export interface TunableKernel {
  /** The key of the shape in `Findings`. */
  readonly mark: string;
  /** The key of the same kernel if the sizes are fixed; undefined if that graph has no such kernel. */
  readonly fixedMark: string | undefined;
  readonly count: number;
  /** The current choice at the given sizes. */
  readonly taken: Candidate;
  /** The choice by the order of the schedule table, without findings. */
  readonly byTable: Pick<Candidate, "schedule" | "settings">;
  /** All choices that are valid at these sizes, including `taken`. */
  readonly candidates: readonly Candidate[];
}

/** The kernel shapes of a graph with the candidates to time for each. `sizes` gives values to symbolic sizes. */
export function tunableKernels(
  graph: Graph,
  facts: AdapterFacts,
  sizes: Sizes,
  { schedules, precision, findings, ...options }: KernelOptions = {},
): TunableKernel[] {
  const plain = { schedules, precision };
  const plan = runStages(graph, planningStages(facts, { ...plain, findings }), scheduleForm, options);
  const unfound = findings ? runStages(graph, planningStages(facts, plain), scheduleForm, options) : plan;
  const fixed = fixedMarks(bindSizes(graph, sizes), facts, plain);
  return alternativesOf(plan).map((all) => {
    const candidateOf = (choice: Alternatives["candidates"][number]): Candidate => ({
      schedule: choice.schedule.name,
      settings: choice.settings,
      compile: () => lowered(onlyKernel(plan, all.kernel, choice)),
    });
    const taken = (choices: Alternatives["candidates"]) => choices.find((c) => holds(c.assuming, sizes))!;
    const byTable = taken(unfound.choices.get(all.kernel.shape.key)!.choices);
    return {
      mark: all.mark,
      fixedMark: fixed.get(kernelName(all.kernel.fused)),
      count: all.count,
      taken: candidateOf(taken(all.choices.choices)),
      byTable: { schedule: byTable.schedule.name, settings: byTable.settings },
      candidates: all.candidates.filter((c) => holds(c.assuming, sizes)).map(candidateOf),
    };
  });
}

/** Shape keys of a graph's kernels by kernel name. */
function fixedMarks(graph: Graph, facts: AdapterFacts, options: PlanningOptions): Map<string, string> {
  const { shaped } = runStages(graph, planningStages(facts, options), scheduleForm);
  return new Map(shaped.map(({ fused, shape }) => [kernelName(fused), markOfShape(shape.key)]));
}

const lowered = (plan: ScheduledPlan): Program => runStages(plan, loweringStages(plan.facts), programForm);
