/** From a graph to kernels: the readable list of what happens, in order. */

import { UnsupportedError } from "../diagnostics/error.ts";
import {
  type AnyStage,
  type Form,
  graphForm,
  graphStage,
  type Pass,
  type RunOptions,
  runStages,
  stage,
} from "../driver/index.ts";
import type { FusedKernel, Storage } from "../fusion/demand.ts";
import type { Placement } from "../fusion/groups.ts";
import { orderKernels } from "../fusion/order-kernels.ts";
import { type FusionPlan, type PlannedMemory, verifyPlan } from "../fusion/plan.ts";
import { deviceBytes, type MemoryPlan, planMemory } from "../fusion/plan-memory.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import type { Graph } from "../ir/graph.ts";
import { nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { coreOf, opRecord } from "../ir/op.ts";
import type { Kernel, KernelKind } from "../kernel/kernel.ts";
import { lowerAttention } from "../lowering/attention.ts";
import { lowerContraction } from "../lowering/contraction.ts";
import { lowerElementwise } from "../lowering/elementwise.ts";
import { fuseForUpdates, updateInPlace } from "../lowering/in-place.ts";
import { kernelName, type LoweredKernel, Lowering } from "../lowering/kernel.ts";
import { type KernelShape, kernelShape } from "../lowering/kernel-shape.ts";
import { lowerRowReduction } from "../lowering/row-reduction.ts";
import { lowerScatter } from "../lowering/scatter.ts";
import { baselineFacts, type Schedule, scheduleFor } from "../lowering/schedule.ts";
import { costOf } from "../passes/cost.ts";
import { decomposeFor } from "../passes/decompose.ts";
import { splitReductions } from "../passes/split-reductions.ts";
import { commonPasses } from "./common.ts";

export { type AdapterFacts, baselineFacts, type Schedule, scheduleFor } from "../lowering/schedule.ts";

/** A range of elements of a tensor. */
export interface Binding {
  readonly root: Node;
  /** The first element; a multiple of the adapter's alignment. */
  readonly start: number;
  readonly length: number;
}

/** A kernel of the program with what it costs. */
export interface ProgramKernel {
  readonly kernel: Kernel;
  /** What its buffers are bound to, in their order. */
  readonly bindings: readonly Binding[];
  readonly name: string;
  readonly kind: KernelKind;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly flops: number;
}

export interface Program {
  /** The graph that the kernels compute: composites without a kernel are decomposed in it, outputs are named as before. */
  readonly graph: Graph;
  readonly kernels: readonly ProgramKernel[];
  readonly memory: {
    /** Bytes of parameters and states, of inputs of a run, and of the slots that activations share. */
    readonly parameters: number;
    readonly inputs: number;
    readonly activations: number;
  };
  readonly plan: MemoryPlan;
  /** Where each output lies. */
  readonly storage: ReadonlyMap<Node, Storage>;
}

const lowerings = {
  elementwise: (k: Lowering) => lowerElementwise(k),
  row_reduction: lowerRowReduction,
  contraction: lowerContraction,
  attention: lowerAttention,
  indexing: (k: Lowering) => lowerScatter(k),
} satisfies Record<KernelKind, (k: Lowering, places: Placement) => LoweredKernel>;

/** What the WebGPU backend keeps whole: what has a kernel, or is no composite. */
const keeps = (node: Node): boolean => coreOf(node) !== undefined || opRecord(node.op).kind !== "composite";

const sized: Pass = {
  name: "sizes",
  run: (graph) => {
    assertSized(nodesOf(graph));
    return graph;
  },
};

/** The fusion plan as a form: it is verified to read only what was written before, whatever made it. */
const planForm: Form<FusionPlan> = {
  name: "fusion plan",
  print: () => "",
  verify: verifyPlan,
  size: ({ kernels }) => `${kernels.length} kernels`,
};

const memoryForm: Form<PlannedMemory> = {
  name: "memory plan",
  print: () => "",
  verify: verifyPlan,
  size: ({ plan }) => `${plan.slots.length} slots`,
};

const programForm: Form<Program> = {
  name: "program",
  print: () => "",
  verify: () => {},
  size: ({ kernels }) => `${kernels.length} kernels`,
};

/** The road from a graph to WebGPU kernels, in order; each stage says what it needs from those before it. */
export const webgpuStages = (schedule: Schedule): readonly AnyStage[] => [
  ...commonPasses.map(graphStage), // first: canonicalize would merge the sums that split-reductions takes apart
  graphStage(decomposeFor(keeps)), // after fuse-attention, which needs softmax and contractions whole
  graphStage(splitReductions), // after decompose, which makes most sums
  graphStage(sized),
  stage("fuse", graphForm, planForm, (graph) => fuseForUpdates(graph, schedule.facts)),
  stage("in-place", planForm, planForm, (plan) => updateInPlace(plan, schedule.facts)), // before the order: who reads a state runs before who overwrites it
  stage("order-kernels", planForm, planForm, (plan) =>
    orderKernels(
      plan,
      plan.graph.outputs.map((o) => o.node),
    ),
  ),
  stage("plan-memory", planForm, memoryForm, (plan) => ({ ...plan, plan: planMemory(plan.graph, plan) })), // lifetimes follow from the order
  stage("lower", memoryForm, programForm, (plan) => lowerPlan(plan, schedule)),
];

/**
 * Compiles a graph of known sizes to kernels. Needs no device, and takes time in proportion to the graph.
 * Throws UnsupportedError where a size is still symbolic.
 */
export const compileKernels = (
  graph: Graph,
  schedule: Schedule = scheduleFor(baselineFacts),
  options: RunOptions = {},
): Program => runStages(graph, webgpuStages(schedule), programForm, options);

function lowerPlan(planned: PlannedMemory, schedule: Schedule): Program {
  const { graph, storage, plan } = planned;
  const resident = graph.inputs.filter((n) => n.op === "parameter" || n.attrs.role === "state");
  const total = (list: readonly Node[]) => list.reduce((n, node) => n + deviceBytes(node), 0);
  return {
    graph,
    kernels: lowerAll(planned, schedule),
    memory: {
      parameters: total(resident),
      inputs: total(graph.inputs.filter((n) => !resident.includes(n))),
      activations: plan.slots.reduce((n, s) => n + s, 0),
    },
    plan,
    storage,
  };
}

/** Lowers kernels, those of equal shape once. */
function lowerAll({ kernels, storage, places }: PlannedMemory, schedule: Schedule): ProgramKernel[] {
  const known = new Map<string, LoweredKernel>();
  return kernels.map((fused) => {
    const shape = kernelShape(fused, storage, places, schedule.facts.bindingAlignment);
    let lowered = known.get(shape.key);
    if (!lowered) known.set(shape.key, (lowered = lowerings[fused.kind](new Lowering(fused, shape, schedule), places)));
    return describe(fused, shape, lowered);
  });
}

function assertSized(nodes: readonly Node[]): void {
  for (const n of nodes) {
    const open = n.type.axes.find((a) => typeof a.size !== "number");
    if (open)
      throw new UnsupportedError(`kernels need numbers for sizes: axis "${open.name}" of ${n.op} is ${open.size}`);
  }
}

/** A kernel with the bytes it moves and the operations it does, by the sizes of what it binds and computes. */
function describe(fused: FusedKernel, shape: KernelShape, lowered: LoweredKernel): ProgramKernel {
  const name = kernelName(fused);
  const kernel = { ...lowered.kernel, name };
  const bindings = lowered.bindings.map(({ region, start, length }) => {
    const { root, start: origin } = shape.regions[region]!;
    return { root, start: origin + start, length };
  });
  const bytesRead = bindings.reduce((n, b, i) => {
    const { access, dtype } = kernel.buffers[i]!;
    return access === "read" ? n + b.length * (dtype === "bool" ? 4 : dtypeBytes[dtype]) : n;
  }, 0);
  const bytesWritten = fused.stores.reduce((n, s) => n + deviceBytes(s.value), 0);
  // What is elementwise is not counted: it hides behind the bytes.
  const flops = (fused.group?.cores ?? []).reduce((n, c) => n + costOf(c).flops, 0);
  return { kernel, bindings, name, kind: kernel.kind, bytesRead, bytesWritten, flops };
}
