/**
 * Orders kernels so that fewer tensors are alive at once: a kernel that needs no new memory, or frees as much as it takes,
 * runs as soon as it can; the others keep their order. Weight gradients so run beside the backward pass and not after it.
 */

import { InternalError } from "../diagnostics/error.ts";
import type { Node } from "../ir/node.ts";
import { type FusedKernel, type Fusion, isJoined, isResident } from "./demand.ts";
import { deviceBytes } from "./plan-memory.ts";

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

export function scheduleKernels(fusion: Fusion, outputs: readonly Node[]): Fusion {
  const steps = dependencies(fusion);
  const alive = new Set<Node>(outputs.map((n) => fusion.storage.get(n)?.root ?? n));
  const readers = new Map<Node, number>();
  for (const s of steps) for (const r of s.reads) readers.set(r, (readers.get(r) ?? 0) + 1);
  const made = new Set<Node>();
  const taken = (s: Step) => s.writes.reduce((n, w) => n + (made.has(w) || isJoined(w) ? 0 : deviceBytes(w)), 0);
  const freed = (s: Step) =>
    s.reads.reduce((n, r) => n + (readers.get(r) === 1 && !isResident(r) && !alive.has(r) ? deviceBytes(r) : 0), 0);
  const ready = steps.filter((s) => s.waits === 0);
  const kernels: FusedKernel[] = [];
  while (ready.length > 0) {
    let at = ready.slice(0, horizon).findIndex((s) => taken(s) <= freed(s));
    if (at < 0) at = firstOf(ready);
    const step = ready.splice(at, 1)[0]!;
    kernels.push(step.kernel);
    for (const w of step.writes) made.add(w);
    for (const r of step.reads) readers.set(r, readers.get(r)! - 1);
    for (const next of step.next) if (--next.waits === 0) ready.push(next);
  }
  if (kernels.length !== steps.length) throw new InternalError("schedule: kernels wait for one another");
  return { ...fusion, kernels };
}

const firstOf = (ready: readonly Step[]): number =>
  ready.reduce((best, s, i) => (s.index < ready[best]!.index ? i : best), 0);

/** Who must run before whom: writers before readers of their results, readers before who overwrites what they read. */
function dependencies({ kernels, storage }: Fusion): Step[] {
  const writers = new Map<Node, Step[]>();
  const readers = new Map<Node, Step[]>();
  return kernels.map((kernel, index) => {
    const reads = [...new Set([...kernel.reads].map((r) => storage.get(r)?.root ?? r))];
    const writes = [...new Set(kernel.stores.map((s) => s.to.root))];
    const step: Step = { index, kernel, reads, writes, next: [], waits: 0 };
    const before = new Set<Step>();
    for (const r of reads) for (const w of writers.get(r) ?? []) before.add(w);
    // Parts of one concatenation do not meet; whatever read the tensor before must have read it before it changes.
    for (const w of writes) for (const r of readers.get(w) ?? []) before.add(r);
    for (const b of before) b.next.push(step);
    step.waits = before.size;
    for (const r of reads) push(readers, r, step);
    for (const w of writes) push(writers, w, step);
    return step;
  });
}

function push(map: Map<Node, Step[]>, key: Node, step: Step): void {
  const list = map.get(key);
  if (list) list.push(step);
  else map.set(key, [step]);
}
