/** From a graph to kernels: the readable list of what happens, in order. */

import { UnsupportedError } from "../diagnostics/error.ts";
import { runPasses } from "../driver/driver.ts";
import { address } from "../fusion/access.ts";
import { countRegions, decideMemory, type FusedKernel, type Fusion, type Storage } from "../fusion/demand.ts";
import { type Placement, placeNodes } from "../fusion/groups.ts";
import { scheduleKernels } from "../fusion/order-kernels.ts";
import { deviceBytes, donate, type MemoryPlan, planMemory } from "../fusion/plan-memory.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import type { Graph } from "../ir/graph.ts";
import { inputName, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { coreOf, isParameter, opRecord } from "../ir/op.ts";
import { children, type Expr, indexVar, keyOf } from "../kernel/expr.ts";
import type { Kernel, KernelKind } from "../kernel/kernel.ts";
import { lowerAttention } from "../lowering/attention.ts";
import { lowerContraction } from "../lowering/contraction.ts";
import { lowerElementwise } from "../lowering/elementwise.ts";
import { kernelName, type LoweredKernel, Lowering } from "../lowering/kernel.ts";
import { type KernelShape, kernelShape } from "../lowering/kernel-shape.ts";
import { lowerRowReduction } from "../lowering/row-reduction.ts";
import { lowerScatter } from "../lowering/scatter.ts";
import { baselineFacts, type Schedule, scheduleFor } from "../lowering/schedule.ts";
import { regionName } from "../lowering/values.ts";
import { costOf } from "../passes/cost.ts";
import { decompose } from "../passes/decompose.ts";
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

/**
 * Compiles a graph of known sizes to kernels. Needs no device, and takes time in proportion to the graph.
 * Throws UnsupportedError where a size is still symbolic.
 */
export function compileKernels(graph: Graph, schedule: Schedule = scheduleFor(baselineFacts)): Program {
  // The common passes come first: canonicalize would merge the sums that splitReductions takes apart.
  const primitive = splitReductions(decompose(runPasses(graph, commonPasses), keeps));
  const nodes = nodesOf(primitive);
  assertSized(nodes);
  const placed = placeNodes(nodes);
  const outputs = primitive.outputs.map((o) => o.node);
  const { places } = placed;
  const decide = (successors: ReadonlyMap<Node, Node>): Fusion => {
    const fused = decideMemory(nodes, outputs, placed, { maxBindings: schedule.facts.maxBindings, successors });
    return donate(primitive, fused, (kernel, state) => updatesInPlace(kernel, state, fused, places, schedule));
  };
  // A state and its successor share a binding; where that turns out impossible, they are counted apart.
  const hopeful = decide(successorsOf(primitive));
  const fits = hopeful.kernels.every((k) => bindingsOf(k, hopeful) <= schedule.facts.maxBindings);
  const fusion = scheduleKernels(fits ? hopeful : decide(new Map()), outputs);
  const plan = planMemory(primitive, fusion);
  const kernels = lowerAll(fusion, places, schedule);
  const resident = primitive.inputs.filter((n) => isParameter(n) || n.attrs.role === "state");
  const total = (list: readonly Node[]) => list.reduce((n, node) => n + deviceBytes(node), 0);
  return {
    graph: primitive,
    kernels,
    memory: {
      parameters: total(resident),
      inputs: total(primitive.inputs.filter((n) => !resident.includes(n))),
      activations: plan.slots.reduce((n, s) => n + s, 0),
    },
    plan,
    storage: fusion.storage,
  };
}

/** Lowers kernels, those of equal shape once. */
function lowerAll(fusion: Fusion, places: Placement, schedule: Schedule): ProgramKernel[] {
  const known = new Map<string, LoweredKernel>();
  return fusion.kernels.map((fused) => {
    const shape = kernelShape(fused, fusion.storage, places, schedule.facts.bindingAlignment);
    let lowered = known.get(shape.key);
    if (!lowered) known.set(shape.key, (lowered = lowerings[fused.kind](new Lowering(fused, shape, schedule), places)));
    return describe(fused, shape, lowered);
  });
}

/** The buffers that a kernel binds. */
const bindingsOf = (kernel: FusedKernel, { storage }: Fusion): number =>
  countRegions([...kernel.stores.map((s) => s.to), ...[...kernel.reads].map((r) => storage.get(r) ?? { root: r })]);

/** The state that each output replaces. */
function successorsOf(graph: Graph): Map<Node, Node> {
  const inputs = new Map(graph.inputs.map((n) => [inputName(n), n]));
  return new Map(
    graph.outputs.flatMap(({ name, node }) => {
      const state = name in graph.updates ? inputs.get(graph.updates[name]!) : undefined;
      return state ? [[node, state] as const] : [];
    }),
  );
}

function assertSized(nodes: readonly Node[]): void {
  for (const n of nodes) {
    const open = n.type.axes.find((a) => typeof a.size !== "number");
    if (open)
      throw new UnsupportedError(`kernels need numbers for sizes: axis "${open.name}" of ${n.op} is ${open.size}`);
  }
}

/** Whether a kernel may write its result over a state it reads: each thread reads only the elements that it writes. */
function updatesInPlace(
  kernel: FusedKernel,
  state: Node,
  fusion: Fusion,
  places: Placement,
  schedule: Schedule,
): boolean {
  if (kernel.kind !== "elementwise") return false;
  const shape = kernelShape(kernel, fusion.storage, places, schedule.facts.bindingAlignment);
  const k = new Lowering(kernel, shape, schedule);
  const env = new Map(kernel.axes.map((a, i) => [a.name, indexVar(`c${i}`, Number(a.size))]));
  const values = kernel.stores.map((s) => k.values.at(s.value, env));
  const own = shape.regions.flatMap((r, i) => (r.root === state ? [i] : []));
  const whole = own.length === 1 && shape.regions[own[0]!]!.axes === state.type.axes;
  const read = whole ? loadsOf(values, regionName(own[0]!)) : new Set();
  return read.size === 1 && read.has(keyOf(address(state.type.axes, env)));
}

/** The addresses, as keys, at which expressions load a tensor. */
function loadsOf(values: readonly Expr[], buffer: string): Set<string> {
  const found = new Set<string>();
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.kind === "load" && e.buffer === buffer) found.add(keyOf(e.index));
    for (const c of children(e)) visit(c);
  };
  for (const v of values) visit(v);
  return found;
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
