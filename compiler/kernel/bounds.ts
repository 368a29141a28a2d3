/**
 * The bounds of names that a kernel's text implies: of builtins from the grid and the workgroup, of a let from its
 * value. Only narrower bounds are printed; the printer and the parser share this inference.
 */
import { type Expr, type Range, rangeOf, type Var, variable } from "./expr.ts";
import { children, withChildren } from "./expr-structure.ts";
import { type Kernel, type ThreadBuiltin, threadsOf } from "./kernel.ts";
import { asWritten } from "./simplify.ts";

const below = (count: number): Range => ({ min: 0, max: Math.max(0, count - 1) });

/** The thread builtins of a kernel with their bounds. */
export function threadVars(kernel: Pick<Kernel, "grid" | "workgroup" | "subgroupSize">): Record<ThreadBuiltin, Var> {
  const [x, y, z] = kernel.grid.map((g) => below(rangeOf(g).max));
  const threads = threadsOf(kernel as Kernel);
  const lanes = kernel.subgroupSize;
  const size: Range = lanes ? { min: lanes, max: lanes } : { min: 1, max: 128 };
  const builtin = (name: ThreadBuiltin, range: Range) => variable(name, "i32", range);
  return {
    wid_x: builtin("wid_x", x!),
    wid_y: builtin("wid_y", y!),
    wid_z: builtin("wid_z", z!),
    lid: builtin("lid", below(threads)),
    subgroup_id: builtin("subgroup_id", below(Math.ceil(threads / size.min))),
    lane: builtin("lane", below(size.max)),
    subgroup_size: builtin("subgroup_size", size),
  };
}

/** The bounds of a loop counter. */
export const counterRange = (from: Expr, to: Expr): Range => {
  const min = rangeOf(from).min;
  return { min, max: Math.max(min, rangeOf(to).max - 1) };
};

const sameRange = (a: Range, b: Range): boolean => a.min === b.min && a.max === b.max;

/** The expression with bounds derived from those of its names, as the parser would build it. */
export function rebound(e: Expr, names: ReadonlyMap<string, Var>): Expr {
  if (e.kind === "var") return names.get(e.name) ?? e;
  const operands = children(e);
  if (operands.length === 0) return e;
  const parts = operands.map((c) => rebound(c, names));
  if (e.kind === "arith" && e.dtype === "i32" && !e.width) return asWritten(e.op, parts[0]!, parts[1]!);
  return withChildren(e, parts);
}

/** The bounds that the text must state: those of a name, if they are narrower than the implied ones. */
export function statedRange(target: Var, implied: Range): Range | undefined {
  const narrowed = {
    min: Math.max(target.range.min, implied.min),
    max: Math.min(target.range.max, implied.max),
  };
  return sameRange(narrowed, implied) ? undefined : narrowed;
}
