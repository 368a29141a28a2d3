/** Loops over axes: flattened as far as all addresses stay linear in the counter, nested to avoid divisions. */
import { dimExpr, indexOver, isMultipleOf, spanOf } from "../fusion/index.ts";
import { type Dim, divideDims } from "../ir/dim.ts";
import type { Axis } from "../ir/type.ts";
import { children, type Expr, expressions, int, type Stmt, type Var, variable } from "../kernel/index.ts";
import { add, mentions, mul } from "../kernel/simplify.ts";
import { type Lowering, unflatten } from "./kernel.ts";

/** How the threads of a workgroup split a loop: each starts at its own index and advances by a common step. */
export interface Stride {
  readonly first: Expr;
  readonly step: number;
}

export interface LoopOptions {
  readonly shared?: Stride | undefined;
  /** Unroll factor, applied if it divides the trip count: neighbours in memory are then accessed together. */
  readonly unroll?: number;
  /** Whether to unroll even if the factor does not divide the trip count, with a remainder loop for the rest. */
  readonly rest?: boolean;
}

type Indices = Map<string, Expr>;
type Body = (env: Indices) => Stmt[];

/**
 * Emits `body` for every index of the axes, in row-major order; it is given the index of each axis by name and may be
 * called more than once. A loop shared between threads is always flat.
 */
export const loopOver = (k: Lowering, axes: readonly Axis[], body: Body, options: LoopOptions = {}): Stmt[] =>
  loopOverIterations(k, axes, (envs) => envs.flatMap(body), options);

/** The same for a body that is given all indices of one unrolled iteration together. */
export function loopOverIterations(
  k: Lowering,
  axes: readonly Axis[],
  body: (turn: readonly Indices[]) => Stmt[],
  options: LoopOptions = {},
): Stmt[] {
  const { shared } = options;
  const most = shared ? 1 : (options.unroll ?? 1);
  const turnsOf = (size: Dim): Turns => {
    if (isMultipleOf(size, most)) return { unroll: most, whole: divideDims(size, most)!, left: 0 };
    if (!options.rest || typeof size !== "number" || size < 2 * most) return { unroll: 1, whole: size, left: 0 };
    return { unroll: most, whole: Math.floor(size / most), left: size % most };
  };
  // The fewest loops whose addresses are linear in their counters: the last axes flattened, outer axes nested.
  for (let nested = 0; ; nested++) {
    const [outer, flat] = [axes.slice(0, nested), axes.slice(nested)];
    const counters = outer.map((a) => indexOver(k.names.fresh("k"), a.size));
    const named = outer.map((a, i) => [a.name, counters[i]!] as const);
    const envOf = (index: Expr): Indices => new Map([...named, ...unflatten(index, flat)]);
    const inner = loopOne(k, turnsOf(spanOf(flat)), (turn) => body(turn.map(envOf)), shared);
    if (!shared && flat.length > 1 && inner.some((s) => divides([s], s.index))) continue;
    return counters.reduceRight<Stmt[]>(
      (stmts, index, i) => [{ kind: "for", index, from: int(0), to: dimExpr(outer[i]!.size), step: 1, body: stmts }],
      inner,
    );
  }
}

/** An unrolled loop: `whole` iterations of `unroll` indices, then `left` indices in a remainder loop. */
interface Turns {
  readonly unroll: number;
  readonly whole: Dim;
  readonly left: number;
}

type Loop = Extract<Stmt, { kind: "for" }>;

function loopOne(
  k: Lowering,
  { unroll, whole, left }: Turns,
  body: (turn: readonly Expr[]) => Stmt[],
  shared?: Stride,
): Loop[] {
  const index = indexOver(k.names.fresh("k"), whole);
  const inner = body(Array.from({ length: unroll }, (_, u) => add(mul(index, int(unroll)), int(u))));
  const [from, step] = shared ? [shared.first, shared.step] : [int(0), 1];
  const turns: Loop = { kind: "for", index, from, to: dimExpr(whole), step, body: inner };
  if (left === 0) return [turns];
  const first = Number(whole) * unroll;
  const rest = variable(k.names.fresh("k"), "i32", { min: first, max: first + left - 1 });
  return [turns, { kind: "for", index: rest, from: int(first), to: int(first + left), step: 1, body: body([rest]) }];
}

/** Whether statements divide, or take the remainder of, something that depends on a counter. */
function divides(body: readonly Stmt[], counter: Var): boolean {
  const seen = new Set<Expr>();
  const visit = (e: Expr): boolean => {
    if (seen.has(e)) return false;
    seen.add(e);
    if (e.kind === "arith" && e.dtype === "i32" && (e.op === "div" || e.op === "mod") && mentions(e, counter.name))
      return true;
    return children(e).some(visit);
  };
  return body.some(
    (s) => expressions(s).some(visit) || ((s.kind === "for" || s.kind === "if") && divides(s.body, counter)),
  );
}

/** Statements under a condition: unguarded if it is known to hold, none if it is known not to. */
export function ifInside(inside: Expr, body: readonly Stmt[]): Stmt[] {
  if (inside.kind !== "const") return [{ kind: "if", condition: inside, body }];
  return inside.value ? [...body] : [];
}
