/** What a tuner times: each shape of kernel of a graph in every way in which it may be lowered. */
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
  /** The kernel made in this way, as a program of its own, whose other parts are those of the whole graph. */
  readonly compile: () => Program;
}

/** Kernels of one shape. */
export interface TunableKernel {
  /** Of the shape, as findings name it. */
  readonly mark: string;
  /** Of the same kernel where these sizes are fixed; undefined where it has no like there. */
  readonly fixedMark: string | undefined;
  readonly count: number;
  /** What is taken now at the sizes given. */
  readonly taken: Candidate;
  /** What the order of the table would take. */
  readonly byTable: Pick<Candidate, "schedule" | "settings">;
  /** All ways that fit at these sizes, the taken one among them. */
  readonly candidates: readonly Candidate[];
}

/** The shapes of kernels of a graph with what may be timed for each. Sizes that the graph leaves open are those of `sizes`. */
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

/** Marks of the kernels of a graph by their names. */
function fixedMarks(graph: Graph, facts: AdapterFacts, options: PlanningOptions): Map<string, string> {
  const { shaped } = runStages(graph, planningStages(facts, options), scheduleForm);
  return new Map(shaped.map(({ fused, shape }) => [kernelName(fused), markOfShape(shape.key)]));
}

const lowered = (plan: ScheduledPlan): Program => runStages(plan, loweringStages(plan.facts), programForm);
