/** Elementwise kernels: every thread computes a few neighbouring elements of all results. */
import { span } from "../fusion/access.ts";
import { int } from "../kernel/expr.ts";
import { add, mul } from "../kernel/simplify.ts";
import { type LoweredKernel, type Lowering, unflatten } from "./kernel.ts";

/** Below this many elements a thread takes one each, so that there are enough threads. */
const fewElements = 16384;

export function lowerElementwise(k: Lowering): LoweredKernel {
  const { axes, stores } = k.fused;
  const total = span(axes);
  const { threads, elements } = k.schedule;
  // A thread's elements are neighbours, so that they are loaded and stored together.
  const each = total >= fewElements && total % elements === 0 ? elements : 1;
  const shape = k.perThread(
    total / each,
    (item) => {
      const items = Array.from({ length: each }, (_, u) => unflatten(add(mul(item, int(each)), int(u)), axes));
      return k.stores(items.flatMap((env) => stores.map((store) => ({ store, env }))));
    },
    threads,
  );
  return k.finish("elementwise", shape);
}
