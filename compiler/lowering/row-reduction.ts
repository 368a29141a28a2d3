/**
 * Row reductions: reductions over the same axes of the same rows, in the order in which they need one another, with
 * everything elementwise before, between and after them. A thread takes whole rows, or a workgroup shares each row.
 */

import { InternalError } from "../diagnostics/error.ts";
import type { Env } from "../fusion/access.ts";
import { span } from "../fusion/access.ts";
import { coresOf, type Store } from "../fusion/demand.ts";
import type { Group, Placement } from "../fusion/groups.ts";
import type { Node } from "../ir/node.ts";
import { cast, type Expr, element, float, floatArith, int, type Var, variable } from "../kernel/expr.ts";
import type { ArrayDecl, Stmt } from "../kernel/kernel.ts";
import { lt, mentions, select, substitute } from "../kernel/simplify.ts";
import { type LoweredKernel, type Lowering, unflatten } from "./kernel.ts";
import { loopOver, type Stride } from "./loops.ts";
import { registerType } from "./values.ts";

/** Values of a group's coordinates, by the name of the coordinate. */
type Coordinates = ReadonlyMap<string, Expr>;

/** The env of a placed node once the group's coordinates have values. */
export function envAt(node: Node, places: Placement, at: Coordinates): Env {
  return new Map([...places.get(node)!.env!].map(([name, index]) => [name, substitute(index, at)]));
}

/** Coordinates, named as the group names them, from indices of their axes. */
export const coordinatesOf = (coords: Group["rows"], env: Env): Map<string, Expr> =>
  new Map(coords.map((c) => [(c.index as Var).name, env.get(c.axis.name)!]));

/** Cores in rounds: each needs only results of earlier rounds. */
function rounds(cores: readonly Node[], group: Group, places: Placement): Node[][] {
  const out: Node[][] = [];
  const roundOf = new Map<Node, number>();
  const depth = (node: Node): number => {
    const known = roundOf.get(node);
    if (known !== undefined) return known;
    if (places.get(node)!.ready < group.position) return -1;
    const d = Math.max(-1, ...node.operands.map(depth)) + (cores.includes(node) ? 1 : 0);
    roundOf.set(node, d);
    return d;
  };
  for (const core of cores) (out[depth(core)] ??= []).push(core);
  return out;
}

/** How one core folds: its start, and its new value from the old and one element. */
interface Fold {
  readonly start: Expr;
  readonly step: (acc: Expr, element: Expr) => Expr;
}

function foldOf(core: Node): Fold {
  const dtype = registerType(core.type.dtype);
  if (core.op === "reduce_max") {
    const least = dtype === "f32" ? -3.4028234663852886e38 : dtype === "u32" ? 0 : -(2 ** 31);
    return { start: float(least, dtype), step: (acc, v) => floatArith("max", acc, v) };
  }
  if (core.op === "reduce_sum" || core.op === "contract") {
    return { start: float(0, dtype), step: (acc, v) => floatArith("add", acc, v) };
  }
  throw new InternalError(`lower: ${core.op} is no row reduction`);
}

class RowLowering {
  private readonly k: Lowering;
  private readonly group: Group;
  private readonly places: Placement;
  private readonly rows: Coordinates;
  private readonly shared: Stride | undefined;
  readonly arrays: ArrayDecl[] = [];

  constructor(k: Lowering, places: Placement, row: Expr, shared: Stride | undefined) {
    this.k = k;
    this.group = k.fused.group!;
    this.places = places;
    this.shared = shared;
    const env = unflatten(
      row,
      this.group.rows.map((c) => c.axis),
    );
    this.rows = coordinatesOf(this.group.rows, env);
  }

  body(): Stmt[] {
    const cores = this.group.cores.filter((c) => coresOf(this.group, this.k.fused.stores, this.places).has(c));
    const out = rounds(cores, this.group, this.places).flatMap((round) => this.round(round));
    const whole = (s: Store) =>
      [...this.places.get(s.value)!.env!.values()].some((e) =>
        this.group.reduced.some((r) => mentions(e, (r.index as Var).name)),
      );
    const perRow = this.k.fused.stores.filter((s) => !whole(s));
    const perElement = this.k.fused.stores.filter(whole);
    if (perRow.length > 0) out.push(...this.once(this.storesAt(perRow, this.rows)));
    if (perElement.length > 0) out.push(...this.loop((at) => this.storesAt(perElement, at)));
    return out;
  }

  private storesAt(stores: readonly Store[], at: Coordinates): Stmt[] {
    return this.k.stores(stores.map((store) => ({ store, env: envAt(store.value, this.places, at) })));
  }

  private once(body: Stmt[]): Stmt[] {
    if (!this.shared) return body;
    return [
      { kind: "if", condition: { kind: "compare", dtype: "bool", op: "eq", a: this.shared.first, b: int(0) }, body },
    ];
  }

  private loop(body: (at: Coordinates) => Stmt[]): Stmt[] {
    const { reduced } = this.group;
    const axes = reduced.map((c) => c.axis);
    return loopOver(this.k, axes, (env) => body(new Map([...this.rows, ...coordinatesOf(reduced, env)])), {
      shared: this.shared,
      unroll: 4,
    });
  }

  private round(cores: readonly Node[]): Stmt[] {
    const plain = cores
      .filter((c) => c.op !== "argmax")
      .map((core) => ({ core, fold: foldOf(core), acc: this.mutable(core) }));
    const arg = cores.filter((c) => c.op === "argmax").map((core) => this.argmax(core));
    const out: Stmt[] = plain.map(({ fold, acc }) => ({ kind: "var", target: acc, value: fold.start }));
    out.push(...arg.flatMap((a) => a.declare));
    out.push(
      ...this.loop((at) => [
        ...plain.map(
          ({ core, fold, acc }): Stmt => ({
            kind: "assign",
            target: acc,
            value: fold.step(acc, this.elementOf(core, at)),
          }),
        ),
        ...arg.flatMap((a) => a.step(at)),
      ]),
    );
    for (const { core, fold, acc } of plain) {
      const { target, stmt } = this.k.let("red", this.combined(acc, fold, out));
      out.push(stmt);
      this.k.values.bind(core, envAt(core, this.places, this.rows), target);
    }
    for (const a of arg) out.push(...a.finish());
    return out;
  }

  private mutable(core: Node): Var {
    return variable(this.k.names.fresh("acc"), registerType(core.type.dtype));
  }

  /** What a core folds, at one index of its operand. */
  private elementOf(core: Node, at: Coordinates): Expr {
    const env = new Map([...this.group.names].map(([name, index]) => [name, substitute(index, at)]));
    const values = core.operands.map((o) =>
      this.k.values.at(o, new Map(o.type.axes.map((a) => [a.name, env.get(a.name)!]))),
    );
    return values.length === 2 ? floatArith("mul", values[0]!, values[1]!) : values[0]!;
  }

  /** The fold of all threads' accumulators: a tree in workgroup memory. */
  private combined(acc: Var, fold: Fold, out: Stmt[]): Expr {
    if (!this.shared) return acc;
    const { step: threads, first: lane } = this.shared;
    const array: ArrayDecl = { name: this.k.names.fresh("s"), dtype: acc.dtype, length: threads, space: "workgroup" };
    this.arrays.push(array);
    const get = (i: Expr) => element(array.name, array.dtype, i);
    out.push({ kind: "set", array: array.name, index: lane, value: acc }, { kind: "barrier" });
    for (let half = threads >> 1; half > 0; half >>= 1) {
      const other = floatArith("add", lane, int(half));
      out.push(
        {
          kind: "if",
          condition: lt(lane, int(half)),
          body: [{ kind: "set", array: array.name, index: lane, value: fold.step(get(lane), get(other)) }],
        },
        { kind: "barrier" },
      );
    }
    return get(int(0));
  }

  /** The first index of the largest value: two accumulators that move together. Never shared between threads. */
  private argmax(core: Node) {
    const axis = this.group.reduced[0]!;
    const dtype = registerType(core.operands[0]!.type.dtype);
    const best = variable(this.k.names.fresh("best"), dtype);
    const index = variable(this.k.names.fresh("at"), "i32");
    const declare: Stmt[] = [
      { kind: "var", target: best, value: float(dtype === "f32" ? -3.4028234663852886e38 : -(2 ** 31), dtype) },
      { kind: "var", target: index, value: int(0) },
    ];
    const step = (at: Coordinates): Stmt[] => {
      const { target, stmt } = this.k.let("x", this.elementOf(core, at));
      const larger: Expr = { kind: "compare", dtype: "bool", op: "lt", a: best, b: target };
      return [
        stmt,
        { kind: "assign", target: index, value: select(larger, at.get((axis.index as Var).name)!, index) },
        { kind: "assign", target: best, value: select(larger, target, best) }, // max may give nan for nan
      ];
    };
    const finish = (): Stmt[] => {
      const { target, stmt } = this.k.let("red", cast(index, "i32"));
      this.k.values.bind(core, envAt(core, this.places, this.rows), target);
      return [stmt];
    };
    return { declare, step, finish };
  }
}

export function lowerRowReduction(k: Lowering, places: Placement): LoweredKernel {
  const group = k.fused.group!;
  const rows = span(group.rows.map((c) => c.axis));
  const width = span(group.reduced.map((c) => c.axis));
  const threads = k.schedule.rowThreads;
  const shares = threads > 1 && width >= threads && group.cores.every((c) => c.op !== "argmax");
  if (!shares) {
    const shape = k.perThread(rows, (row) => new RowLowering(k, places, row, undefined).body());
    return k.finish("row_reduction", shape);
  }
  const { grid, workgroup } = k.grid(rows);
  const row = variable("row", "i32", { min: 0, max: rows - 1 });
  const lane = variable("lid", "i32", { min: 0, max: threads - 1 });
  const lowering = new RowLowering(k, places, row, { first: lane, step: threads });
  const inner = lowering.body();
  const full = lt(workgroup, int(rows)).kind === "const";
  const guarded: Stmt[] = full
    ? inner
    : [{ kind: "if", condition: { kind: "compare", dtype: "bool", op: "lt", a: row, b: int(rows) }, body: inner }];
  const body: Stmt[] = [{ kind: "let", target: row, value: workgroup }, ...guarded];
  return k.finish("row_reduction", { body, grid, workgroup: [threads, 1, 1], arrays: lowering.arrays });
}
