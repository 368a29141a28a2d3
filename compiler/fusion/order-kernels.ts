/**
 * List scheduling of kernels for low peak memory: a kernel that frees at least as much memory as it allocates runs as
 * soon as it is ready; the others keep their order. Weight gradients then run during the backward pass and not after
 * it.
 */

import { InternalError } from "../diagnostics/error.ts";
import type { Dim } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { isConcatenation } from "../ir/op.ts";
import { findAxis } from "../ir/type.ts";
import { type FusedKernel, type Fusion, isResident, isView, type Storage, type Store } from "./fused-kernel.ts";
import { bytesAlive, livesOf } from "./liveness.ts";
import type { FusionPlan } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** How many ready kernels are considered at each step; keeps the time linear. */
const horizon = 64;

interface Step {
  readonly index: number;
  readonly kernel: FusedKernel;
  readonly reads: readonly Node[];
  readonly writes: readonly Node[];
  readonly next: Step[];
  waits: number;
}

/** A kernel that allocates at most 1/256 of what it reads also runs at once: it may be the last reader but one. */
const littleOfMuch = 256;

/** Tensors with at most this many readers have them run one right after the other. */
const fewReaders = 3;

/** An alternative order is used only if its peak is at most this share of the default order's. */
const worthwhile = 0.9;

/** Reordering is repeated on its own result until it is stable, since the heuristics depend on the given order. */
const mostRounds = 4;

export function orderKernels(fusion: FusionPlan): FusionPlan {
  let found = orderOnce(fusion);
  for (let round = 1; round < mostRounds; round++) {
    const again = orderOnce(found);
    if (again.kernels.every((k, i) => k === found.kernels[i])) return found;
    found = again;
  }
  return found;
}

function orderOnce(fusion: FusionPlan): FusionPlan {
  const usual = inOrder(fusion, () => firstOf);
  const others = [inOrder(fusion, () => newestOf), inOrder(fusion, soonestOf, littleOfMuch)];
  const [least] = others.toSorted((a, b) => peakOf(a) - peakOf(b));
  return peakOf(least!) <= worthwhile * peakOf(usual) ? least! : usual;
}

const peakOf = (plan: FusionPlan): number => Math.max(0, ...bytesAlive(livesOf(plan), plan.kernels.length));

/** Chooses the next kernel from the ready ones, by index. */
type Choice = (ready: readonly Step[], made: ReadonlyMap<Node, number>) => number;

/**
 * Runs kernels that free what they allocate, or allocate at most 1/`littleOf` of what they read, as soon as they are
 * ready; otherwise the kernel that `chooser` picks.
 */
function inOrder(fusion: FusionPlan, chooser: (steps: readonly Step[]) => Choice, littleOf = 1): FusionPlan {
  const outputs = fusion.graph.outputs.map((o) => o.node);
  const steps = dependencies(fusion);
  const choose = chooser(steps);
  const alive = new Set<Node>(outputs.map((n) => fusion.storage.get(n)?.root ?? n));
  const readers = new Map<Node, number>();
  for (const s of steps) for (const r of s.reads) readers.set(r, (readers.get(r) ?? 0) + 1);
  const made = new Map<Node, number>();
  const taken = (s: Step) =>
    s.writes.reduce((n, w) => n + (made.has(w) || isConcatenation(w) ? 0 : typical(deviceBytes(w))), 0);
  const freed = (s: Step) =>
    s.reads.reduce(
      (n, r) => n + (readers.get(r) === 1 && !isResident(r) && !alive.has(r) ? typical(deviceBytes(r)) : 0),
      0,
    );
  const read = (s: Step) => s.reads.reduce((n, r) => n + (isResident(r) ? 0 : typical(deviceBytes(r))), 0);
  const isFree = (s: Step) => taken(s) <= freed(s) + (littleOf > 1 ? read(s) / littleOf : 0);
  const ready = steps.filter((s) => s.waits === 0);
  const kernels: FusedKernel[] = [];
  while (ready.length > 0) {
    let at = ready.slice(0, horizon).findIndex(isFree);
    if (at < 0) at = choose(ready, made);
    const step = ready.splice(at, 1)[0]!;
    kernels.push(step.kernel);
    for (const w of step.writes) made.set(w, kernels.length);
    for (const r of step.reads) readers.set(r, readers.get(r)! - 1);
    for (const next of step.next) if (--next.waits === 0) ready.push(next);
  }
  if (kernels.length !== steps.length)
    throw new InternalError("order-kernels: kernels depend on one another in a cycle");
  return { ...fusion, kernels };
}

/** Depth first: the kernel that reads the newest value, so that chunks of rows are finished one after another. */
function newestOf(ready: readonly Step[], made: ReadonlyMap<Node, number>): number {
  const newest = (s: Step) => s.reads.reduce((n, r) => Math.max(n, made.get(r) ?? -1), -1);
  const times = ready.map(newest);
  return ready.reduce((best, s, i) => {
    const later = times[i]! - times[best]!;
    return later > 0 || (later === 0 && s.index < ready[best]!.index) ? i : best;
  }, 0);
}

/**
 * The kernel that comes first in an as-late-as-possible order, which visits operands with the longest dependency chains
 * first, so that chunks of rows wait until everything that needs all rows is ready.
 */
function soonestOf(steps: readonly Step[]): Choice {
  const before = new Map(steps.map((s): [Step, Step[]] => [s, []]));
  const height = new Map<Step, number>();
  for (const s of steps) for (const next of s.next) before.get(next)!.push(s);
  const rank = new Map<Step, number>();
  /** The length of the longest dependency chain that ends in a step; iterative, since chains may be long. */
  const heightOf = (step: Step): number => {
    const stack = [step];
    while (stack.length > 0) {
      const s = stack.at(-1)!;
      const open = before.get(s)!.filter((b) => !height.has(b));
      if (open.length > 0) stack.push(...open);
      else
        height.set(
          stack.pop()!,
          before.get(s)!.reduce((n, b) => Math.max(n, height.get(b)! + 1), 0),
        );
    }
    return height.get(step)!;
  };
  const highest = (list: readonly Step[]) => list.toSorted((a, b) => heightOf(b) - heightOf(a) || a.index - b.index);
  const stack = highest(steps.filter((s) => s.next.length === 0)).reverse();
  while (stack.length > 0) {
    const s = stack.at(-1)!;
    const open = rank.has(s) ? [] : highest(before.get(s)!.filter((b) => !rank.has(b)));
    if (open.length > 0) {
      stack.push(open[0]!);
      continue;
    }
    stack.pop();
    if (rank.has(s)) continue;
    rank.set(s, rank.size);
    // Other ready readers of the same values come right after it, to free those values early, unless there are many.
    for (const b of before.get(s)!.filter(({ next }) => next.length <= fewReaders))
      for (const t of b.next) if (!rank.has(t) && before.get(t)!.every((x) => rank.has(x))) rank.set(t, rank.size);
  }
  return (ready) => ready.reduce((best, s, i) => (rank.get(s)! < rank.get(ready[best]!)! ? i : best), 0);
}

const firstOf = (ready: readonly Step[]): number =>
  ready.reduce((best, s, i) => (s.index < ready[best]!.index ? i : best), 0);

/**
 * The dependency graph, from the values that kernels name and not from their order: writers of a value run before its
 * readers, and readers of the old value of a state before the kernel that overwrites it.
 */
function dependencies({ kernels, storage }: Fusion): Step[] {
  const steps = kernels.map((kernel, index): Step => {
    const reads = [...new Set([...kernel.reads].map((r) => storage.get(r)?.root ?? r))];
    const writes = [...new Set(kernel.stores.map((s) => s.to.root))];
    return { index, kernel, reads, writes, next: [], waits: 0 };
  });
  const writers = new Map<Node, Step[]>();
  for (const step of steps) for (const w of step.writes) push(writers, w, step);
  const edges = new Map(steps.map((s) => [s, new Set<Step>()]));
  const link = (before: Step, after: Step) => {
    if (before !== after) edges.get(before)!.add(after);
  };
  for (const step of steps) {
    for (const value of step.kernel.reads) {
      const at = storage.get(value) ?? { root: value };
      const original = isResident(at.root) && (value === at.root || isView(value));
      for (const writer of writers.get(at.root) ?? []) {
        if (original) link(step, writer);
        else if (writesPart(writer.kernel, value, at)) link(writer, step);
      }
    }
  }
  for (const [step, next] of edges) {
    for (const n of [...next].sort((a, b) => a.index - b.index)) {
      step.next.push(n);
      n.waits++;
    }
  }
  return steps;
}

/** Whether a kernel writes any element of a value stored at `at`. */
const writesPart = ({ stores }: FusedKernel, value: Node, at: Storage): boolean =>
  stores.some(
    (s) => s.to.root === at.root && (!at.part || (s.to.part?.axis === at.part.axis && overlaps(s, value, at.part))),
  );

const typicalOffset = (offset: Dim): number => (offset === 0 ? 0 : typical(offset));

/** Whether a store to a part of a tensor overlaps the part where another value is stored. */
function overlaps({ value, to }: Store, other: Node, { axis, offset }: NonNullable<Storage["part"]>): boolean {
  // Whether parts of one tensor overlap does not depend on the sizes, so typical ones will do.
  const length = (n: Node) => typical(findAxis(n.type, axis)!.size);
  const [from, at] = [typicalOffset(to.part!.offset), typicalOffset(offset)];
  return from < at + length(other) && at < from + length(value);
}

/** Sorts kernels topologically; stable, so an order that is already runnable is kept. */
export function inRunnableOrder(fusion: Fusion): Fusion {
  const steps = dependencies(fusion);
  const ready = steps.filter((s) => s.waits === 0);
  const kernels: FusedKernel[] = [];
  while (ready.length > 0) {
    const step = ready.splice(firstOf(ready), 1)[0]!;
    kernels.push(step.kernel);
    for (const next of step.next) if (--next.waits === 0) ready.push(next);
  }
  if (kernels.length !== steps.length) throw new InternalError("fuse: kernels depend on one another in a cycle");
  return { ...fusion, kernels };
}

function push(map: Map<Node, Step[]>, key: Node, step: Step): void {
  const list = map.get(key);
  if (list) list.push(step);
  else map.set(key, [step]);
}
