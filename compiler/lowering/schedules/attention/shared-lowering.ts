/**
 * Tiled attention in workgroup memory. Each thread computes a block of logits, some rows by four columns, and
 * accumulates some columns of its rows' results in registers. Vectors are staged through one slab, a piece of their
 * length at a time, so that heads of any width fit; weights go through a strip, shared by the threads of a row.
 */
import type { Node } from "../../../ir/node.ts";
import {
  type ArrayDecl,
  bool,
  builtin,
  component,
  construct,
  type Expr,
  element,
  float,
  floatArith,
  indexVar,
  int,
  type Stmt,
  type Var,
  variable,
  variableFor,
  type Width,
} from "../../../kernel/index.ts";
import { add, and, div, lt, mod, mul, select } from "../../../kernel/simplify.ts";
import type { KernelCode } from "../../kernel.ts";
import { clamped } from "../contraction/problem.ts";
import {
  fadd,
  fmul,
  fsub,
  guardedFours,
  hidden,
  isTrue,
  least,
  meanOf,
  notAbove,
  ofSeen,
  partOf,
  passOf,
  rowStores,
  storeElement,
} from "./problem.ts";
import {
  columns,
  columnsOf,
  foursOf,
  lengthOf,
  linePitch,
  rowsOf,
  type SharedTile,
  slabSize,
  stripPitch,
  threadsOf,
} from "./shared-tile.ts";
import { type Frame, lastOf, type Vectors } from "./sides.ts";
import { bring, oddPitch, type Slab, slabArray } from "./slab.ts";

const barrier: Stmt = { kind: "barrier" };

export const lowerShared = (frame: Frame, t: SharedTile): KernelCode => new SharedLowering(frame, t).run();

/** A thread's accumulators of a result: vec4s for each of its rows. */
interface Sums {
  readonly core: Node;
  readonly vectors: Vectors;
  readonly fours: readonly (readonly Var[])[];
}

type Block = readonly (readonly Expr[])[];

export class SharedLowering {
  protected readonly frame: Frame;
  protected readonly t: SharedTile;
  protected readonly slab: Slab["array"];
  private readonly strip: ArrayDecl;
  /** Partial reductions exchanged by the threads of a row, packed by rows. */
  private readonly told: readonly ArrayDecl[];
  private readonly toldWidth: 1 | 2 | 4;
  private lid: Expr = int(0);
  protected down: Expr = int(0);
  protected across: Expr = int(0);

  constructor(frame: Frame, t: SharedTile) {
    this.frame = frame;
    this.t = t;
    const { names } = frame.k;
    this.slab = slabArray(names.fresh("slab"), "f32", slabSize(frame.p, t));
    const length = 4 * rowsOf(t) * stripPitch(t);
    this.strip = { name: names.fresh("strip"), dtype: "f32", width: 4, length, space: "workgroup" };
    this.toldWidth = Math.min(4, t.rows) as 1 | 2 | 4;
    this.told = range(t.rows / this.toldWidth).map(() => ({
      name: names.fresh("told"),
      dtype: "f32",
      ...(this.toldWidth > 1 && { width: this.toldWidth as Width }),
      length: threadsOf(t) * this.toldWidth,
      space: "workgroup",
    }));
  }

  run(): KernelCode {
    const { t, frame } = this;
    const kernel = frame.perTile(
      rowsOf(t),
      threadsOf(t),
      (lid) => {
        this.lid = lid;
        this.down = div(lid, int(t.across));
        this.across = mod(lid, int(t.across));
        return this.body();
      },
      t.single === 1,
    );
    return { ...kernel, arrays: this.arrays() };
  }

  protected arrays(): ArrayDecl[] {
    return [this.slab, this.strip, ...this.told];
  }

  protected body(): Stmt[] {
    const rows = this.rows();
    return passOf(this.frame.p.cores[0]!) === "forward" ? this.forward(rows) : this.backward(rows);
  }

  protected rows(): Row[] {
    return range(this.t.rows).map((i) => this.frame.row(add(mul(this.down, int(this.t.rows)), int(i))));
  }

  protected bind(out: Stmt[], prefix: string, value: Expr): Var {
    const { target, stmt } = this.frame.k.let(prefix, value);
    out.push(stmt);
    return target;
  }

  protected variable(out: Stmt[], value: Expr): Var {
    const target = variableFor(this.frame.k.names.fresh("a"), value);
    out.push({ kind: "var", target, value });
    return target;
  }

  private loop(out: Stmt[], turns: number, body: (index: Expr, out: Stmt[]) => void): void {
    const index = indexVar(this.frame.k.names.fresh("e"), turns);
    const inner: Stmt[] = [];
    body(turns === 1 ? int(0) : index, inner);
    out.push(
      ...(turns === 1 ? inner : [{ kind: "for", index, from: int(0), to: int(turns), step: 1, body: inner } as const]),
    );
  }

  /** A loop over blocks of columns. */
  private walk(out: Stmt[], body: (from: Expr) => Stmt[]): void {
    const count = this.frame.blocks(columnsOf(this.t));
    const index = variable(this.frame.k.names.fresh("k"), "i32", { min: 0, max: lastOf(count) });
    const [from, each] = [mul(index, int(columnsOf(this.t))), columnsOf(this.t)];
    const block = this.frame.unlessHidden(from, each, rowsOf(this.t), body(from));
    out.push({ kind: "for", index, from: int(0), to: count, step: 1, body: block });
  }

  private sumsOf(out: Stmt[], core: Node, vectors: Vectors): Sums {
    const zero = construct(4, [float(0)]);
    const count = foursOf(lengthOf(vectors.axes), this.t);
    return { core, vectors, fours: range(this.t.rows).map(() => range(count).map(() => this.variable(out, zero))) };
  }

  /** Dot products of a thread's rows and columns; columns are `across` lines apart in the slab, adjacent in strips. */
  protected products(out: Stmt[], own: Vectors, walked: Vectors, from: Expr): Block {
    const { t, frame, slab } = this;
    const pitch = oddPitch(t.depth, 4);
    const rowSlab: Slab = { array: slab, pitch, offset: 0 };
    const columnSlab: Slab = { array: slab, pitch, offset: rowsOf(t) * pitch };
    const sums = range(t.rows).map(() => range(columns).map(() => this.variable(out, float(0))));
    const by = { lid: this.lid, threads: threadsOf(t) };
    this.loop(out, Math.ceil(lengthOf(own.axes) / t.depth), (piece, inner) => {
      const first = mul(piece, int(t.depth));
      const rows = bring(frame.k, rowSlab, { lines: rowsOf(t), elements: t.depth }, by, (line, e) =>
        frame.element(own, frame.row(line).env, add(first, e), 4),
      );
      const others = bring(frame.k, columnSlab, { lines: columnsOf(t), elements: t.depth }, by, (line, e) => {
        const column = add(mul(mod(line, int(t.across)), int(columns)), div(line, int(t.across)));
        return frame.element(walked, frame.column(add(from, column)).env, add(first, e), 4);
      });
      inner.push(...rows.loads, ...others.loads, barrier, ...rows.sets, ...others.sets, barrier);
      this.loop(inner, t.depth / 4, (four, turn) => {
        const read = (at: Expr) => this.bind(turn, "v", element(slab.name, "f32", add(at, four), 4));
        const mine = range(t.rows).map((i) => read(mul(add(mul(this.down, int(t.rows)), int(i)), int(pitch))));
        const theirs = range(columns).map((j) =>
          read(add(int(columnSlab.offset), mul(add(this.across, int(j * t.across)), int(pitch)))),
        );
        for (const [i, row] of sums.entries())
          for (const [j, target] of row.entries()) {
            const value = range(4).reduce<Expr>(
              (sum, u) => fadd(sum, fmul(component(mine[i]!, u), component(theirs[j]!, u))),
              target,
            );
            turn.push({ kind: "assign", target, value });
          }
      });
    });
    return sums;
  }

  private setStrip(out: Stmt[], factors: Block): void {
    for (const [i, row] of factors.entries()) {
      const line = mul(add(mul(this.down, int(this.t.rows)), int(i)), int(stripPitch(this.t)));
      out.push({ kind: "set", array: this.strip.name, index: add(line, this.across), value: construct(4, row) });
    }
  }

  /** Adds the strip's factors times the columns' vectors to the accumulators, a slab of columns at a time. */
  private mix(out: Stmt[], { vectors, fours }: Sums, from: Expr): void {
    const { t, frame, slab } = this;
    const length = lengthOf(vectors.axes);
    const pitch = linePitch(length, t);
    let lines = columnsOf(t);
    while (lines > 4 && lines * pitch > slab.length / 4) lines /= 2;
    const by = { lid: this.lid, threads: threadsOf(t) };
    this.loop(out, columnsOf(t) / lines, (piece, inner) => {
      const first = mul(piece, int(lines));
      const brought = bring(
        frame.k,
        { array: slab, pitch, offset: 0 },
        { lines, elements: 4 * Math.ceil(length / 4) },
        by,
        (line, e) => frame.element(vectors, frame.column(add(from, add(first, line))).env, e, 4),
      );
      inner.push(...brought.loads, barrier, ...brought.sets, barrier);
      this.loop(inner, lines / 4, (four, turn) => {
        const factors = range(t.rows).map((i) => {
          const line = mul(add(mul(this.down, int(t.rows)), int(i)), int(stripPitch(t)));
          const at = add(line, add(mul(piece, int(lines / 4)), four));
          return this.bind(turn, "p", element(this.strip.name, "f32", at, 4));
        });
        for (let u = 0; u < 4; u++) {
          const line = mul(add(mul(four, int(4)), int(u)), int(pitch));
          for (let j = 0; j < fours[0]!.length; j++) {
            const at = add(line, add(this.across, int(j * t.across)));
            const value = this.bind(turn, "v", element(slab.name, "f32", at, 4));
            for (const [i, row] of fours.entries()) {
              const factor = construct(4, [component(factors[i]!, u)]);
              turn.push({ kind: "assign", target: row[j]!, value: fadd(row[j]!, fmul(factor, value)) });
            }
          }
        }
      });
    });
  }

  /** Reduces a value of each row over the threads that share the row, in a fixed order. */
  private fold(out: Stmt[], values: readonly Expr[], op: "add" | "max"): Expr[] {
    const { t, toldWidth, told } = this;
    const packed = told.map((_, g) => {
      const some = values.slice(g * toldWidth, (g + 1) * toldWidth);
      return toldWidth === 1 ? some[0]! : construct(toldWidth, some);
    });
    for (const [g, array] of told.entries())
      out.push({ kind: "set", array: array.name, index: this.lid, value: packed[g]! });
    out.push(barrier);
    const start = float(foldStarts[op]);
    const width = toldWidth === 1 ? undefined : toldWidth;
    const results = told.map(() => this.variable(out, width ? construct(width, [start]) : start));
    this.loop(out, t.across, (other, turn) => {
      const at = add(mul(this.down, int(t.across)), other);
      for (const [g, target] of results.entries()) {
        const value = floatArith(op, target, element(told[g]!.name, "f32", at, width));
        turn.push({ kind: "assign", target, value });
      }
    });
    return values.map((_, i) => {
      const result = results[Math.floor(i / toldWidth)]!;
      return toldWidth === 1 ? result : component(result, i % toldWidth);
    });
  }

  private forward(rows: readonly Row[]): Stmt[] {
    const { frame } = this;
    const { ownSide, walkedSide } = frame.sides;
    const out: Stmt[] = [];
    const tops = rows.map(() => this.variable(out, float(hidden)));
    const totals = rows.map(() => this.variable(out, float(0)));
    const sums = frame.p.cores
      .filter((c) => partOf(c) !== "statistic")
      .map((core) => this.sumsOf(out, core, walkedSide.width!));
    this.walk(out, (from) => {
      const body: Stmt[] = [];
      const logits = this.products(body, ownSide.dot, walkedSide.dot, from).map((row, i) =>
        row.map((sum, j) => {
          const column = this.column(from, j);
          const visible = frame.visible(rows[i]!.env, column);
          const logit = frame.logit(sum, rows[i]!.env, column.env);
          return { visible, x: this.bind(body, "x", select(visible, logit, float(hidden))) };
        }),
      );
      const own = logits.map((row) => row.map(({ x }): Expr => x).reduce((a, b) => floatArith("max", a, b)));
      const most = this.fold(body, own, "max");
      const factors = logits.map((row, i) => {
        const top = this.bind(body, "m", floatArith("max", tops[i]!, most[i]!));
        const fade = this.bind(body, "f", builtin("exp", fsub(tops[i]!, top)));
        body.push({ kind: "assign", target: tops[i]!, value: top });
        const weights = row.map(({ visible, x }) => {
          const raised = builtin("exp", fsub(x, top));
          // Hidden logits get weight 0 even if all of the row's logits are hidden; NaN propagates.
          const all = isTrue(visible) && !frame.p.bias;
          const seen = all ? raised : select(notAbove(x, float(hidden)), float(0), raised);
          return this.bind(body, "p", seen);
        });
        const total = weights.reduce<Expr>(fadd, fmul(totals[i]!, fade));
        body.push({ kind: "assign", target: totals[i]!, value: total });
        const faded = construct(4, [fade]);
        for (const { fours } of sums)
          for (const target of fours[i]!) body.push({ kind: "assign", target, value: fmul(target, faded) });
        return weights;
      });
      this.setStrip(body, factors);
      for (const one of sums) this.mix(body, one, from);
      return body;
    });
    out.push(barrier);
    const totalsOfAll = this.fold(out, totals, "add");
    const finished = rows.map((_, i) => {
      const total = this.bind(out, "l", floatArith("max", totalsOfAll[i]!, float(least)));
      return { total, lse: this.bind(out, "l", fadd(tops[i]!, builtin("log", total))) };
    });
    const valueOfRow = (i: number, core: Node, j: number, u: number) =>
      partOf(core) === "statistic"
        ? finished[i]!.lse
        : meanOf(frame.p, component(sums.find((s) => s.core === core)!.fours[i]![j]!, u), finished[i]!.total);
    return [...out, ...this.store(rows, valueOfRow)];
  }

  private backward(rows: readonly Row[]): Stmt[] {
    const { frame } = this;
    const { ownSide, walkedSide, ownsQueries, lse, delta } = frame.sides;
    const out: Stmt[] = [];
    const isWeights = (core: Node) => partOf(core) === "weights";
    // Cores of the weights come first, since logit gradients are computed from the weights.
    const cores = [...frame.p.cores].sort((a, b) => Number(isWeights(b)) - Number(isWeights(a)));
    const sums = cores.map((core) => this.sumsOf(out, core, isWeights(core) ? walkedSide.width! : walkedSide.dot));
    this.walk(out, (from) => {
      const body: Stmt[] = [];
      const query = (i: number, j: number) => (ownsQueries ? rows[i]!.env : this.column(from, j).env);
      const visible = rows.map(({ env }) =>
        range(columns).map((j) => {
          const shown = frame.visible(env, this.column(from, j));
          return frame.p.mask ? this.bind(body, "s", shown) : shown;
        }),
      );
      const logits = this.products(body, ownSide.dot, walkedSide.dot, from).map((row, i) =>
        row.map((sum, j): Expr => {
          const logit = frame.logit(sum, rows[i]!.env, this.column(from, j).env);
          return frame.p.bias ? this.bind(body, "x", logit) : logit;
        }),
      );
      const weights = logits.map((row, i) =>
        row.map((logit, j): Expr => {
          const raised = builtin("exp", fsub(logit, frame.statistic(lse!, query(i, j))));
          return this.bind(body, "p", ofSeen(frame.p, visible[i]![j]!, logit, raised));
        }),
      );
      const seen = cores.every(isWeights) ? [] : this.products(body, ownSide.width!, walkedSide.width!, from);
      const cotangents = seen.map((row, i) =>
        row.map((sum, j): Expr => {
          const centred = fsub(sum, frame.statistic(delta!, query(i, j)));
          const cotangent = fmul(fmul(weights[i]![j]!, centred), float(frame.p.scale));
          const shown = frame.p.mask ? visible[i]![j]! : bool(true); // columns out of bounds have weight 0
          return this.bind(body, "g", ofSeen(frame.p, shown, logits[i]![j]!, cotangent));
        }),
      );
      for (const [c, one] of sums.entries()) {
        if (c > 0) body.push(barrier);
        this.setStrip(body, isWeights(one.core) ? weights : cotangents);
        this.mix(body, one, from);
      }
      return body;
    });
    const valueOfRow = (i: number, core: Node, j: number, u: number) =>
      component(sums.find((s) => s.core === core)!.fours[i]![j]!, u);
    return [...out, ...this.store(rows, valueOfRow)];
  }

  protected column(from: Expr, j: number) {
    return this.frame.column(add(from, add(mul(this.across, int(columns)), int(j))));
  }

  /** Stores a thread's rows: its vec4s of each result; scalars per row are stored by one thread. */
  private store(rows: readonly Row[], valueOfRow: (i: number, core: Node, j: number, u: number) => Expr): Stmt[] {
    const { frame, t } = this;
    const out: Stmt[] = [];
    for (const stored of rowStores(frame.k, frame.p)) {
      const width = lengthOf(stored.axes);
      for (const [i, { env, inside }] of rows.entries()) {
        if (stored.axes.length === 0) {
          const body = storeElement(frame.k, frame.p, stored, env, int(0), (core) => valueOfRow(i, core, 0, 0));
          out.push({ kind: "if", condition: and(inside, lt(this.across, int(1))), body });
          continue;
        }
        for (let j = 0; j < foursOf(width, t); j++) {
          const first = mul(add(this.across, int(j * t.across)), int(4));
          const stores = range(4).map((u) => {
            const e = add(first, int(u));
            const at = clamped(e, width, 4);
            const body = storeElement(frame.k, frame.p, stored, env, at, (core) => valueOfRow(i, core, j, u));
            return { inside: lt(e, int(width)), body };
          });
          out.push(...guardedFours(inside, stores, width));
        }
      }
    }
    return out;
  }
}

/** Initial values of row reductions. */
const foldStarts = { add: 0, max: hidden } as const;

type Row = ReturnType<Frame["row"]>;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
