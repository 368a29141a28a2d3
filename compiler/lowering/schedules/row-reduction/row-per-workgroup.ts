/** Row reductions in which the threads of a workgroup share a row and combine their parts in memory that they share. */
import { dimExpr, typical } from "../../../fusion/index.ts";
import { type ArrayDecl, type Expr, element, floatArith, int, type Stmt } from "../../../kernel/index.ts";
import { lt } from "../../../kernel/simplify.ts";
import { noSharing } from "../../facts.ts";
import type { Lowering } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";
import type { RowProblem } from "./problem.ts";
import { lowerRow, type Sharing } from "./row-lowering.ts";

export const rowPerWorkgroup: Schedule<RowProblem, { readonly threads: number }> = {
  name: "row-per-workgroup",
  summary: "the threads of a workgroup share a row, element by element, and combine what they have in a tree",
  settings: (facts) => (facts.software ? noSharing : [{ threads: 64 }]),
  fits: ({ width }, { threads }) =>
    typical(width) >= threads || `a row has ${width} elements, fewer than the ${threads} threads of a workgroup`,
  cost: (_, { threads }) => 1 / threads,
  lower: ({ k, rows }, { threads }) => {
    const arrays: ArrayDecl[] = [];
    const code = k.perWorkgroup(dimExpr(rows), threads, (row, lane) =>
      lowerRow(k, row, { first: lane, step: threads, combine: treeOf(k, lane, threads, arrays) }),
    );
    return { ...code, arrays };
  },
};

/** Half of the threads that are left take over what the other half has, until one has it all. */
function treeOf(k: Lowering, lane: Expr, threads: number, arrays: ArrayDecl[]): Sharing["combine"] {
  return (accumulators, merge) => {
    const own = accumulators.map(({ dtype }): ArrayDecl => {
      return { name: k.names.fresh("s"), dtype, length: threads, space: "workgroup" };
    });
    arrays.push(...own);
    const get = (i: Expr) => own.map((a) => element(a.name, a.dtype, i));
    const set = (values: readonly Expr[]) =>
      own.map((a, i): Stmt => ({ kind: "set", array: a.name, index: lane, value: values[i]! }));
    const body: Stmt[] = [...set(accumulators), { kind: "barrier" }];
    for (let half = threads >> 1; half > 0; half >>= 1) {
      const { lets, values } = merge(get(lane), get(floatArith("add", lane, int(half))));
      body.push({ kind: "if", condition: lt(lane, int(half)), body: [...lets, ...set(values)] }, { kind: "barrier" });
    }
    return { body, values: get(int(0)) };
  };
}
