/** How the threads that share rows combine their partial results. */
import {
  type ArrayDecl,
  barrier,
  type Expr,
  element,
  floatArith,
  int,
  type Stmt,
  subgroupCall,
  type Var,
} from "../../../kernel/index.ts";
import { add, div, eq, lt, mod, mul } from "../../../kernel/simplify.ts";
import type { AdapterFacts } from "../../facts.ts";
import type { Lowering } from "../../kernel.ts";
import type { Sharing } from "./row-lowering.ts";

type Combine = Sharing["combine"];

/** Threads of a workgroup that share a row: thread `lid` is lane `lane` of `lanes`, which are `apart` threads apart. */
export interface Lanes {
  readonly threads: number;
  readonly lid: Expr;
  readonly lane: Expr;
  readonly lanes: number;
  readonly apart: number;
}

/** The subgroup size that a kernel can rely on; 0 if there is none. */
export function knownSubgroup({ features, subgroupSizes: { min, max } }: AdapterFacts): number {
  if (!features.has("subgroups") || (min !== max && !features.has("subgroup_size"))) return 0;
  return min === max ? min : Math.max(min, Math.min(32, max));
}

/** A tree reduction in workgroup memory: at each level half of the remaining lanes merge in the other half. */
export function workgroupReduction(
  k: Lowering,
  { threads, lid, lane, lanes, apart }: Lanes,
  arrays: ArrayDecl[],
): Combine {
  const first = apart > 1 ? mod(lid, int(apart)) : mul(div(lid, int(lanes)), int(lanes));
  return (accumulators, merge) => {
    const own = accumulators.map(({ dtype }) => shared(k, dtype, threads));
    arrays.push(...own);
    const get = (i: Expr) => own.map((a) => element(a.name, a.dtype, i));
    const set = (values: readonly Expr[]) =>
      own.map((a, i): Stmt => ({ kind: "set", array: a.name, index: lid, value: values[i]! }));
    const body: Stmt[] = [...set(accumulators), barrier];
    for (let half = lanes >> 1; half > 0; half >>= 1) {
      const { lets, values } = merge(get(lid), get(floatArith("add", lid, int(half * apart))));
      body.push({ kind: "if", condition: lt(lane, int(half)), body: [...lets, ...set(values)] }, barrier);
    }
    return { body, values: get(first) };
  };
}

/**
 * A butterfly reduction in registers, by subgroup shuffles (xor of one lane bit after another); if several subgroups
 * share the row, each then writes its partial result to workgroup memory and all threads merge these.
 */
export function subgroupReduction(
  k: Lowering,
  { threads, lid, lanes }: Lanes,
  subgroup: number,
  arrays: ArrayDecl[],
): Combine {
  return (accumulators, merge) => {
    const body: Stmt[] = [];
    for (let bit = 1; bit < Math.min(lanes, subgroup); bit *= 2) {
      const others = accumulators.map((own): Var => {
        const { target, stmt } = k.let("o", subgroupCall("shuffle_xor", own, int(bit)));
        body.push(stmt);
        return target;
      });
      const { lets, values } = merge(accumulators, others);
      body.push(...lets, ...accumulators.map((target, i): Stmt => ({ kind: "assign", target, value: values[i]! })));
    }
    if (lanes <= subgroup) return { body, values: accumulators };
    const [all, parts] = [threads / subgroup, lanes / subgroup];
    const own = accumulators.map(({ dtype }) => shared(k, dtype, all));
    arrays.push(...own);
    const put = own.map((a, i): Stmt => {
      return { kind: "set", array: a.name, index: div(lid, int(subgroup)), value: accumulators[i]! };
    });
    body.push({ kind: "if", condition: eq(mod(lid, int(subgroup)), int(0)), body: put }, barrier);
    const first = mul(div(lid, int(lanes)), int(parts));
    const get = (part: number) => own.map((a) => element(a.name, a.dtype, add(first, int(part))));
    body.push(...accumulators.map((target, i): Stmt => ({ kind: "assign", target, value: get(0)[i]! })));
    for (let part = 1; part < parts; part++) {
      const { lets, values } = merge(accumulators, get(part));
      body.push(...lets, ...accumulators.map((target, i): Stmt => ({ kind: "assign", target, value: values[i]! })));
    }
    return { body, values: accumulators };
  };
}

const shared = (k: Lowering, dtype: ArrayDecl["dtype"], length: number): ArrayDecl => {
  return { name: k.names.fresh("s"), dtype, length, space: "workgroup" };
};

/** A thread's number in its workgroup, numbered so that the threads of a subgroup are consecutive. */
export const threadOf = (threads: number, subgroup: number, variable: (name: string, max: number) => Expr): Expr =>
  subgroup === 0
    ? variable("lid", threads - 1)
    : add(mul(variable("subgroup_id", threads / subgroup - 1), int(subgroup)), variable("lane", subgroup - 1));
