/**
 * Row reductions: reductions over the same axes of the same rows, in dependency order, with everything elementwise
 * before, between and after them. A thread takes whole rows, or several threads share each row.
 */

import {
  address,
  coresOf,
  type Env,
  type Group,
  type Placement,
  reducedAxes,
  type Store,
} from "../../../fusion/index.ts";
import { finishOf, liftOf, type ScalarAlgebra } from "../../../ir/algebra.ts";
import type { Node } from "../../../ir/node.ts";
import { cast, type Expr, int, type Stmt, type Var, variable } from "../../../kernel/index.ts";
import { and, mentions, select, substitute } from "../../../kernel/simplify.ts";
import { type Coordinates, coordinatesOf, envAt } from "../../coordinates.ts";
import { type Lowering, unflatten } from "../../kernel.ts";
import { registerType } from "../../values.ts";
import { elementsOfRow, type Steps } from "./elements.ts";
import { type Folded, inOnePass, oneByOne } from "./foldings.ts";
import { scalarExprs, startOf } from "./scalar-expressions.ts";

/** Groups folds into rounds: each depends only on results of earlier rounds. */
function rounds(folded: readonly Folded[], group: Group, places: Placement): Folded[][] {
  const out: Folded[][] = [];
  const folds = new Map(folded.flatMap((f) => f.cores.map((core) => [core, f] as const)));
  const roundOf = new Map<Node, number>();
  const depth = (node: Node): number => {
    const known = roundOf.get(node);
    if (known !== undefined) return known;
    if (places.get(node)!.ready < group.position) return -1;
    // A fused fold depends on what its first reduction depends on.
    const { operands } = folds.get(node)?.cores[0] ?? node;
    const d = Math.max(-1, ...operands.map(depth)) + (folds.has(node) ? 1 : 0);
    roundOf.set(node, d);
    return d;
  };
  for (const f of folded) (out[depth(f.cores[0]!)] ??= []).push(f);
  return out;
}

/** A fold of a row in progress: the arithmetic of its dtype, and its accumulators. */
interface Folding extends Folded {
  readonly row: OpenRow;
  readonly scalars: ScalarAlgebra<Expr>;
  readonly accumulators: readonly Var[];
}

/** Values for use together, and the `let` statements that name them. */
interface Named {
  readonly lets: readonly Stmt[];
  readonly values: readonly Expr[];
}

/** How threads share a row: which elements each takes, and how partial results are combined. */
export interface Sharing extends Steps {
  /**
   * Statements after which every thread has the combined accumulators of all threads, and the expressions for them.
   * `merge` combines two sets of accumulators; it is commutative.
   */
  combine(
    accumulators: readonly Var[],
    merge: (a: readonly Expr[], b: readonly Expr[]) => Named,
  ): { readonly body: readonly Stmt[]; readonly values: readonly Expr[] };
}

/** A row that a thread works on; `inside`: whether it exists. Nothing is stored for rows that only pad a workgroup. */
export interface Line {
  /** Its flat index, or the index of each axis. */
  readonly row: Expr | Env;
  readonly inside?: Expr | undefined;
}

/** A row being reduced: its coordinates, and whether it exists. */
interface OpenRow {
  readonly at: Coordinates;
  readonly inside: Expr | undefined;
}

class RowLowering {
  private readonly k: Lowering;
  private readonly group: Group;
  private readonly places: Placement;
  private readonly rows: readonly OpenRow[];
  private readonly shared: Sharing | undefined;

  constructor(k: Lowering, lines: readonly Line[], shared: Sharing | undefined) {
    this.k = k;
    this.group = k.fused.group!;
    this.places = k.places;
    this.shared = shared;
    const axes = this.group.rows.map((c) => c.axis);
    this.rows = lines.map(({ row, inside }) => {
      const env = row instanceof Map ? row : unflatten(row as Expr, axes);
      return { at: coordinatesOf(this.group.rows, env), inside };
    });
  }

  body(): Stmt[] {
    const cores = this.group.cores.filter((c) => coresOf(this.group, this.k.fused.stores, this.places).has(c));
    // Rows held in registers cost nothing to read again.
    const isRead = this.shared && this.shared.turns === undefined;
    const folded = isRead ? inOnePass(cores) : oneByOne(cores);
    const out = rounds(folded, this.group, this.places).flatMap((round) => this.round(round));
    const whole = (s: Store) =>
      [...this.places.get(s.value)!.env!.values()].some((e) =>
        this.group.reduced.some((r) => mentions(e, (r.index as Var).name)),
      );
    const perRow = this.k.fused.stores.filter((s) => !whole(s));
    const perElement = this.k.fused.stores.filter(whole);
    if (perRow.length > 0) out.push(...this.once(this.stores(perRow, (r) => [r.at], undefined)));
    if (perElement.length > 0) {
      const atEach = (envs: readonly Env[]) => (r: OpenRow) => envs.map((env) => this.coordinates(r, env));
      out.push(...this.loop((envs, inside) => this.stores(perElement, atEach(envs), inside)));
    }
    return out;
  }

  /** Stores at coordinates of each row, with rows of the same condition under one guard. */
  private stores(
    stores: readonly Store[],
    places: (row: OpenRow) => readonly Coordinates[],
    inside: Expr | undefined,
  ): Stmt[] {
    return [...Map.groupBy(this.rows, (r) => r.inside)].flatMap(([own, rows]): Stmt[] => {
      const body = rows.flatMap(places).flatMap((at) => this.k.storesAt(stores, at));
      const condition = inside && own ? and(inside, own) : (inside ?? own);
      return condition ? [{ kind: "if", condition, body }] : body;
    });
  }

  private once(body: Stmt[]): Stmt[] {
    if (!this.shared) return body;
    return [
      { kind: "if", condition: { kind: "compare", dtype: "bool", op: "eq", a: this.shared.first, b: int(0) }, body },
    ];
  }

  private coordinates({ at }: OpenRow, env: Env): Coordinates {
    return new Map([...at, ...coordinatesOf(this.group.reduced, env)]);
  }

  private loop(body: (envs: readonly Env[], inside: Expr | undefined) => Stmt[]): Stmt[] {
    const axes = this.group.reduced.map((c) => c.axis);
    return elementsOfRow(this.k, axes, body, this.shared);
  }

  private round(folded: readonly Folded[]): Stmt[] {
    const foldings = this.rows.flatMap((row) => folded.map((f) => this.folding(row, f)));
    const out = foldings.flatMap(({ fold, accumulators }) =>
      accumulators.map((target, i): Stmt => {
        const value = startOf(fold.accumulators[i]!.start, target.dtype);
        return { kind: "var", target, value };
      }),
    );
    out.push(
      ...this.loop((envs, inside) =>
        envs.flatMap((env) => foldings.flatMap((f) => this.step(f, this.coordinates(f.row, env), inside))),
      ),
    );
    const combined = this.combined(foldings, out);
    for (const [i, { cores, fold, scalars, row }] of foldings.entries()) {
      const values = cores.length > 1 ? combined[i]! : [finishOf(fold, scalars, combined[i]!)];
      for (const [c, core] of cores.entries()) {
        const { target, stmt } = this.k.let("red", cast(values[c]!, registerType(core.type.dtype)));
        out.push(stmt);
        this.k.values.bind(core, envAt(core, this.places, row.at), target);
      }
    }
    return out;
  }

  private folding(row: OpenRow, folded: Folded): Folding {
    const dtype = registerType(folded.cores[0]!.operands[0]!.type.dtype);
    const accumulators = folded.fold.accumulators.map(({ holds }) =>
      variable(this.k.names.fresh("acc"), holds === "position" ? "i32" : dtype),
    );
    return { row, ...folded, scalars: scalarExprs(dtype), accumulators };
  }

  /** Folds one element into the accumulators. */
  private step({ cores, fold, scalars, accumulators }: Folding, at: Coordinates, inside: Expr | undefined): Stmt[] {
    const core = cores[0]!;
    const seen = new Set<Node>();
    for (const operand of core.operands) this.k.bindMoved(operand, at, seen);
    const env = new Map([...this.group.names].map(([name, index]) => [name, substitute(index, at)]));
    const operands = core.operands.map((o) =>
      this.k.values.at(o, new Map(o.type.axes.map((a) => [a.name, env.get(a.name)!]))),
    );
    const position = address(reducedAxes(core), env);
    const { lets, values } = this.settled(liftOf(fold, scalars, operands, position));
    const merged = this.settled(fold.merge(scalars, accumulators, values));
    const assigns = accumulators.map((target, i): Stmt => {
      const value = merged.values[i]!;
      return { kind: "assign", target, value: inside ? select(inside, value, target) : value };
    });
    return [...lets, ...merged.lets, ...assigns];
  }

  /** Values that are assigned together: if there are several, each is named before any is assigned. */
  private settled(values: readonly Expr[]): Named {
    if (values.length === 1) return { lets: [], values };
    const named = values.map((v) => this.k.let("f", v));
    return { lets: named.map((n) => n.stmt), values: named.map((n) => n.target) };
  }

  /** Combines the accumulators of all threads, for all folds at once, so that they share their barriers. */
  private combined(foldings: readonly Folding[], out: Stmt[]): readonly (readonly Expr[])[] {
    const inParts = <T>(all: readonly T[]): T[][] => {
      let from = 0;
      return foldings.map(({ accumulators: { length } }) => all.slice(from, (from += length)));
    };
    const own = foldings.flatMap((f) => f.accumulators);
    if (!this.shared) return inParts(own);
    const { body, values } = this.shared.combine(own, (a, b) => {
      const [left, right] = [inParts(a), inParts(b)];
      const merged = foldings.map(({ fold, scalars }, i) => this.settled(fold.merge(scalars, left[i]!, right[i]!)));
      return { lets: merged.flatMap((m) => m.lets), values: merged.flatMap((m) => m.values) };
    });
    out.push(...body);
    return inParts(values);
  }
}

/** The statements for rows that the same threads reduce side by side. */
export const lowerRows = (k: Lowering, lines: readonly Line[], shared?: Sharing): Stmt[] =>
  new RowLowering(k, lines, shared).body();

/** The statements for one row; without `shared`, a single thread reduces it. */
export const lowerRow = (k: Lowering, row: Expr, shared?: Sharing): Stmt[] => lowerRows(k, [{ row }], shared);
