/**
 * In-place updates: the new value of a state overwrites the state if no kernel reads the state afterwards and the
 * kernel that writes it either does not read the state or is elementwise and reads each element only where it writes
 * it.
 */
import {
  address,
  countRegions,
  type FusedKernel,
  type Fusion,
  type FusionLimits,
  type FusionPlan,
  fuseGraph,
  indexOver,
  type Storage,
  settled,
} from "../fusion/index.ts";
import { type Graph, inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { children, type Expr, keyOf } from "../kernel/index.ts";
import type { AdapterFacts } from "./facts.ts";
import { kernelShape } from "./kernel-shape.ts";
import { regionName, Values } from "./values.ts";

/** How row reductions may be fused into products on an adapter. */
export type RowLimits = Pick<FusionLimits, "rowTiles" | "rowParts">;

/** Fuses a graph as if each state and its new value shared a binding; `updateInPlace` ensures it or fuses again. */
export const fuseForUpdates = (graph: Graph, facts: AdapterFacts, rows: RowLimits = {}): FusionPlan =>
  fuseGraph(graph, { maxBindings: facts.maxBindings, successors: successorsOf(graph), ...rows });

/**
 * Stores new values over their states where that is safe. If that leaves a kernel with too many bindings because some
 * state could not be aliased, fuses again without counting on those. Kernels that update whole arenas stay fused.
 */
export function updateInPlace(plan: FusionPlan, facts: AdapterFacts, rows: RowLimits = {}): FusionPlan {
  const { graph } = plan;
  let counted = successorsOf(graph);
  for (let fused = plan; ; fused = fuseGraph(graph, { maxBindings: facts.maxBindings, successors: counted, ...rows })) {
    const updated = donate(fused, facts);
    const fits = updated.kernels.every((k) => bindingsOf(k, updated) <= facts.maxBindings);
    if (fits || counted.size === 0) return updated;
    const kept = [...counted].filter(([node, state]) => updated.storage.get(node)?.root === state);
    counted = new Map(kept.length < counted.size ? kept : []);
  }
}

/** The number of buffers that a kernel binds. */
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

/** Aliases new values with the states that they replace, wherever that is safe. */
function donate(plan: FusionPlan, facts: AdapterFacts): FusionPlan {
  const { graph } = plan;
  const inputs = new Map(graph.inputs.map((n) => [inputName(n), n]));
  const firstWrite = new Map<Node, number>();
  const lastRead = new Map<Node, number>();
  plan.kernels.forEach((kernel, i) => {
    for (const s of kernel.stores) if (!firstWrite.has(s.to.root)) firstWrite.set(s.to.root, i);
    for (const r of kernel.reads) lastRead.set(plan.storage.get(r)?.root ?? r, i);
  });
  const outputs = new Map<Node, number>();
  for (const o of graph.outputs) outputs.set(o.node, (outputs.get(o.node) ?? 0) + 1);
  const taken = new Set<Node>();
  const replaced = new Map<Node, Storage>();
  for (const { name, node } of graph.outputs) {
    const state = name in graph.updates ? inputs.get(graph.updates[name]!) : undefined;
    const storage = plan.storage.get(node);
    if (!state || !storage || storage.part || storage.root !== node || taken.has(state) || outputs.get(node)! > 1)
      continue;
    const at = firstWrite.get(node)!;
    const read = lastRead.get(state) ?? -1;
    if (read > at || outputs.has(state)) continue;
    if (read === at && !writesWhatItReads(plan.kernels[at]!, state, plan, facts)) continue;
    taken.add(state);
    replaced.set(node, { root: state });
  }
  return replaced.size === 0 ? plan : moveStorage(plan, replaced);
}

function moveStorage(plan: FusionPlan, replaced: ReadonlyMap<Node, Storage>): FusionPlan {
  const move = (s: Storage): Storage => {
    const target = replaced.get(s.root);
    return target ? { ...s, root: target.root } : s;
  };
  return {
    ...plan,
    kernels: plan.kernels.map((k) => ({ ...k, stores: k.stores.map((s) => ({ ...s, to: move(s.to) })) })),
    storage: new Map([...plan.storage].map(([n, s]) => [n, move(s)])),
  };
}

/** Whether each thread of a kernel reads only those elements of a state that it itself writes. */
function writesWhatItReads(kernel: FusedKernel, state: Node, plan: FusionPlan, facts: AdapterFacts): boolean {
  if (kernel.kind !== "elementwise") return false;
  const shape = kernelShape(kernel, plan.storage, plan.places, facts.bindingAlignment);
  const values = new Values(shape, new Set());
  const env = new Map(kernel.axes.map((a, i) => [a.name, indexOver(`c${i}`, a.size)]));
  const own = settled(env, state);
  if (state.type.axes.some((a) => !own.has(a.name))) return false; // it stores only parts of the new state
  const stored = kernel.stores.map((s) => values.at(s.value, env));
  const regions = shape.regions.flatMap((r, i) => (r.root === state ? [i] : []));
  const whole = regions.length === 1 && shape.regions[regions[0]!]!.axes === state.type.axes;
  const read = whole ? loadsOf(stored, regionName(regions[0]!)) : new Set();
  return read.size === 1 && read.has(keyOf(address(state.type.axes, own)));
}

/** The keys of the addresses at which the expressions load from a buffer. */
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
