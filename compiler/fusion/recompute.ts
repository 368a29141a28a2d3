/**
 * Rewrites a plan so that some tensors are freed after a use and recomputed right before a later one, by running their
 * kernels a second time: no new kernels, and bit-identical results.
 */
import type { Node } from "../ir/node.ts";
import { flopsOf } from "../ir/work.ts";
import { type FusedKernel, isResident } from "./fused-kernel.ts";
import { computedNodes } from "./kernel-nodes.ts";
import { rootIn, type Touched, touchedBy } from "./liveness.ts";
import type { FusionPlan } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** A tensor that is freed before one of its uses: the index of the using kernel in the plan without repeats. */
export interface Evicted {
  readonly root: Node;
  readonly use: number;
}

/** A plan that includes repeated kernels. */
export interface Repeated {
  readonly plan: FusionPlan;
  /** For each kernel: its own index in the plan without repeats, or for a repeat that of the kernel that needs it. */
  readonly places: readonly number[];
}

/** Operations that cost as much as a byte of memory traffic: adapters do 10 to 20 in f32 while they move one. */
const operationsPerByte = 16;

/** The dependencies and costs of repeating kernels of a plan. */
export class Recomputation {
  private readonly plan: FusionPlan;
  private readonly touched: readonly Touched[];
  private readonly costs: readonly number[];
  /** The kernel that computes a tensor, if it is repeatable: the only writer of its stores, which are whole tensors. */
  private readonly makers = new Map<Node, number>();
  /** The kernels that use each tensor. */
  private readonly uses = new Map<Node, number[]>();
  /** For each kernel, the first one that overwrites an input or state that it reads; it cannot be repeated later. */
  private readonly until: readonly number[];

  constructor(plan: FusionPlan) {
    this.plan = plan;
    const rootOf = rootIn(plan);
    this.touched = plan.kernels.map((k) => touchedBy(k, rootOf));
    this.costs = plan.kernels.map(costOf);
    const writers = new Map<Node, number[]>();
    plan.kernels.forEach(({ stores }, i) => {
      for (const root of new Set(stores.map((s) => s.to.root))) push(writers, root, i);
    });
    this.until = plan.kernels.map(({ reads }) =>
      Math.min(
        ...[...reads].map(rootOf).map((root) => (isResident(root) ? (writers.get(root)?.[0] ?? Infinity) : Infinity)),
      ),
    );
    const outputs = new Set(plan.graph.outputs.map(({ node }) => rootOf(node)));
    plan.kernels.forEach((kernel, i) => {
      const { reads, writes } = this.touched[i]!;
      for (const root of new Set([...reads, ...writes])) push(this.uses, root, i);
      const mayRepeat =
        writes.length > 0 &&
        kernel.stores.every(({ to: { root, part } }) => !part && !isResident(root) && writers.get(root)!.length === 1);
      if (mayRepeat) for (const root of writes) if (!outputs.has(root)) this.makers.set(root, i);
    });
  }

  /** The gap between the uses of a tensor around a kernel: the last use up to it and the first one after it. */
  gapAt(root: Node, place: number): { readonly after: number; readonly use: number } | undefined {
    const uses = this.uses.get(root) ?? [];
    const next = uses.findIndex((u) => u > place);
    return next > 0 ? { after: uses[next - 1]!, use: uses[next]! } : undefined;
  }

  /** The cost of recomputing a tensor before a kernel if the tensors in `has` are alive; undefined if it cannot be. */
  costOf(root: Node, before: number, has: (root: Node) => boolean): number | undefined {
    let cost = 0;
    const done = new Set<number>();
    const visit = (wanted: Node): boolean => {
      const maker = this.makers.get(wanted);
      if (maker === undefined || maker >= before || this.until[maker]! < before) return false;
      if (done.has(maker)) return true;
      done.add(maker);
      cost += this.costs[maker]!;
      return this.touched[maker]!.reads.every((r) => has(r) || visit(r));
    };
    return visit(root) ? cost : undefined;
  }

  /** The plan with these tensors freed and recomputed; undefined if one of them cannot be recomputed when needed. */
  without(givenUp: readonly Evicted[], small: number): Repeated | undefined {
    const again = new Map<Node, Set<number>>();
    for (const { root, use } of givenUp) again.set(root, (again.get(root) ?? new Set()).add(use));
    const kernels: FusedKernel[] = [];
    const places: number[] = [];
    const there = new Set<Node>();
    const run = (i: number, place: number) => {
      kernels.push(this.plan.kernels[i]!);
      places.push(place);
      for (const w of this.touched[i]!.writes) there.add(w);
    };
    const ensure = (root: Node, place: number): boolean => {
      if (there.has(root)) return true;
      const maker = this.makers.get(root);
      if (maker === undefined || this.until[maker]! < place) return false;
      if (!this.touched[maker]!.reads.every((r) => ensure(r, place))) return false;
      run(maker, place);
      return true;
    };
    for (let i = 0; i < this.plan.kernels.length; i++) {
      const { reads, writes } = this.touched[i]!;
      if (!reads.every((r) => ensure(r, i))) return undefined;
      run(i, i);
      for (const root of new Set([...reads, ...writes])) {
        const gap = this.gapAt(root, i);
        const isOver = gap === undefined && typical(deviceBytes(root)) > small;
        if (isOver || (gap && again.get(root)?.has(gap.use))) there.delete(root);
      }
    }
    return { plan: { ...this.plan, kernels }, places };
  }
}

function costOf(kernel: FusedKernel): number {
  const computed = computedNodes(kernel).reduce((n, node) => n + typical(flopsOf(node)), 0);
  const moved = [...kernel.reads, ...kernel.stores.map((s) => s.value)];
  return computed + operationsPerByte * moved.reduce((n, node) => n + typical(deviceBytes(node)), 0);
}

function push<K>(map: Map<K, number[]>, key: K, value: number): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
