/** How threads that share rows make one fold of what each of them has. */
import {
  type ArrayDecl,
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

/** Threads of a workgroup that share a row: thread `lid` is the `lane`th of `lanes`, which are `apart` from each other. */
export interface Lanes {
  readonly threads: number;
  readonly lid: Expr;
  readonly lane: Expr;
  readonly lanes: number;
  readonly apart: number;
}

/** Lanes of a subgroup that a kernel may count on; 0 where it may count on none. */
export function knownSubgroup({ features, subgroupSizes: { min, max } }: AdapterFacts): number {
  if (!features.has("subgroups") || (min !== max && !features.has("subgroup_size"))) return 0;
  return min === max ? min : Math.max(min, Math.min(32, max));
}

/** In memory that they share: half of the lanes that are left take over what the other half has, until one has it all. */
export function treeOf(k: Lowering, { threads, lid, lane, lanes, apart }: Lanes, arrays: ArrayDecl[]): Combine {
  const first = apart > 1 ? mod(lid, int(apart)) : mul(div(lid, int(lanes)), int(lanes));
  return (accumulators, merge) => {
    const own = accumulators.map(({ dtype }) => shared(k, dtype, threads));
    arrays.push(...own);
    const get = (i: Expr) => own.map((a) => element(a.name, a.dtype, i));
    const set = (values: readonly Expr[]) =>
      own.map((a, i): Stmt => ({ kind: "set", array: a.name, index: lid, value: values[i]! }));
    const body: Stmt[] = [...set(accumulators), { kind: "barrier" }];
    for (let half = lanes >> 1; half > 0; half >>= 1) {
      const { lets, values } = merge(get(lid), get(floatArith("add", lid, int(half * apart))));
      body.push({ kind: "if", condition: lt(lane, int(half)), body: [...lets, ...set(values)] }, { kind: "barrier" });
    }
    return { body, values: get(first) };
  };
}

/**
 * Through the registers of a subgroup, whose lanes each fold with the one that differs in one bit, bit after bit; then, where
 * several subgroups share the row, all fold what the first lanes of these put into memory.
 */
export function exchangeOf(
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
    body.push({ kind: "if", condition: eq(mod(lid, int(subgroup)), int(0)), body: put }, { kind: "barrier" });
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

/** A thread's number in its workgroup, such that those of one subgroup are neighbours. */
export const threadOf = (threads: number, subgroup: number, variable: (name: string, max: number) => Expr): Expr =>
  subgroup === 0
    ? variable("lid", threads - 1)
    : add(mul(variable("subgroup_id", threads / subgroup - 1), int(subgroup)), variable("lane", subgroup - 1));
