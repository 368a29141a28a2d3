/** From a fusion plan to kernels: a schedule is chosen for each shape of kernel, then each shape is lowered once. */
import { UnsupportedError } from "../diagnostics/error.ts";
import {
  type FusedKernel,
  kernelName,
  type Placement,
  type PlannedMemory,
  piecesOf,
  type RowParts,
  type RowTiles,
} from "../fusion/index.ts";
import { openSizes } from "../ir/graph.ts";
import type { Kernel } from "../kernel/index.ts";
import type { AdapterFacts } from "./facts.ts";
import { type Findings, markOfShape } from "./findings.ts";
import { type LoweredKernel, Lowering } from "./kernel.ts";
import { type KernelShape, kernelShape } from "./kernel-shape.ts";
import {
  type Choice,
  type Choices,
  candidates,
  choose,
  type Refusal,
  type Schedule,
  type Settings,
  type SizeFact,
} from "./schedule.ts";
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
  readonly found?: boolean;
  /** Share of its work past the edges of the problem, where its schedule says it. */
  readonly waste?: number;
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
function kindOf(tables: ScheduleTables, { kind, after, before, partWidth }: FusedKernel): KindOfKernel<unknown> {
  const { problem, schedules } = tables[kind] as KindOfKernel<unknown>;
  const makesRows = after !== undefined && partWidth === undefined;
  const own = schedules.filter((s) => (s.rowTiles !== undefined) === makesRows);
  return { problem, schedules: before || partWidth ? own.map((s) => (s.rowParts ? s : withoutParts(s))) : own };
}

/** A schedule for kernels that it is not for. */
const withoutParts = (schedule: Schedule<unknown>): Schedule<unknown> => ({
  ...schedule,
  features: [],
  settings: () => "it has no part in the norm of rows",
});

/** How products share norms on an adapter, as far as their schedules do. */
export function rowPartsOf(tables: ScheduleTables, facts: AdapterFacts): RowParts | undefined {
  const able = tables.contraction.schedules.filter(
    (s) =>
      s.rowParts && !(s.features ?? []).some((f) => !facts.features.has(f)) && typeof s.settings(facts) !== "string",
  );
  const widths = [...new Set(able.flatMap((s) => s.rowParts!))].sort((a, b) => b - a);
  if (widths.length === 0) return undefined;
  const refuses: RowParts["refuses"] = (kernel, { storage }, places) => {
    const { problem, schedules } = kindOf(tables, kernel);
    const shape = kernelShape(kernel, storage, places, facts.bindingAlignment);
    try {
      choose(schedules, problem(loweringOf(kernel, shape, places, facts)), facts);
      return undefined;
    } catch (e) {
      if (e instanceof UnsupportedError) return `${kernelName(kernel)}: ${e.message}`;
      throw e;
    }
  };
  return { widths, refuses };
}

/** How products are made in whole rows on an adapter, where a schedule of the tables does so. */
export const rowTilesOf = ({ contraction }: ScheduleTables, facts: AdapterFacts): RowTiles | undefined =>
  contraction.schedules.map((s) => s.rowTiles?.(facts)).find((tiles) => tiles !== undefined);

/** A kernel about to be lowered, with the reductions after it. */
const loweringOf = (fused: FusedKernel, shape: KernelShape, places: Placement, facts: AdapterFacts): Lowering => {
  const [main, ...others] = piecesOf(fused);
  return new Lowering(main, shape, places, facts, undefined, fused.after && others);
};

/** Chooses a schedule for every shape of kernel, by findings where there are any for it. */
export function schedulePlan(
  plan: PlannedMemory,
  facts: AdapterFacts,
  tables: ScheduleTables,
  findings?: Findings,
): ScheduledPlan {
  const choices = new Map<string, Choices<unknown>>();
  const shaped = plan.kernels.map((fused): ShapedKernel => {
    const shape = kernelShape(fused, plan.storage, plan.places, facts.bindingAlignment);
    if (!choices.has(shape.key)) {
      const { problem, schedules } = kindOf(tables, fused);
      const found = findings && findings.size > 0 ? findings.get(markOfShape(shape.key)) : undefined;
      choices.set(shape.key, choose(schedules, problem(loweringOf(fused, shape, plan.places, facts)), facts, found));
    }
    return { fused, shape };
  });
  return { ...plan, facts, tables, shaped, choices };
}

/** The kernels of one shape, and all ways in which they may be lowered. */
export interface Alternatives {
  readonly kernel: ShapedKernel;
  /** Of the shape, as findings name it. */
  readonly mark: string;
  /** How many kernels of the plan have the shape. */
  readonly count: number;
  readonly choices: Choices<unknown>;
  readonly candidates: readonly Choice<unknown>[];
}

/** For each shape of kernel of a plan, in the order in which the first of each runs, what may be chosen for it. */
export const alternativesOf = ({ facts, tables, shaped, choices, places }: ScheduledPlan): Alternatives[] =>
  [...Map.groupBy(shaped, ({ shape }) => shape.key)].map(([key, same]) => {
    const { fused, shape } = same[0]!;
    const { problem, schedules } = kindOf(tables, fused);
    return {
      kernel: same[0]!,
      mark: markOfShape(key),
      count: same.length,
      choices: choices.get(key)!,
      candidates: candidates(schedules, problem(loweringOf(fused, shape, places, facts)), facts),
    };
  });

/** The plan with one of its kernels alone, lowered in one way: for runs of which the facts of that way hold. */
export const onlyKernel = (plan: ScheduledPlan, kernel: ShapedKernel, choice: Choice<unknown>): ScheduledPlan => ({
  ...plan,
  shaped: [kernel],
  choices: new Map([[kernel.shape.key, { choices: [{ ...choice, assuming: [] }], refused: [] }]]),
});

/** Lowers every shape of kernel by the schedules chosen for it. */
export function lowerPlan({ facts, tables, choices, ...plan }: ScheduledPlan): LoweredPlan {
  const symbols = openSizes(plan.graph);
  const lowered = new Map<string, LoweredShape>();
  for (const { fused, shape } of plan.shaped) {
    if (lowered.has(shape.key)) continue;
    const { choices: chosen, refused } = choices.get(shape.key)!;
    const variants = chosen.map(({ schedule, settings, assuming, found }): LoweredVariant => {
      const sums = fused.beside ? piecesOf(fused).slice(1) : [];
      const k = loweringOf(fused, shape, plan.places, facts);
      const problem = kindOf(tables, fused).problem(k);
      const waste = schedule.waste?.(problem, settings);
      const code = schedule.lower(problem, settings);
      const beside = sums.map((sum) => new Lowering(sum, shape, plan.places, facts, k.names));
      return {
        ...k.finish(withSums(code, beside), symbols),
        assuming,
        schedule: schedule.name,
        settings,
        ...(found && { found }),
        ...(waste !== undefined && { waste }),
      };
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
