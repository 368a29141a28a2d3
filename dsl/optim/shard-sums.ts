/**
 * Sums over whole parameters where each process has a part of them, for rules with norms of parameters such as LAMB: a
 * graph computes a process's terms, which are added up over all processes before the graph of the update reads them.
 */
import { type ArenaLayout, inputName, isState, topological, UsageError } from "../../compiler/index.ts";
import { axis } from "../axis.ts";
import { broadcast, concat, constant, slice, state, sum, type Tensor } from "../tensor.ts";
import { trainingState } from "../training-state.ts";
import type { Kept, Stored } from "./accumulation.ts";
import type { Placed } from "./arenas.ts";
import { overRanges, type Summed, sumsOfRanges } from "./sum-of-each.ts";
import { applyRule, type UpdateRule } from "./update-rule.ts";

/** The part of an arena that a process has. */
interface Part {
  readonly layout: ArenaLayout;
  readonly axis: Placed["axis"];
}

export interface ShardSums {
  /** The sums in the store, f32 [sum]: for each arena and call of `sumOfEach`, one for each parameter. */
  readonly kept: Kept;
  /** The whole sums of an arena's nth call, broadcast over the parameters of a part. */
  readonly whole: (arena: number, part: Part, nth: number) => Tensor<"arena">;
  /** This process's terms of all sums; arenas that it has no part of add 0. Throws UsageError for sums of sums. */
  readonly terms: (parts: ReadonlyMap<number, Part & { readonly summed: Summed }>) => Stored;
}

/** Undefined for a rule without such sums. */
export function shardSums(rule: UpdateRule, placed: readonly Placed[]): ShardSums | undefined {
  const entries = placed.map(({ arena }) => arena.layout.entries);
  const calls = placed.map((place) => callsOf(rule, place));
  const starts = entries.map((_, i) => entries.slice(0, i).reduce((n, e, j) => n + calls[j]! * e.length, 0));
  const length = entries.reduce((n, e, i) => n + calls[i]! * e.length, 0);
  if (length === 0) return undefined;
  const along = axis("sum", length);
  const sums = state(stateName, "f32", [along]) as Tensor<"sum">;
  const indexIn = (i: number, name: string) => entries[i]!.findIndex((e) => e.name === name);
  const termsOf = (i: number, { layout, axis: arena, summed }: Part & { readonly summed: Summed }) =>
    summed.flatMap((x) => {
      const terms = new Array<Tensor<never>>(entries[i]!.length).fill(constant(0));
      const own = sumsOfRanges(x, layout, arena);
      for (const [j, { name }] of layout.entries.entries()) terms[indexIn(i, name)] = own[j]!;
      return terms;
    });
  return {
    kept: { name: stateName, type: sums.type },
    whole: (i, { layout, axis: arena }, nth) => {
      const first = starts[i]! + nth * entries[i]!.length;
      const totalOf = (name: string) => sum(slice(sums, along, first + indexIn(i, name), 1), along) as Tensor<never>;
      return overRanges(
        layout.entries.map((e) => totalOf(e.name)),
        layout,
        arena,
      );
    },
    terms: (parts) => {
      const all = entries.flatMap((e, i) => {
        const part = parts.get(i);
        return part ? termsOf(i, part) : new Array<Tensor<never>>(calls[i]! * e.length).fill(constant(0));
      });
      const node = concat(
        all.map((x) => broadcast(x, axis("sum", 1))),
        along,
      );
      requireNoSums(rule, node);
      return { output: "sums", state: stateName, node };
    },
  };
}

const stateName = "train.shard.sums";

/** How often a rule calls `sumOfEach`. */
function callsOf(rule: UpdateRule, { before }: Placed): number {
  let calls = 0;
  const { parameter } = before;
  const sumOfEach = (x: Tensor<"arena">) => {
    calls += 1;
    return x;
  };
  const step = state(trainingState.step, "i32", []) as Tensor<never>;
  applyRule(rule, { ...before, gradient: parameter, rate: parameter, decay: parameter, step, sumOfEach });
  return calls;
}

/** The terms are computed before any sum is known. */
function requireNoSums({ name }: UpdateRule, node: Tensor<"sum">): void {
  if (!topological([node]).some((n) => isState(n) && inputName(n) === stateName)) return;
  throw new UsageError(
    `the rule "${name}" sums values that depend on another sumOfEach, which sharded state (--shard) does not support: leave it whole`,
  );
}
