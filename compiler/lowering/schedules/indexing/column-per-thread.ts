/**
 * Scatter-add without atomics: a thread owns one column of the result, zeroes it, and adds the updates in index order,
 * so the sum is deterministic.
 */
import { dimExpr, type Env, restrict, spanOf } from "../../../fusion/index.ts";
import type { Axis } from "../../../ir/type.ts";
import { cast, float, floatArith, load, type Stmt } from "../../../kernel/index.ts";
import { clampIndex } from "../../../kernel/simplify.ts";
import { independentThreads } from "../../facts.ts";
import { type KernelCode, type Lowering, unflatten } from "../../kernel.ts";
import { loopOver } from "../../loops.ts";
import type { Schedule } from "../../schedule.ts";
import { registerType } from "../../values.ts";

export interface ScatterProblem {
  readonly k: Lowering;
}

export const scatterProblem = (k: Lowering): ScatterProblem => ({ k });

export const columnPerThread: Schedule<ScatterProblem, { readonly threads: number }> = {
  name: "column-per-thread",
  summary: "a thread owns a column of the result and adds its updates in their order, without atomics",
  settings: (facts) => [{ threads: independentThreads(facts) }],
  fits: () => true,
  cost: () => 1,
  lower: ({ k }, { threads }) => lowerScatter(k, threads),
};

function lowerScatter(k: Lowering, threads: number): KernelCode {
  const core = k.fused.group!.cores[0]!;
  const [index, updates] = [core.operands[0]!, core.operands[1]!];
  const axis = core.attrs.axis as unknown as Axis;
  const batched = core.attrs.batched as string[];
  const columns = core.type.axes.filter((a) => a.name !== axis.name);
  const positions = index.type.axes.filter((a) => !batched.includes(a.name));
  const dtype = registerType(core.type.dtype);
  const at = (env: Env) => k.target(k.fused.stores[0]!, env);

  return k.perThread(dimExpr(spanOf(columns)), threads, (item) => {
    const column = unflatten(item, columns);
    const clear = loopOver(k, [axis], (env): Stmt[] => [
      { kind: "store", ...at(new Map([...column, ...env])), value: cast(float(0, dtype), core.type.dtype) },
    ]);
    const accumulate = loopOver(k, positions, (env): Stmt[] => {
      const all = new Map([...column, ...env]);
      const named = k.let("row", clampIndex(cast(k.values.at(index, restrict(all, index)), "i32"), dimExpr(axis.size)));
      const target = at(new Map([...column, [axis.name, named.target]]));
      const sum = floatArith(
        "add",
        cast(load(target.buffer, core.type.dtype, target.index), dtype),
        k.values.at(updates, restrict(all, updates)),
      );
      return [named.stmt, { kind: "store", ...target, value: cast(sum, core.type.dtype) }];
    });
    return [...clear, ...accumulate];
  });
}
