/** The software-pipelined loop over the slabs of a sum: when each is loaded, and where it is held meanwhile. */
import { dimExpr } from "../../../fusion/index.ts";
import { barrier, type Expr, int, rangeOf, type Stmt, variable, variableFor } from "../../../kernel/index.ts";
import { add, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { ceilDiv } from "../../kernel.ts";
import type { ContractionProblem } from "./problem.ts";
import type { Access } from "./slab.ts";

/**
 * What is in flight while a slab is multiplied: 0 nothing; 1 the next slab, being loaded to registers; 2 double
 * buffering: the next slab is already in workgroup memory, and the one after it is being loaded to registers.
 */
export type Prefetch = 0 | 1 | 2;

/** Buffers per operand in workgroup memory. */
export const stagesOf = (prefetch: number): 1 | 2 => (prefetch === 2 ? 2 : 1);

/** Stages all slabs of `slabDepth` steps, one after another, and multiplies each, given its stage (0 or 1). */
export function overSlabs(
  { k, depth }: ContractionProblem,
  slabDepth: number,
  prefetch: number,
  accesses: readonly Access[],
  multiply: (stage: Expr) => Stmt[],
): Stmt[] {
  const count = ceilDiv(dimExpr(depth), slabDepth);
  const index = variable(k.names.fresh("k"), "i32", { min: 0, max: rangeOf(count).max - 1 });
  const loop = (...body: readonly Stmt[]): Stmt => ({ kind: "for", index, from: int(0), to: count, step: 1, body });
  const values = (slab: Expr) => accesses.map((a) => a.values(mul(slab, int(slabDepth))));
  const put = (held: readonly (readonly Expr[])[], stage: Expr): Stmt[] =>
    accesses.flatMap((a, i) => a.put(held[i]!, stage));
  const none = int(0);
  if (prefetch === 0) {
    // Loads precede the barrier, so that they overlap with other subgroups' multiplications.
    const lets = values(index).map((of) => of.map((value) => k.let("p", value)));
    const held = lets.map((of) => of.map((l) => l.target));
    return [loop(...lets.flat().map((l) => l.stmt), barrier, ...put(held, none), barrier, ...multiply(none))];
  }
  const last = sub(count, int(1));
  const first = values(none);
  const held = first.map((of) => of.map((value) => variableFor(k.names.fresh("p"), value)));
  const begin = held.flatMap((of, i) => of.map((target, j): Stmt => ({ kind: "var", target, value: first[i]![j]! })));
  // Past the end the last slab is loaded again; that copy is never used.
  const bring = (slab: Expr): Stmt[] =>
    values(min(slab, last)).flatMap((of, i) =>
      of.map((value, j): Stmt => ({ kind: "assign", target: held[i]![j]!, value })),
    );
  if (prefetch === 1) {
    const next = bring(add(index, int(1)));
    return [...begin, loop(barrier, ...put(held, none), barrier, ...next, ...multiply(none))];
  }
  const [current, next] = [mod(index, int(2)), mod(add(index, int(1)), int(2))];
  return [
    ...begin,
    ...put(held, none),
    ...bring(int(1)),
    barrier,
    loop(...put(held, next), ...bring(add(index, int(2))), ...multiply(current), barrier),
  ];
}
