/**
 * Row reductions: reductions over the same axes of the same rows, in the order in which they need one another, with
 * everything elementwise before, between and after them. A thread takes whole rows, or several threads share each row.
 */

import { address } from "../../../fusion/access.ts";
import { coresOf, type Store } from "../../../fusion/demand.ts";
import { type Group, type Placement, reducedAxes } from "../../../fusion/groups.ts";
import { type Accumulator, type Fold, finishOf, liftOf, type ScalarAlgebra } from "../../../ir/algebra.ts";
import type { DType } from "../../../ir/dtype.ts";
import type { Node } from "../../../ir/node.ts";
import { foldOf } from "../../../ir/op.ts";
import { cast, type Expr, float, floatArith, int, opCall, type Var, variable } from "../../../kernel/expr.ts";
import type { Stmt } from "../../../kernel/kernel.ts";
import { mentions, select, substitute } from "../../../kernel/simplify.ts";
import { type Coordinates, coordinatesOf, envAt } from "../../coordinates.ts";
import { type Lowering, unflatten } from "../../kernel.ts";
import { loopOver, type Stride } from "../../loops.ts";
import { registerType } from "../../values.ts";

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

/** A core on its way: its fold, the arithmetic of its dtype, and its accumulators. */
interface Folding {
  readonly core: Node;
  readonly fold: Fold;
  readonly scalars: ScalarAlgebra<Expr>;
  readonly accumulators: readonly Var[];
}

/** Values that are used together, after the statements that give them names. */
interface Named {
  readonly lets: readonly Stmt[];
  readonly values: readonly Expr[];
}

/** How threads share a row: where each begins and how far it steps, and how what they have folded becomes one. */
export interface Sharing extends Stride {
  /**
   * Statements after which each thread has the fold of all threads' accumulators, and where. `merge` is the fold of two
   * sets of accumulators; it does not mind their order.
   */
  combine(
    accumulators: readonly Var[],
    merge: (a: readonly Expr[], b: readonly Expr[]) => Named,
  ): { readonly body: readonly Stmt[]; readonly values: readonly Expr[] };
}

class RowLowering {
  private readonly k: Lowering;
  private readonly group: Group;
  private readonly places: Placement;
  private readonly rows: Coordinates;
  private readonly shared: Sharing | undefined;

  constructor(k: Lowering, row: Expr, shared: Sharing | undefined) {
    this.k = k;
    this.group = k.fused.group!;
    this.places = k.places;
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
    return this.k.storesAt(stores, at);
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
    const foldings = cores.map((core) => this.folding(core));
    const out = foldings.flatMap(({ fold, accumulators }) =>
      accumulators.map((target, i): Stmt => {
        const value = startOf(fold.accumulators[i]!.start, target.dtype);
        return { kind: "var", target, value };
      }),
    );
    out.push(...this.loop((at) => foldings.flatMap((f) => this.step(f, at))));
    for (const f of foldings) {
      const value = finishOf(f.fold, f.scalars, this.combined(f, out));
      const { target, stmt } = this.k.let("red", cast(value, registerType(f.core.type.dtype)));
      out.push(stmt);
      this.k.values.bind(f.core, envAt(f.core, this.places, this.rows), target);
    }
    return out;
  }

  private folding(core: Node): Folding {
    const { fold } = foldOf(core)!;
    const dtype = registerType(core.operands[0]!.type.dtype);
    const accumulators = fold.accumulators.map(({ holds }) =>
      variable(this.k.names.fresh("acc"), holds === "position" ? "i32" : dtype),
    );
    return { core, fold, scalars: scalarExprs(dtype), accumulators };
  }

  /** Folds one element into the accumulators. */
  private step({ core, fold, scalars, accumulators }: Folding, at: Coordinates): Stmt[] {
    const seen = new Set<Node>();
    for (const operand of core.operands) this.k.bindMoved(operand, at, seen);
    const env = new Map([...this.group.names].map(([name, index]) => [name, substitute(index, at)]));
    const operands = core.operands.map((o) =>
      this.k.values.at(o, new Map(o.type.axes.map((a) => [a.name, env.get(a.name)!]))),
    );
    const position = address(reducedAxes(core), env);
    const { lets, values } = this.settled(liftOf(fold, scalars, operands, position));
    const merged = this.settled(fold.merge(scalars, accumulators, values));
    const assigns = accumulators.map((target, i): Stmt => ({ kind: "assign", target, value: merged.values[i]! }));
    return [...lets, ...merged.lets, ...assigns];
  }

  /** Values that are used together: where there are several, each has a name before any of them is assigned. */
  private settled(values: readonly Expr[]): Named {
    if (values.length === 1) return { lets: [], values };
    const named = values.map((v) => this.k.let("f", v));
    return { lets: named.map((n) => n.stmt), values: named.map((n) => n.target) };
  }

  /** The fold of all threads' accumulators. */
  private combined({ fold, scalars, accumulators }: Folding, out: Stmt[]): readonly Expr[] {
    if (!this.shared) return accumulators;
    const { body, values } = this.shared.combine(accumulators, (a, b) => this.settled(fold.merge(scalars, a, b)));
    out.push(...body);
    return values;
  }
}

const leastF32 = -3.4028234663852886e38;
const ends: Readonly<Partial<Record<DType, { readonly lowest: number; readonly highest: number }>>> = {
  f32: { lowest: leastF32, highest: -leastF32 },
  i32: { lowest: -(2 ** 31), highest: 2 ** 31 - 1 },
  u32: { lowest: 0, highest: 2 ** 32 - 1 },
};

/** WGSL has no infinities: the ends of a range are those of its finite values. */
const startOf = (start: Accumulator["start"], dtype: DType): Expr =>
  float(typeof start === "number" ? start : ends[dtype]![start], dtype);

/** The arithmetic of records as expressions of one dtype. */
function scalarExprs(dtype: DType): ScalarAlgebra<Expr> {
  const compare =
    (op: "lt" | "eq") =>
    (a: Expr, b: Expr): Expr => ({ kind: "compare", dtype: "bool", op, a, b });
  const logic =
    (op: "and" | "or") =>
    (a: Expr, b: Expr): Expr => ({ kind: "logic", dtype: "bool", op, a, b });
  return {
    constant: (value) => float(value, dtype),
    add: (a, b) => floatArith("add", a, b),
    sub: (a, b) => floatArith("sub", a, b),
    mul: (a, b) => floatArith("mul", a, b),
    min: (a, b) => floatArith("min", a, b),
    max: (a, b) => floatArith("max", a, b),
    less: compare("lt"),
    equal: compare("eq"),
    and: logic("and"),
    or: logic("or"),
    select,
    call: (op, ...operands) => opCall(op, dtype, operands),
  };
}

/** The statements of one row, which a thread has to itself where nothing says how threads share it. */
export const lowerRow = (k: Lowering, row: Expr, shared?: Sharing): Stmt[] => new RowLowering(k, row, shared).body();
