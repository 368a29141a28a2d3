/** A program: kernels in execution order, bound to tensors, with the memory plan that they run in. */

import {
  deviceBytes,
  type FusedKernel,
  kernelName,
  type MemoryPlan,
  piecesOf,
  type Storage,
  slotBytes,
} from "../fusion/index.ts";
import { addDims, boundsOf, type Dim, dimValue, mulDims, type Sizes } from "../ir/dim.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import type { Graph } from "../ir/graph.ts";
import { openSizes } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isParameter } from "../ir/op.ts";
import { elementsOf } from "../ir/type.ts";
import { flopsOf } from "../ir/work.ts";
import { type BufferParam, evaluateIndex, type Kernel, type KernelKind } from "../kernel/index.ts";
import { assertAddressable } from "./addressable.ts";
import type { AdapterFacts } from "./facts.ts";
import type { KernelShape } from "./kernel-shape.ts";
import type { LoweredPlan, LoweredShape, LoweredVariant } from "./plan.ts";
import { holds, type Refusal, type Settings, type SizeFact } from "./schedule.ts";

/** A range of elements of a tensor. */
export interface TensorBinding {
  readonly root: Node;
  /** The first element; a multiple of the adapter's alignment. */
  readonly start: number;
  readonly length: Dim;
}

/** One version of a kernel's code, with the bindings of its buffers in order. */
export interface KernelVariant {
  readonly kernel: Kernel;
  readonly bindings: readonly TensorBinding[];
  /** Facts that must hold for the sizes of a run. */
  readonly assuming: readonly SizeFact[];
  readonly schedule: string;
  readonly settings: Settings;
  /** Whether a finding chose the schedule. */
  readonly found?: boolean;
  /** Fraction of its work that falls outside the problem, if its schedule reports it. */
  readonly waste?: number;
}

/** A kernel of the program with its cost in bytes and operations; its own code fits all sizes of a run. */
export interface ProgramKernel extends KernelVariant {
  readonly name: string;
  readonly kind: KernelKind;
  /** Specialized variants: the first whose facts hold for a run is used instead. */
  readonly special: readonly KernelVariant[];
  /** Schedules ahead of it in the table of its kind, and why they were rejected. */
  readonly refused: readonly Refusal[];
  readonly bytesRead: Dim;
  readonly bytesWritten: Dim;
  readonly flops: Dim;
}

export interface Program {
  /** The adapter that the kernels are made for. */
  readonly facts: AdapterFacts;
  /** The graph that the kernels compute: composites without a kernel are decomposed; outputs keep their names. */
  readonly graph: Graph;
  /** Sizes left open until a run; if there are none, all sizes are fixed. */
  readonly symbols: readonly string[];
  readonly kernels: readonly ProgramKernel[];
  readonly plan: MemoryPlan;
  /** Where each output is stored. */
  readonly storage: ReadonlyMap<Node, Storage>;
}

/** Assembles the program from a lowered plan. */
export function assembleProgram({ graph, facts, plan, storage, shaped, lowered }: LoweredPlan): Program {
  const reserve = (root: Node, start: number, length: Dim) => reservedElements(plan, facts, { root, start, length });
  const kernels = shaped.map(({ fused, shape }) => programKernel(fused, shape, lowered.get(shape.key)!, reserve));
  return { graph, facts, symbols: openSizes(graph), kernels, plan, storage };
}

type Reserve = (root: Node, start: number, length: Dim) => number | undefined;

/**
 * For a binding of open length: the number of elements that exist in every run. Inputs and activations are allocated
 * for the declared maximum; parameters and states are only as large as they are.
 */
function reservedElements(
  { buffers }: MemoryPlan,
  { maxBindingBytes }: AdapterFacts,
  { root, start, length }: TensorBinding,
): number | undefined {
  if (typeof length === "number") return undefined;
  const use = buffers.get(root);
  if (use?.kind !== "slot" && isKept(use?.node ?? root)) return undefined;
  const most = Math.min(boundsOf(length).max, boundsOf(elementsOf(root.type)).max - start);
  return most > 0 && most * deviceElementBytes(root.type.dtype) <= maxBindingBytes ? most : undefined;
}

function programKernel(
  fused: FusedKernel,
  shape: KernelShape,
  { variants, refused }: LoweredShape,
  reserve: Reserve,
): ProgramKernel {
  const name = kernelName(fused);
  const bound = variants.map((v) => bind(v, name, shape, reserve));
  const general = bound.at(-1)!;
  assertAddressable(fused, general.bindings);
  const cores = piecesOf(fused).flatMap((piece) => piece.group?.cores ?? []);
  return {
    ...general,
    name,
    kind: fused.kind,
    special: bound.slice(0, -1),
    refused,
    bytesRead: sum(general.bindings.map((b, i) => bytesRead(general.kernel, i, b.length))),
    bytesWritten: sum(fused.stores.map((s) => deviceBytes(s.value))),
    flops: sum(cores.map(flopsOf)),
  };
}

function bind(
  { kernel, bindings, ...chosen }: LoweredVariant,
  name: string,
  { regions }: KernelShape,
  reserve: Reserve,
) {
  const bound = bindings.map(({ region, start, length }): TensorBinding => {
    const { root, start: origin } = regions[region]!;
    return { root, start: origin + start, length };
  });
  const buffers = kernel.buffers.map((b, i): BufferParam => {
    const { root, start, length } = bound[i]!;
    const reserved = reserve(root, start, length);
    return reserved === undefined || reserved % (b.width ?? 1) !== 0 ? b : { ...b, reserved };
  });
  return { kernel: { ...kernel, name, buffers }, bindings: bound, ...chosen };
}

const sum = (dims: readonly Dim[]): Dim => dims.reduce<Dim>(addDims, 0);

function bytesRead({ buffers }: Kernel, i: number, length: Dim): Dim {
  const { access, dtype } = buffers[i]!;
  return access === "read" ? mulDims(length, deviceElementBytes(dtype)) : 0;
}

/** The variant of a kernel for the sizes of a run. */
export const variantFor = (kernel: ProgramKernel, sizes: Sizes): KernelVariant =>
  kernel.special.find((v) => holds(v.assuming, sizes)) ?? kernel;

/** How many kernels have a variant that was selected by a finding. */
export const foundKernels = ({ kernels }: Program): number =>
  kernels.filter((k) => [k, ...k.special].some((v) => v.found)).length;

/** Workgroups of a kernel along x, y and z, at the sizes of a run. */
export const gridOf = ({ grid }: Kernel, sizes: Sizes = {}): readonly [number, number, number] =>
  grid.map((e) => evaluateIndex(e, sizes)) as [number, number, number];

/** Whether a tensor persists between runs: a parameter or a state. */
const isKept = (node: Node): boolean => isParameter(node) || node.attrs.role === "state";

/** Bytes of parameters and states, of the other inputs, and of the slots that activations share. */
export function memoryOf({ graph, plan }: Program, sizes: Sizes = {}) {
  const resident = graph.inputs.filter(isKept);
  const total = (list: readonly Node[]) => list.reduce((n, node) => n + dimValue(deviceBytes(node), sizes), 0);
  return {
    parameters: total(resident),
    inputs: total(graph.inputs.filter((n) => !resident.includes(n))),
    activations: slotBytes(plan, sizes).reduce((n, s) => n + s, 0),
  };
}
