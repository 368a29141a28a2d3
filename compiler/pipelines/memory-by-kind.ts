/** A program's memory by purpose: what is kept between runs, the inputs of a run, and what it computes. */
import { deviceBytes, isKept, type PlannedMemory, slotBytes } from "../fusion/index.ts";
import { dimValue, type Sizes } from "../ir/dim.ts";
import { inputName, topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { sourceOf } from "../ir/op.ts";
import { isArena } from "../passes/index.ts";

/** Bytes by purpose; they add up to all bytes of all buffers. Kinds with zero bytes are omitted. */
export type MemoryByKind = Readonly<Record<string, number>>;

/** Kernels bound to tensors, with their memory plan: a compiled program, or only a planned one. */
export interface BoundKernels extends Pick<PlannedMemory, "graph" | "plan" | "storage"> {
  readonly kernels: readonly {
    readonly kernel: { readonly buffers: readonly { readonly access: "read" | "read_write" }[] };
    readonly bindings: readonly { readonly root: Node }[];
  }[];
}

export interface KindsOfMemory {
  /** The kind of the parameter or state of this name. */
  readonly kept: (name: string) => string;
  /** The output that backward starts from: forward values that backward kernels read count as saved for backward. */
  readonly loss?: string;
}

/**
 * The memory of programs that a step runs one after another. They share the parameters and states in a store, and
 * slots: the largest slots of each program share one buffer, then the second largest, and so on. A slot counts as the
 * first of these that it ever holds: a gradient arena, a value saved for backward, workspace.
 */
export function memoryByKind(
  programs: readonly BoundKernels[],
  { kept, loss }: KindsOfMemory,
  sizes: Sizes = {},
): MemoryByKind {
  const bytes = new Map<string, number>();
  const count = (kind: string, n: number) => void bytes.set(kind, (bytes.get(kind) ?? 0) + n);
  const bytesOf = (node: Node) => dimValue(deviceBytes(node), sizes);
  const store = new Map(programs.flatMap((p) => p.graph.inputs.filter(isKept)).map((n) => [inputName(n), n]));
  for (const [name, node] of store) count(kept(name), bytesOf(node));
  for (const kind of slotKinds) count(kind, 0);
  const slots = programs.map((program) => {
    const kinds = kindsOfSlots(program, loss);
    return slotBytes(program.plan, sizes)
      .map((n, slot) => ({ n, kind: slotKinds.indexOf(kinds[slot]!) }))
      .sort((a, b) => b.n - a.n);
  });
  for (let i = 0; slots.some((own) => i < own.length); i++) {
    const alike = slots.flatMap((own) => own.slice(i, i + 1)).sort((a, b) => b.n - a.n || a.kind - b.kind);
    count(slotKinds[alike[0]!.kind]!, alike[0]!.n);
  }
  for (const program of programs) {
    for (const node of program.graph.inputs.filter((n) => !isKept(n)))
      count(sourceOf(node) === "random" ? "random inputs" : "inputs", bytesOf(node));
    for (const use of program.plan.buffers.values()) if (use.kind === "table") count("tables", bytesOf(use.node));
  }
  return Object.fromEntries([...bytes].filter(([, n]) => n > 0));
}

const slotKinds = ["gradients", "saved for backward", "workspace"] as const;

function kindsOfSlots(
  { graph, plan, kernels, storage }: BoundKernels,
  loss: string | undefined,
): (typeof slotKinds)[number][] {
  const kinds = plan.slots.map(() => slotKinds.length - 1);
  const claim = (root: Node, kind: (typeof slotKinds)[number]) => {
    const use = plan.buffers.get(root);
    if (use?.kind === "slot") kinds[use.slot] = Math.min(kinds[use.slot]!, slotKinds.indexOf(kind));
  };
  const goal = graph.outputs.find(({ name }) => name === loss)?.node;
  const forward = new Set(goal ? topological([goal]).map((n) => storage.get(n)?.root ?? n) : []);
  for (const { kernel, bindings } of kernels) {
    const isRead = (i: number) => kernel.buffers[i]!.access === "read";
    const written = bindings.flatMap(({ root }, i) => (isRead(i) ? [] : [root]));
    for (const root of written) if (isArena(root.type)) claim(root, "gradients");
    if (goal && written.some((root) => !forward.has(root)))
      for (const { root } of bindings.filter((_, i) => isRead(i)))
        if (forward.has(root)) claim(root, "saved for backward");
  }
  return kinds.map((k) => slotKinds[k]!);
}
