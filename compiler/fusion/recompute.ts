/**
 * A plan in which some tensors are given up after a use and computed again right before a later one, by running their
 * kernels a second time: no other code, and the same bits.
 */
import type { Node } from "../ir/node.ts";
import { flopsOf } from "../ir/work.ts";
import { type FusedKernel, isResident } from "./fused-kernel.ts";
import { computedNodes } from "./kernel-nodes.ts";
import { rootIn, type Touched, touchedBy } from "./liveness.ts";
import type { FusionPlan } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** A tensor that is not kept for one of its uses: the kernel, by its place in the order without repeats. */
export interface GivenUp {
  readonly root: Node;
  readonly use: number;
}

/** Kernels with those that run again among them. */
export interface Repeated {
  readonly plan: FusionPlan;
  /** Of each kernel of the plan: the place, without repeats, of the kernel that it is or that it runs for. */
  readonly places: readonly number[];
}

/** A byte of memory traffic costs as much as so many operations: adapters do 10 to 20 in f32 while they move one. */
const operationsPerByte = 16;

/** What a repeat of each kernel of a plan needs and costs. */
export class Recomputation {
  private readonly plan: FusionPlan;
  private readonly touched: readonly Touched[];
  private readonly costs: readonly number[];
  /** The kernel that computes a tensor, where it can run again: it alone writes it, whole, and nothing else that matters. */
  private readonly makers = new Map<Node, number>();
  /** The kernels that use each tensor. */
  private readonly uses = new Map<Node, number[]>();
  /** The first kernel that a kernel cannot run again at: something that it reads is overwritten before it. */
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

  /** The use of a tensor after the kernel at a place, and the last one up to it. */
  gapAt(root: Node, place: number): { readonly after: number; readonly use: number } | undefined {
    const uses = this.uses.get(root) ?? [];
    const next = uses.findIndex((u) => u > place);
    return next > 0 ? { after: uses[next - 1]!, use: uses[next]! } : undefined;
  }

  /** What computing a tensor again before a kernel costs, where the tensors that `has` names need no computing; undefined where it cannot be. */
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

  /** The plan without the tensors given up; undefined where one of them cannot be computed again where it is needed. */
  without(givenUp: readonly GivenUp[], small: number): Repeated | undefined {
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
