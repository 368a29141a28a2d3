/** A program: kernels in the order in which they run, bound to tensors, with the memory that they run in. */

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

/** Code of a kernel, and what its buffers are bound to, in their order. */
export interface KernelVariant {
  readonly kernel: Kernel;
  readonly bindings: readonly TensorBinding[];
  /** Facts about the sizes of a run that it needs. */
  readonly assuming: readonly SizeFact[];
  readonly schedule: string;
  readonly settings: Settings;
  /** Whether a finding chose the schedule. */
  readonly found?: boolean;
  /** Share of its work past the edges of the problem, where its schedule says it. */
  readonly waste?: number;
}

/** A kernel of the program with what it costs, in bytes and operations. It assumes nothing about the sizes of a run. */
export interface ProgramKernel extends KernelVariant {
  readonly name: string;
  readonly kind: KernelKind;
  /** Variants for runs of which certain facts hold: the first that fits is taken instead. */
  readonly special: readonly KernelVariant[];
  /** Schedules before it in the table of its kind, and why they were not taken. */
  readonly refused: readonly Refusal[];
  readonly bytesRead: Dim;
  readonly bytesWritten: Dim;
  readonly flops: Dim;
}

export interface Program {
  /** The adapter that the kernels are made for. */
  readonly facts: AdapterFacts;
  /** The graph that the kernels compute: composites without a kernel are decomposed in it, outputs are named as before. */
  readonly graph: Graph;
  /** Sizes that are open until a run; those of every run that the program is for when there are none. */
  readonly symbols: readonly string[];
  readonly kernels: readonly ProgramKernel[];
  readonly plan: MemoryPlan;
  /** Where each output lies. */
  readonly storage: ReadonlyMap<Node, Storage>;
}

/** The program that a plan became. */
export function assembleProgram({ graph, facts, plan, storage, shaped, lowered }: LoweredPlan): Program {
  const reserve = (root: Node, start: number, length: Dim) => reservedElements(plan, facts, { root, start, length });
  const kernels = shaped.map(({ fused, shape }) => programKernel(fused, shape, lowered.get(shape.key)!, reserve));
  return { graph, facts, symbols: openSizes(graph), kernels, plan, storage };
}

type Reserve = (root: Node, start: number, length: Dim) => number | undefined;

/**
 * Elements of a binding that is open until a run which there are in every run: what is fed and what runs compute lies in
 * memory that is made for the declared maximum. A store's tensors are as large as they are.
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

/** How many kernels have a variant that a finding chose. */
export const foundKernels = ({ kernels }: Program): number =>
  kernels.filter((k) => [k, ...k.special].some((v) => v.found)).length;

/** Workgroups of a kernel along x, y and z, at the sizes of a run. */
export const gridOf = ({ grid }: Kernel, sizes: Sizes = {}): readonly [number, number, number] =>
  grid.map((e) => evaluateIndex(e, sizes)) as [number, number, number];

/** What a store keeps between runs. */
const isKept = (node: Node): boolean => isParameter(node) || node.attrs.role === "state";

/** Bytes of parameters and states, of what a run is fed, and of the slots that activations share. */
export function memoryOf({ graph, plan }: Program, sizes: Sizes = {}) {
  const resident = graph.inputs.filter(isKept);
  const total = (list: readonly Node[]) => list.reduce((n, node) => n + dimValue(deviceBytes(node), sizes), 0);
  return {
    parameters: total(resident),
    inputs: total(graph.inputs.filter((n) => !resident.includes(n))),
    activations: slotBytes(plan, sizes).reduce((n, s) => n + s, 0),
  };
}
