/** Elementwise kernels: every thread computes a run of neighbouring elements of each result. */
import { dimExpr, isMultipleOf, spanOf, typical } from "../../../fusion/index.ts";
import { type Dim, divideDims } from "../../../ir/dim.ts";
import { int } from "../../../kernel/index.ts";
import { add, mul } from "../../../kernel/simplify.ts";
import { independentThreads } from "../../facts.ts";
import { type Lowering, unflatten } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";

/** The elements of the results, which all have the same axes. */
export interface ElementwiseProblem {
  readonly k: Lowering;
  readonly total: Dim;
}

export const elementwiseProblem = (k: Lowering): ElementwiseProblem => ({ k, total: spanOf(k.fused.axes) });

/** Below this many elements each thread takes only one, so that there are enough threads. */
const fewElements = 16384;

export const runs: Schedule<ElementwiseProblem, { readonly threads: number; readonly elements: number }> = {
  name: "runs",
  summary: "each thread computes contiguous elements, with vector loads and stores",
  settings: (facts) => [8, 4, 1].map((elements) => ({ threads: independentThreads(facts), elements })),
  fits: ({ k, total }, { elements }) => {
    if (elements === 1) return true;
    // 16 bytes at once.
    const { reads, stores } = k.fused;
    if (elements === 8 && ![...reads, ...stores.map((s) => s.value)].some((n) => n.type.dtype === "f16"))
      return "no tensor has 8 elements per 16-byte load";
    if (!isMultipleOf(total, elements)) return `${total} elements are not a multiple of ${elements}`;
    return (
      typical(total) >= fewElements ||
      `${total} elements at ${elements} per thread are too few threads for full occupancy`
    );
  },
  cost: (_, { elements }) => 1 / elements,
  lower: ({ k, total }, { threads, elements }) => {
    const { axes, stores } = k.fused;
    const each = divideDims(total, elements)!;
    return k.perThread(dimExpr(each), threads, (item) => {
      const items = Array.from({ length: elements }, (_, u) => unflatten(add(mul(item, int(elements)), int(u)), axes));
      return k.stores(items.flatMap((env) => stores.map((store) => ({ store, env }))));
    });
  },
};
