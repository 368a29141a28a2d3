/**
 * Plans a graph for an adapter without generating code: the memory plan, and the schedule, bytes and operations of each
 * kernel. Lowering takes most of the compile time and affects none of these, so even large models are planned in
 * seconds.
 */
import { type RunOptions, runStages } from "../driver/index.ts";
import { deviceBytes, kernelName, piecesOf, spanOf } from "../fusion/index.ts";
import { dimValue, type Sizes } from "../ir/dim.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import type { Graph } from "../ir/graph.ts";
import { isParameter, isState } from "../ir/op.ts";
import { flopsOf } from "../ir/work.ts";
import type { KernelKind } from "../kernel/index.ts";
import { type AdapterFacts, holds, type ScheduledPlan } from "../lowering/index.ts";
import type { BoundKernels } from "./memory-by-kind.ts";
import { type PlanningOptions, planningStages, scheduleForm } from "./webgpu.ts";

type ShapedKernel = ScheduledPlan["shaped"][number];

export interface PlannedKernel {
  readonly name: string;
  readonly kind: KernelKind;
  readonly schedule: string;
  /** Whether its schedule uses matrix units. */
  readonly onMatrices: boolean;
  /** Each tensor, or part, counted once; for elementwise kernels, of each at most as many elements as are stored. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Of its reductions, contractions and attention only; a multiply-accumulate counts as two. */
  readonly flops: number;
  /** Whether it writes parameters or states, which a store keeps between runs. */
  readonly updates: boolean;
}

export interface PlannedProgram {
  readonly kernels: readonly PlannedKernel[];
  /** The same kernels with their buffers. */
  readonly bound: BoundKernels;
  /** Bytes that are copied after the last kernel. */
  readonly copied: number;
  /** Bytes of the largest binding of any kernel. */
  readonly largestBinding: number;
}

/** Plans a graph for an adapter. `sizes` are the symbolic sizes that bytes and flops are counted at. */
export function planKernels(
  graph: Graph,
  facts: AdapterFacts,
  { sizes = {}, ...options }: PlanningOptions & RunOptions & { readonly sizes?: Sizes } = {},
): PlannedProgram {
  const plan = runStages(graph, planningStages(facts, options), scheduleForm, options);
  const regions = plan.shaped.flatMap(({ shape }) => shape.regions);
  return {
    bound: { ...plan, kernels: plan.shaped.map(bindingsOf) },
    kernels: plan.shaped.map((one) => plannedKernel(plan, one, sizes)),
    copied: plan.plan.copies.reduce((n, c) => n + dimValue(c.bytes, sizes), 0),
    largestBinding: regions.reduce((most, r) => Math.max(most, regionBytes(r, sizes)), 0),
  };
}

/** The bindings of a kernel of this shape; those that it writes are read_write. */
function bindingsOf({ shape: { regions, stores } }: ShapedKernel): BoundKernels["kernels"][number] {
  const written = new Set([...stores.values()].map((place) => place.region));
  const access = (i: number) => (written.has(i) ? "read_write" : "read");
  return { kernel: { buffers: regions.map((_, i) => ({ access: access(i) })) }, bindings: regions };
}

type Region = ShapedKernel["shape"]["regions"][number];

const regionBytes = ({ root, axes }: Region, sizes: Sizes): number =>
  dimValue(spanOf(axes), sizes) * deviceElementBytes(root.type.dtype);

function plannedKernel(plan: ScheduledPlan, { fused, shape }: ShapedKernel, sizes: Sizes): PlannedKernel {
  const { choices } = plan.choices.get(shape.key)!;
  const { schedule } = choices.find((c) => holds(c.assuming, sizes)) ?? choices.at(-1)!;
  const made = fused.stores.reduce((n, s) => n + dimValue(spanOf(s.value.type.axes), sizes), 0);
  const read = new Set([...shape.reads.values()].map((place) => shape.regions[place.region]!));
  const isSum = piecesOf(fused).some((piece) => piece.group);
  const bytesOf = (region: Region) => {
    const whole = regionBytes(region, sizes);
    return isSum ? whole : Math.min(whole, made * deviceElementBytes(region.root.type.dtype));
  };
  const cores = piecesOf(fused).flatMap((piece) => piece.group?.cores ?? []);
  return {
    name: kernelName(fused),
    kind: fused.kind,
    schedule: schedule.name,
    onMatrices: schedule.features?.includes("subgroup_matrix") ?? false,
    bytesRead: [...read].reduce((n, region) => n + bytesOf(region), 0),
    bytesWritten: fused.stores.reduce((n, s) => n + dimValue(deviceBytes(s.value), sizes), 0),
    flops: cores.reduce((n, core) => n + dimValue(flopsOf(core), sizes), 0),
    updates: fused.stores.some(({ to: { root } }) => isParameter(root) || isState(root)),
  };
}
