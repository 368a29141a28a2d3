/** From a fusion plan to kernels: chooses a schedule for each kernel shape, then lowers each shape once. */
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
import { withSiblingSums } from "./schedules/row-reduction/sibling-sums.ts";
import type { KindOfKernel, ScheduleTables } from "./schedules/tables.ts";

/** A kernel of the plan with its shape, which equal kernels share. */
export interface ShapedKernel {
  readonly fused: FusedKernel;
  readonly shape: KernelShape;
}

/** A memory plan with the schedules chosen for its kernels, by shape key. */
export interface ScheduledPlan extends PlannedMemory {
  readonly facts: AdapterFacts;
  readonly tables: ScheduleTables;
  readonly shaped: readonly ShapedKernel[];
  readonly choices: ReadonlyMap<string, Choices<unknown>>;
}

/** A kernel with the schedule that generated it. */
export interface LoweredVariant extends LoweredKernel {
  readonly assuming: readonly SizeFact[];
  readonly schedule: string;
  readonly settings: Settings;
  readonly found?: boolean;
  /** Fraction of its work that falls outside the problem, if its schedule reports it. */
  readonly waste?: number;
}

/** The variants of one kernel shape; the last one assumes nothing about sizes. */
export interface LoweredShape {
  readonly variants: readonly LoweredVariant[];
  readonly refused: readonly Refusal[];
}

/** A plan whose kernels have been lowered to code. */
export interface LoweredPlan extends PlannedMemory {
  readonly facts: AdapterFacts;
  readonly shaped: readonly ShapedKernel[];
  readonly lowered: ReadonlyMap<string, LoweredShape>;
}

/** The problem and the schedules that apply to a kernel: whole-row schedules only if it must compute whole rows. */
function kindOf(tables: ScheduleTables, { kind, epilogues, prologues, partWidth }: FusedKernel): KindOfKernel<unknown> {
  const { problem, schedules } = tables[kind] as KindOfKernel<unknown>;
  const makesRows = epilogues !== undefined && partWidth === undefined;
  const own = schedules.filter((s) => (s.rowTiles !== undefined) === makesRows);
  return { problem, schedules: prologues || partWidth ? own.map((s) => (s.rowParts ? s : withoutParts(s))) : own };
}

/** A schedule that rejects every kernel because it cannot reduce segments of rows. */
const withoutParts = (schedule: Schedule<unknown>): Schedule<unknown> => ({
  ...schedule,
  features: [],
  settings: () => "it cannot fuse the norm of its rows",
});

/** How products absorb norms of rows, as epilogue and prologue, on an adapter; undefined if no schedule can. */
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

/** The whole-row tiles of products on an adapter, if a schedule of the tables has any. */
export const rowTilesOf = ({ contraction }: ScheduleTables, facts: AdapterFacts): RowTiles | undefined =>
  contraction.schedules.map((s) => s.rowTiles?.(facts)).find((tiles) => tiles !== undefined);

/** A lowering of a kernel, including the reductions that follow it. */
const loweringOf = (fused: FusedKernel, shape: KernelShape, places: Placement, facts: AdapterFacts): Lowering => {
  const [main, ...others] = piecesOf(fused);
  return new Lowering(main, shape, places, facts, undefined, fused.epilogues && others);
};

/** Chooses a schedule for every kernel shape, guided by findings for that shape if there are any. */
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

/** One kernel shape and all the ways to lower it. */
export interface Alternatives {
  readonly kernel: ShapedKernel;
  /** The hash of the shape, by which findings refer to it. */
  readonly mark: string;
  /** How many kernels of the plan have this shape. */
  readonly count: number;
  readonly choices: Choices<unknown>;
  readonly candidates: readonly Choice<unknown>[];
}

/** The alternatives for each kernel shape of a plan, ordered by the first kernel of each shape. */
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

/** The plan reduced to one kernel with one choice: valid for runs in which the assumptions of that choice hold. */
export const onlyKernel = (plan: ScheduledPlan, kernel: ShapedKernel, choice: Choice<unknown>): ScheduledPlan => ({
  ...plan,
  shaped: [kernel],
  choices: new Map([[kernel.shape.key, { choices: [{ ...choice, assuming: [] }], refused: [] }]]),
});

/** Lowers every kernel shape with the schedules chosen for it. */
export function lowerPlan({ facts, tables, choices, ...plan }: ScheduledPlan): LoweredPlan {
  const symbols = openSizes(plan.graph);
  const lowered = new Map<string, LoweredShape>();
  for (const { fused, shape } of plan.shaped) {
    if (lowered.has(shape.key)) continue;
    const { choices: chosen, refused } = choices.get(shape.key)!;
    const variants = chosen.map(({ schedule, settings, assuming, found }): LoweredVariant => {
      const sums = fused.siblings ? piecesOf(fused).slice(1) : [];
      const k = loweringOf(fused, shape, plan.places, facts);
      const problem = kindOf(tables, fused).problem(k);
      const waste = schedule.waste?.(problem, settings);
      const code = schedule.lower(problem, settings);
      const siblings = sums.map((sum) => new Lowering(sum, shape, plan.places, facts, k.names));
      return {
        ...k.finish(withSiblingSums(code, siblings), symbols),
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

/** The plan with each kernel rewritten; bindings are unchanged. */
export const mapKernels = (plan: LoweredPlan, f: (kernel: Kernel) => Kernel): LoweredPlan => ({
  ...plan,
  lowered: new Map(
    [...plan.lowered].map(([key, shape]) => [
      key,
      { ...shape, variants: shape.variants.map((v) => ({ ...v, kernel: f(v.kernel) })) },
    ]),
  ),
});
