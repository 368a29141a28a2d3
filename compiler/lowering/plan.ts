/** From a fusion plan to kernels: a schedule is chosen for each shape of kernel, then each shape is lowered once. */
import { type FusedKernel, type PlannedMemory, piecesOf } from "../fusion/index.ts";
import { openSizes } from "../ir/graph.ts";
import type { Kernel } from "../kernel/index.ts";
import type { AdapterFacts } from "./facts.ts";
import { type LoweredKernel, Lowering } from "./kernel.ts";
import { type KernelShape, kernelShape } from "./kernel-shape.ts";
import { type Choices, choose, type Refusal, type Settings, type SizeFact } from "./schedule.ts";
import { withSums } from "./schedules/row-reduction/beside.ts";
import type { KindOfKernel, ScheduleTables } from "./schedules/tables.ts";

/** A kernel of the plan with the shape that it shares with equal ones. */
export interface ShapedKernel {
  readonly fused: FusedKernel;
  readonly shape: KernelShape;
}

/** A memory plan with the schedules of its kernels, by shape. */
export interface ScheduledPlan extends PlannedMemory {
  readonly facts: AdapterFacts;
  readonly tables: ScheduleTables;
  readonly shaped: readonly ShapedKernel[];
  readonly choices: ReadonlyMap<string, Choices<unknown>>;
}

/** A kernel with the schedule that it was made by. */
export interface LoweredVariant extends LoweredKernel {
  readonly assuming: readonly SizeFact[];
  readonly schedule: string;
  readonly settings: Settings;
}

/** The kernels of one shape: the last one assumes nothing about sizes. */
export interface LoweredShape {
  readonly variants: readonly LoweredVariant[];
  readonly refused: readonly Refusal[];
}

/** A plan whose kernels are code. */
export interface LoweredPlan extends PlannedMemory {
  readonly facts: AdapterFacts;
  readonly shaped: readonly ShapedKernel[];
  readonly lowered: ReadonlyMap<string, LoweredShape>;
}

/** The row of the tables for a kernel: what it computes is what its schedules take. */
const kindOf = (tables: ScheduleTables, { kind }: FusedKernel): KindOfKernel<unknown> => tables[kind];

/** Chooses a schedule for every shape of kernel. */
export function schedulePlan(plan: PlannedMemory, facts: AdapterFacts, tables: ScheduleTables): ScheduledPlan {
  const choices = new Map<string, Choices<unknown>>();
  const shaped = plan.kernels.map((fused): ShapedKernel => {
    const shape = kernelShape(fused, plan.storage, plan.places, facts.bindingAlignment);
    if (!choices.has(shape.key)) {
      const { problem, schedules } = kindOf(tables, fused);
      const [main] = piecesOf(fused);
      choices.set(shape.key, choose(schedules, problem(new Lowering(main, shape, plan.places, facts)), facts));
    }
    return { fused, shape };
  });
  return { ...plan, facts, tables, shaped, choices };
}

/** Lowers every shape of kernel by the schedules chosen for it. */
export function lowerPlan({ facts, tables, choices, ...plan }: ScheduledPlan): LoweredPlan {
  const symbols = openSizes(plan.graph);
  const lowered = new Map<string, LoweredShape>();
  for (const { fused, shape } of plan.shaped) {
    if (lowered.has(shape.key)) continue;
    const { choices: chosen, refused } = choices.get(shape.key)!;
    const variants = chosen.map(({ schedule, settings, assuming }): LoweredVariant => {
      const [main, ...sums] = piecesOf(fused);
      const k = new Lowering(main, shape, plan.places, facts);
      const code = schedule.lower(kindOf(tables, main).problem(k), settings);
      const beside = sums.map((sum) => new Lowering(sum, shape, plan.places, facts, k.names));
      return { ...k.finish(withSums(code, beside), symbols), assuming, schedule: schedule.name, settings };
    });
    lowered.set(shape.key, { variants, refused });
  }
  return { ...plan, facts, lowered };
}

/** The plan with each of its kernels rewritten; bindings stay. */
export const mapKernels = (plan: LoweredPlan, f: (kernel: Kernel) => Kernel): LoweredPlan => ({
  ...plan,
  lowered: new Map(
    [...plan.lowered].map(([key, shape]) => [
      key,
      { ...shape, variants: shape.variants.map((v) => ({ ...v, kernel: f(v.kernel) })) },
    ]),
  ),
});
