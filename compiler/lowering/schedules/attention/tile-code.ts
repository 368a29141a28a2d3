/**
 * Code that tiled attention in workgroup memory is made of. A workgroup's tile has rows of one side and blocks of the
 * other side's vectors as columns. Vectors are staged through one slab, a piece of their length at a time, so that
 * heads of any width fit; weights go through a strip, shared by the threads of a row.
 */
import type { Node } from "../../../ir/node.ts";
import {
  type ArrayDecl,
  barrier,
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
import { add, div, mod, mul } from "../../../kernel/simplify.ts";
import type { KernelCode } from "../../kernel.ts";
import { range } from "../../range.ts";
import { fadd, fmul, hidden, type Row } from "./problem.ts";
import {
  columns,
  columnsOf,
  lengthOf,
  linePitch,
  rowsOf,
  type SharedTile,
  slabSize,
  stripPitch,
  threadsOf,
  vec4sOf,
} from "./shared-tile.ts";
import { type Frame, lastOf, type Vectors } from "./sides.ts";
import { bankFreePitch, type Slab, slabArray, stageInSlab } from "./slab.ts";

/** A thread's accumulators of a result: vec4s for each of its rows. */
export interface Sums {
  readonly core: Node;
  readonly vectors: Vectors;
  readonly fours: readonly (readonly Var[])[];
}

export type Block = readonly (readonly Expr[])[];

/** The code of a workgroup's tile: vectors staged in a slab, weights in a strip, sums in registers. */
export abstract class TileCode {
  protected readonly frame: Frame;
  protected readonly t: SharedTile;
  protected readonly slab: Slab["array"];
  private readonly strip: ArrayDecl;
  /** Partial reductions exchanged by the threads of a row, packed by rows. */
  private readonly exchange: readonly ArrayDecl[];
  private readonly exchangeWidth: 1 | 2 | 4;
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
    this.exchangeWidth = Math.min(4, t.rows) as 1 | 2 | 4;
    this.exchange = range(t.rows / this.exchangeWidth).map(() => ({
      name: names.fresh("told"),
      dtype: "f32",
      ...(this.exchangeWidth > 1 && { width: this.exchangeWidth as Width }),
      length: threadsOf(t) * this.exchangeWidth,
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
        this.down = div(lid, int(t.threadsAcross));
        this.across = mod(lid, int(t.threadsAcross));
        return this.body();
      },
      t.single === 1,
    );
    return { ...kernel, arrays: this.arrays() };
  }

  protected arrays(): ArrayDecl[] {
    return [this.slab, this.strip, ...this.exchange];
  }

  protected abstract body(): Stmt[];

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
  protected overBlocks(out: Stmt[], body: (from: Expr) => Stmt[]): void {
    const count = this.frame.blocks(columnsOf(this.t));
    const index = variable(this.frame.k.names.fresh("k"), "i32", { min: 0, max: lastOf(count) });
    const [from, each] = [mul(index, int(columnsOf(this.t))), columnsOf(this.t)];
    const block = this.frame.unlessHidden(from, each, rowsOf(this.t), body(from));
    out.push({ kind: "for", index, from: int(0), to: count, step: 1, body: block });
  }

  protected sumsOf(out: Stmt[], core: Node, vectors: Vectors): Sums {
    const zero = construct(4, [float(0)]);
    const count = vec4sOf(lengthOf(vectors.axes), this.t);
    return { core, vectors, fours: range(this.t.rows).map(() => range(count).map(() => this.variable(out, zero))) };
  }

  /** Dot products of a thread's rows and columns; columns are `across` lines apart in the slab, adjacent in strips. */
  protected products(out: Stmt[], own: Vectors, walked: Vectors, from: Expr): Block {
    const { t, frame, slab } = this;
    const pitch = bankFreePitch(t.depth, 4);
    const rowSlab: Slab = { array: slab, pitch, offset: 0 };
    const columnSlab: Slab = { array: slab, pitch, offset: rowsOf(t) * pitch };
    const sums = range(t.rows).map(() => range(columns).map(() => this.variable(out, float(0))));
    const by = { lid: this.lid, threads: threadsOf(t) };
    this.loop(out, Math.ceil(lengthOf(own.axes) / t.depth), (piece, inner) => {
      const first = mul(piece, int(t.depth));
      const rows = stageInSlab(frame.k, rowSlab, { lines: rowsOf(t), elements: t.depth }, by, (line, e) =>
        frame.element(own, frame.row(line).env, add(first, e), 4),
      );
      const others = stageInSlab(frame.k, columnSlab, { lines: columnsOf(t), elements: t.depth }, by, (line, e) => {
        const column = add(mul(mod(line, int(t.threadsAcross)), int(columns)), div(line, int(t.threadsAcross)));
        return frame.element(walked, frame.column(add(from, column)).env, add(first, e), 4);
      });
      inner.push(...rows.loads, ...others.loads, barrier, ...rows.sets, ...others.sets, barrier);
      this.loop(inner, t.depth / 4, (four, turn) => {
        const read = (at: Expr) => this.bind(turn, "v", element(slab.name, "f32", add(at, four), 4));
        const mine = range(t.rows).map((i) => read(mul(add(mul(this.down, int(t.rows)), int(i)), int(pitch))));
        const theirs = range(columns).map((j) =>
          read(add(int(columnSlab.offset), mul(add(this.across, int(j * t.threadsAcross)), int(pitch)))),
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

  protected setStrip(out: Stmt[], factors: Block): void {
    for (const [i, row] of factors.entries()) {
      const line = mul(add(mul(this.down, int(this.t.rows)), int(i)), int(stripPitch(this.t)));
      out.push({ kind: "set", array: this.strip.name, index: add(line, this.across), value: construct(4, row) });
    }
  }

  /** Adds the strip's factors times the columns' vectors to the accumulators, a slab of columns at a time. */
  protected mix(out: Stmt[], { vectors, fours }: Sums, from: Expr): void {
    const { t, frame, slab } = this;
    const length = lengthOf(vectors.axes);
    const pitch = linePitch(length, t);
    let lines = columnsOf(t);
    while (lines > 4 && lines * pitch > slab.length / 4) lines /= 2;
    const by = { lid: this.lid, threads: threadsOf(t) };
    this.loop(out, columnsOf(t) / lines, (piece, inner) => {
      const first = mul(piece, int(lines));
      const brought = stageInSlab(
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
            const at = add(line, add(this.across, int(j * t.threadsAcross)));
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
  protected fold(out: Stmt[], values: readonly Expr[], op: "add" | "max"): Expr[] {
    const { t, exchangeWidth, exchange } = this;
    const packed = exchange.map((_, g) => {
      const some = values.slice(g * exchangeWidth, (g + 1) * exchangeWidth);
      return exchangeWidth === 1 ? some[0]! : construct(exchangeWidth, some);
    });
    for (const [g, array] of exchange.entries())
      out.push({ kind: "set", array: array.name, index: this.lid, value: packed[g]! });
    out.push(barrier);
    const start = float(foldStarts[op]);
    const width = exchangeWidth === 1 ? undefined : exchangeWidth;
    const results = exchange.map(() => this.variable(out, width ? construct(width, [start]) : start));
    this.loop(out, t.threadsAcross, (other, turn) => {
      const at = add(mul(this.down, int(t.threadsAcross)), other);
      for (const [g, target] of results.entries()) {
        const value = floatArith(op, target, element(exchange[g]!.name, "f32", at, width));
        turn.push({ kind: "assign", target, value });
      }
    });
    return values.map((_, i) => {
      const result = results[Math.floor(i / exchangeWidth)]!;
      return exchangeWidth === 1 ? result : component(result, i % exchangeWidth);
    });
  }

  protected column(from: Expr, j: number) {
    return this.frame.column(add(from, add(mul(this.across, int(columns)), int(j))));
  }
}

/** Initial values of row reductions. */
const foldStarts = { add: 0, max: hidden } as const;
