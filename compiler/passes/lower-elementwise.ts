/** Elementwise kernels: every thread computes a few elements of all results. */
import { indexVar, int, variable } from "../kernel/expr.ts";
import type { Stmt } from "../kernel/kernel.ts";
import { add, lt, mul } from "../kernel/simplify.ts";
import { type LoweredKernel, type Lowering, unflatten } from "./lower-kernel.ts";
import { span } from "./lower-values.ts";

/** Below this many elements a thread takes one each, so that there are enough threads. */
const fewElements = 16384;

export function lowerElementwise(k: Lowering): LoweredKernel {
  const { axes, stores } = k.fused;
  const total = span(axes);
  const { threads } = k.schedule;
  const each = total < fewElements ? 1 : k.schedule.elements;
  const block = threads * each;
  const { grid, workgroup } = k.grid(Math.ceil(total / block));
  const u = indexVar(k.names.fresh("u"), each);
  const lane = variable("lid", "i32", { min: 0, max: threads - 1 });
  const step = each === 1 ? int(0) : mul(u, int(threads));
  const flat = add(add(mul(workgroup, int(block)), step), lane);
  const item = variable(k.names.fresh("i"), "i32", { min: 0, max: total - 1 });
  const env = unflatten(item, axes);
  const inner = k.stores(stores.map((store) => ({ store, env })));
  const full = lt(flat, int(total)).kind === "const";
  const guarded: Stmt[] = full
    ? inner
    : [{ kind: "if", condition: { kind: "compare", dtype: "bool", op: "lt", a: item, b: int(total) }, body: inner }];
  const once: Stmt[] = [{ kind: "let", target: item, value: flat }, ...guarded];
  const body: Stmt[] =
    each === 1 ? once : [{ kind: "for", index: u, from: int(0), to: int(each), step: 1, body: once }];
  return k.finish("elementwise", { body, grid, workgroup: [threads, 1, 1] });
}
