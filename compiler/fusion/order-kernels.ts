/**
 * Orders kernels so that fewer tensors are alive at once: a kernel that needs no new memory, or frees as much as it takes,
 * runs as soon as it can; the others keep their order. Weight gradients so run beside the backward pass and not after it.
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

/** How many runnable kernels are compared at each step: keeps the time linear. */
const horizon = 64;

interface Step {
  readonly index: number;
  readonly kernel: FusedKernel;
  readonly reads: readonly Node[];
  readonly writes: readonly Node[];
  readonly next: Step[];
  waits: number;
}

/** What takes so small a part of what it reads runs at once: it may be the last reader but one. */
const littleOfMuch = 256;

/** Readers of a tensor that run one right after the other. */
const fewReaders = 3;

/** What is begun is finished first where that takes no more than this share of the memory. */
const worthwhile = 0.9;

/** Times that an order is looked for in one that was found: what is chosen first depends on the order that was given. */
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

/** Of kernels that can run the one that does: its index. */
type Choice = (ready: readonly Step[], made: ReadonlyMap<Node, number>) => number;

/**
 * Kernels that free what they take, or take a `littleOf`th part of what they read, as soon as they can run; and else the one
 * of those that can which is chosen.
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
  if (kernels.length !== steps.length) throw new InternalError("order-kernels: kernels wait for one another");
  return { ...fusion, kernels };
}

/** The kernel that reads what was made last: chunks of rows are so done one after another. */
function newestOf(ready: readonly Step[], made: ReadonlyMap<Node, number>): number {
  const newest = (s: Step) => s.reads.reduce((n, r) => Math.max(n, made.get(r) ?? -1), -1);
  const times = ready.map(newest);
  return ready.reduce((best, s, i) => {
    const later = times[i]! - times[best]!;
    return later > 0 || (later === 0 && s.index < ready[best]!.index) ? i : best;
  }, 0);
}

/**
 * The kernel that is needed soonest where each result is made just before its use: what many kernels must run for comes
 * before what few do, so that chunks of rows wait until what they need of all rows is there.
 */
function soonestOf(steps: readonly Step[]): Choice {
  const before = new Map(steps.map((s): [Step, Step[]] => [s, []]));
  const height = new Map<Step, number>();
  for (const s of steps) for (const next of s.next) before.get(next)!.push(s);
  const rank = new Map<Step, number>();
  /** Its operands' kernels, highest first: called again and again until all of them have a rank. */
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
    // Who else reads what it reads, and can run by now, comes right after it, so that what they read is free; of what many read it is not.
    for (const b of before.get(s)!.filter(({ next }) => next.length <= fewReaders))
      for (const t of b.next) if (!rank.has(t) && before.get(t)!.every((x) => rank.has(x))) rank.set(t, rank.size);
  }
  return (ready) => ready.reduce((best, s, i) => (rank.get(s)! < rank.get(ready[best]!)! ? i : best), 0);
}

const firstOf = (ready: readonly Step[]): number =>
  ready.reduce((best, s, i) => (s.index < ready[best]!.index ? i : best), 0);

/**
 * Who must run before whom, by the values that kernels name and not by the order in which they are listed: who writes a
 * value before who reads it, who reads what a state held before who overwrites it.
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

/** Whether a kernel writes something of a value that lies at a place: the part itself, or anything of a whole tensor. */
const writesPart = ({ stores }: FusedKernel, value: Node, at: Storage): boolean =>
  stores.some(
    (s) => s.to.root === at.root && (!at.part || (s.to.part?.axis === at.part.axis && overlaps(s, value, at.part))),
  );

const typicalOffset = (offset: Dim): number => (offset === 0 ? 0 : typical(offset));

/** Whether a store to a part of a tensor reaches into the part at which a value lies. */
function overlaps({ value, to }: Store, other: Node, { axis, offset }: NonNullable<Storage["part"]>): boolean {
  // Which parts of one tensor meet is the same for all sizes: it may be asked for typical ones.
  const length = (n: Node) => typical(findAxis(n.type, axis)!.size);
  const [from, at] = [typicalOffset(to.part!.offset), typicalOffset(offset)];
  return from < at + length(other) && at < from + length(value);
}

/** The kernels in an order in which they can run: the given one wherever it is such an order. */
export function inRunnableOrder(fusion: Fusion): Fusion {
  const steps = dependencies(fusion);
  const ready = steps.filter((s) => s.waits === 0);
  const kernels: FusedKernel[] = [];
  while (ready.length > 0) {
    const step = ready.splice(firstOf(ready), 1)[0]!;
    kernels.push(step.kernel);
    for (const next of step.next) if (--next.waits === 0) ready.push(next);
  }
  if (kernels.length !== steps.length) throw new InternalError("fuse: kernels wait for one another");
  return { ...fusion, kernels };
}

function push(map: Map<Node, Step[]>, key: Node, step: Step): void {
  const list = map.get(key);
  if (list) list.push(step);
  else map.set(key, [step]);
}
