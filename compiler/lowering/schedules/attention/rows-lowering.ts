/**
 * Attention, forward and backward, without materializing the [query, key] matrix. A thread holds a few rows of its own
 * side (queries, or keys for the gradients of k and v) in registers and iterates once over the other side. Dao et al.
 * 2022 (FlashAttention): the running maximum and sum of section 3.1, the gradients of appendix B.2.
 */

import { dimExpr, type Env, indexOver, restrict, span, spanOf, typical } from "../../../fusion/index.ts";
import type { Node } from "../../../ir/node.ts";
import { operandNamed } from "../../../ir/op.ts";
import { type Axis, hasAxis } from "../../../ir/type.ts";
import {
  type ArrayDecl,
  bool,
  builtin,
  type Const,
  type Expr,
  element,
  float,
  floatArith,
  indexVar,
  int,
  type Stmt,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, select, sub } from "../../../kernel/simplify.ts";
import { ceilDiv, type KernelCode, type Lowering, unflatten } from "../../kernel.ts";
import { ifInside, loopOver } from "../../loops.ts";
import {
  fadd,
  fmul,
  fsub,
  hidden,
  isLongLogit,
  isOfPairs,
  isOfWalked,
  keysOfPart,
  least,
  logitOf,
  meanOf,
  type Pair,
  type Parts,
  partOf,
  passOf,
  type Row,
  rowStores,
  storeElement,
  uncapped,
  whereVisible,
  widthsOf,
} from "./problem.ts";
import { RowArray, type Vector } from "./row-array.ts";

/** The axis along which a thread's rows differ: the other side lacks it, so that its vectors serve all of them. */
export function tiledAxis({ rows, walked, over, q, k, v, part }: Parts): Axis | undefined {
  const forward = walked.some((a) => a.name === over.name);
  const others = forward ? [k, ...(v ? [v] : [])] : [q];
  return rows.find((a) => a.name !== part?.name && others.every((o) => !hasAxis(o.type, a.name)));
}

/** Unroll factor of the loops over vectors that are too long for registers. */
const unrolledTurn = 8;

/** An accumulator vector: registers, or a private array if it is long. */
interface Accumulator {
  readonly get: Vector;
  readonly set: (e: Expr, value: Expr) => Stmt;
}

/** The online softmax of a row: its maximum, its sum of weights and its weighted sum of values, up to some key. */
interface RunningSoftmax {
  readonly top: Var;
  readonly total: Var;
  readonly mixed: Accumulator;
}

/** The vectors of a query and a key. */
interface PairVectors {
  readonly q: Vector;
  readonly k: Vector;
  readonly v: Vector;
  readonly dy: Vector;
}

export class AttentionLowering {
  protected readonly k: Lowering;
  protected readonly p: Parts;
  protected readonly settings: RowsInRegisters;
  protected readonly arrays: ArrayDecl[] = [];
  /** The longest vector that is fully unrolled into registers; compile times grow faster than the code. */
  protected readonly unrolled: number = 32;
  /** Rows per thread, starting at `tile * rows` along the tiled axis; past the end the last one is repeated. */
  protected rows = 1;
  protected rowAt: (i: Expr) => Row = () => ({ env: new Map(), inside: int(1) });

  constructor(k: Lowering, p: Parts, settings: RowsInRegisters) {
    this.k = k;
    this.p = p;
    this.settings = settings;
  }

  lower(): KernelCode {
    const { rows } = this.p;
    const tiled = tiledAxis(this.p);
    const size = dimExpr(tiled?.size ?? 1);
    let tile = 1;
    const { rows: mostRows, elements } = this.settings;
    const most = elements / Number(this.p.dot.size);
    const length = this.settings.single ? 1 : typical(tiled?.size ?? 1);
    while (tile < mostRows && tile * 2 <= most && length >= tile * 2) tile *= 2;
    this.rows = tile;
    const tiles = this.settings.single ? int(1) : ceilDiv(size, tile);
    const others = rows.filter((a) => a !== tiled);
    const code = this.k.perThread(mul(tiles, dimExpr(spanOf(others))), this.settings.threads, (item) => {
      const out: Stmt[] = [];
      const bound = this.k.let("t", mod(item, tiles));
      const rest = this.k.let("o", div(item, tiles));
      out.push(bound.stmt, rest.stmt);
      const common = unflatten(rest.target, others);
      this.rowAt = (i) => {
        const exact = add(mul(bound.target, int(tile)), i);
        const env = tiled ? new Map([...common, [tiled.name, min(exact, sub(size, int(1)))]]) : common;
        return { env, inside: lt(exact, size) };
      };
      return [...out, ...this.allRows()];
    });
    return { ...code, arrays: this.arrays };
  }

  /** The code for a thread's rows, once `rows` and `rowAt` are set. */
  protected allRows(): Stmt[] {
    const mine = Array.from({ length: this.rows }, (_, i) => this.rowAt(int(i)));
    return passOf(this.p.cores[0]!) === "forward" ? this.forward(mine) : this.backward(mine);
  }

  /** Emits `body` for every element of a vector: unrolled if short, otherwise in a loop. */
  private each(out: Stmt[], length: number, body: (e: Expr, out: Stmt[]) => void): void {
    if (length > this.unrolled) this.loop(out, length, unrolledTurn, body);
    else for (let i = 0; i < length; i++) body(int(i), out);
  }

  /** A loop over the elements of a vector, unrolled by the largest divisor up to `most` (a power of two). */
  private loop(out: Stmt[], length: number, most: number, body: (e: Expr, out: Stmt[]) => void): void {
    let turn = most;
    while (length % turn !== 0) turn /= 2;
    const index = indexVar(this.k.names.fresh("e"), length / turn);
    const inner: Stmt[] = [];
    for (let i = 0; i < turn; i++) body(add(mul(index, int(turn)), int(i)), inner);
    out.push(loopTo(index, length / turn, inner));
  }

  /** The elements of an operand along some of its axes. */
  protected vector(node: Node, env: Env, axes: readonly Axis[]): Vector {
    return (e) => this.k.values.at(node, restrict(new Map([...env, ...unflatten(e, axes)]), node));
  }

  /** Emits `body` for every row of the thread, in a loop. */
  private eachRow(out: Stmt[], body: (i: Expr) => readonly Stmt[]): void {
    const index = indexVar(this.k.names.fresh("r"), this.rows);
    const one = this.rows === 1;
    const inner = body(one ? int(0) : index);
    out.push(...(one ? inner : [loopTo(index, this.rows, inner)]));
  }

  private rowArray(length: number): RowArray {
    const made = new RowArray(this.k.names.fresh("p"), this.rows, length);
    this.arrays.push(made.array);
    return made;
  }

  /** An operand's vector for each row of the thread, at a full index; with `looped`, preloaded to a private array. */
  private own(out: Stmt[], node: Node, axes: readonly Axis[]): (i: number, at: Env) => Vector {
    if (!this.settings.looped || isOfWalked(this.p, node)) return (_, at) => this.vector(node, at, axes);
    const brought = this.rowArray(span(axes));
    this.eachRow(out, (i) => [brought.fill(this.k.names.fresh("e"), i, this.vector(node, this.rowAt(i).env, axes))]);
    return (i) => brought.of(int(i));
  }

  private accumulator(out: Stmt[], length: number): Accumulator {
    if (length <= this.unrolled) {
      const registers = Array.from({ length }, () => this.variable(out, 0));
      const at = (e: Expr) => registers[(e as Const).value]!;
      return { get: at, set: (e, value) => ({ kind: "assign", target: at(e), value }) };
    }
    const array: ArrayDecl = { name: this.k.names.fresh("p"), dtype: "f32", length, space: "private" };
    this.arrays.push(array);
    const set = (e: Expr, value: Expr): Stmt => ({ kind: "set", array: array.name, index: e, value });
    this.each(out, length, (e, inner) => inner.push(set(e, float(0))));
    return { get: (e) => element(array.name, "f32", e), set };
  }

  private variable(out: Stmt[], start: number): Var {
    const target = variable(this.k.names.fresh("a"), "f32");
    out.push({ kind: "var", target, value: float(start) });
    return target;
  }

  private bind(out: Stmt[], value: Expr, prefix: string): Var {
    const { target, stmt } = this.k.let(prefix, value);
    out.push(stmt);
    return target;
  }

  /** The dot product Σ a·b, one statement per term, split over several accumulators to shorten the dependency chain. */
  private sum(out: Stmt[], a: Vector, b: Vector, length: number): Expr {
    const totals = Array.from({ length: Math.min(length, this.settings.sums) }, () => this.variable(out, 0));
    let term = 0;
    this.each(out, length, (e, inner) => {
      const total = totals[term++ % totals.length]!;
      inner.push({ kind: "assign", target: total, value: fadd(total, fmul(a(e), b(e))) });
    });
    return this.bind(out, totals.slice(1).reduce<Expr>(fadd, totals[0]!), "s");
  }

  /** A loop over the other side, or over the keys of a part. */
  protected walk(row: Row, body: (other: Env) => Stmt[]): Stmt[] {
    const { part, over, walked } = this.p;
    if (!part) return loopOver(this.k, walked, body);
    const { from, to } = keysOfPart(this.p, row.env.get(part.name));
    const index = indexOver(this.k.names.fresh("k"), over.size);
    return [{ kind: "for", index, from, to, step: 1, body: body(new Map([[over.name, index]])) }];
  }

  protected visible(env: Env): Expr | undefined {
    return this.p.mask && this.k.values.at(this.p.mask, restrict(env, this.p.mask));
  }

  private forward(rows: readonly Row[]): Stmt[] {
    const { q, k, v, dot, widths } = this.p;
    const out: Stmt[] = [];
    const queries = this.own(out, q, [dot]);
    const tops = rows.map(() => this.variable(out, hidden));
    const totals = rows.map(() => this.variable(out, 0));
    const mixed = rows.map(() => this.accumulator(out, v ? span(widths) : 0));
    const running = rows.map((_, i) => ({ top: tops[i]!, total: totals[i]!, mixed: mixed[i]! }));
    const walk = this.walk(rows[0]!, (key) => {
      const body: Stmt[] = [];
      for (const [i, row] of rows.entries()) {
        const at = new Map([...row.env, ...key]);
        const product = this.sum(body, queries(i, at), this.vector(k, at, [dot]), Number(dot.size));
        this.addKey(body, logitOf(this.k, this.p, product, at), at, running[i]!);
      }
      return body;
    });
    out.push(...walk);
    this.storeRows(out, rows, (i) => this.finished(out, running[i]!));
    return out;
  }

  /** A step of the online softmax: adds a key's weight and its weighted value to what a row has so far. */
  private addKey(out: Stmt[], raw: Expr, at: Env, { top, total, mixed }: RunningSoftmax): void {
    const { v, widths } = this.p;
    const visible = this.visible(at);
    const logit = this.bind(out, visible ? select(visible, raw, float(hidden)) : raw, "x");
    const raised = this.bind(out, floatArith("max", top, logit), "m");
    const fade = this.bind(out, builtin("exp", fsub(top, raised)), "f");
    const exponential = builtin("exp", fsub(logit, raised));
    const weight = this.bind(out, whereVisible(this.p, visible ?? bool(true), logit, exponential), "p");
    out.push({ kind: "assign", target: top, value: raised });
    out.push({ kind: "assign", target: total, value: fadd(fmul(total, fade), weight) });
    if (!v) return;
    const value = this.vector(v, at, widths);
    this.each(out, span(widths), (e, inner) =>
      inner.push(mixed.set(e, fadd(fmul(mixed.get(e), fade), fmul(weight, value(e))))),
    );
  }

  /** The results of a row: its mean value, and the statistic. */
  private finished(out: Stmt[], { top, total, mixed }: RunningSoftmax): (core: Node) => Vector {
    const sum = this.bind(out, floatArith("max", total, float(least)), "l");
    const lse = this.bind(out, fadd(top, builtin("log", sum)), "l");
    return (core) => (partOf(core) === "statistic" ? () => lse : (e) => meanOf(this.p, mixed.get(e), sum));
  }

  private backward(rows: readonly Row[]): Stmt[] {
    const { q, k, dot, widths, cores } = this.p;
    const [v, dy] = [operandNamed(cores[0]!, "v")!, operandNamed(cores[0]!, "dy")!];
    const out: Stmt[] = [];
    const sums = cores.map((core) => rows.map(() => this.accumulator(out, span(widthsOf(this.p, core)))));
    const [queriesOf, upstreamOf] = [this.own(out, q, [dot]), this.own(out, dy, widths)];
    const [keysOf, valuesOf] = [this.own(out, k, [dot]), this.own(out, v, widths)];
    const walk = this.walk(rows[0]!, (other) => {
      const body: Stmt[] = [];
      for (const [i, row] of rows.entries()) {
        const at = new Map([...row.env, ...other]);
        const vectors = { q: queriesOf(i, at), k: keysOf(i, at), v: valuesOf(i, at), dy: upstreamOf(i, at) };
        this.addPair(
          body,
          vectors,
          at,
          sums.map((ofRows) => ofRows[i]!),
        );
      }
      return body;
    });
    out.push(...walk);
    this.storeRows(out, rows, (i) => (core) => sums[cores.indexOf(core)]![i]!.get);
    return out;
  }

  /** Adds the contribution of a query-key pair to the sum of each core. */
  private addPair(out: Stmt[], { q, k, v, dy }: PairVectors, at: Env, sums: readonly Accumulator[]): void {
    const { cores, dot, widths } = this.p;
    const ownsQueries = passOf(cores[0]!) === "backward_q";
    const pair = this.pair(out, this.sum(out, q, k, Number(dot.size)), at);
    const dLogit =
      cores.some((c) => partOf(c) !== "weights") && this.dLogit(out, pair, this.sum(out, dy, v, span(widths)), at);
    for (const [c, core] of cores.entries()) {
      const [factor, vector] = partOf(core) === "weights" ? [pair.weight, dy] : [dLogit as Expr, ownsQueries ? k : q];
      const sum = sums[c]!;
      this.each(out, span(widthsOf(this.p, core)), (e, inner) =>
        inner.push(sum.set(e, fadd(sum.get(e), isOfPairs(core) ? factor : fmul(factor, vector(e))))),
      );
    }
  }

  /** A pair of the backward pass, given its dot product: its weight is recomputed from the row's statistic. */
  private pair(out: Stmt[], product: Expr, at: Env): Pair {
    const raw = logitOf(this.k, this.p, product, at);
    const logit = isLongLogit(this.p) ? this.bind(out, raw, "x") : raw;
    const shown = this.visible(at);
    const visible = shown ? this.bind(out, shown, "s") : bool(true);
    const raised = builtin("exp", fsub(logit, this.statistic("lse", at)));
    return { product, logit, visible, weight: this.bind(out, whereVisible(this.p, visible, logit, raised), "p") };
  }

  /** P · (dO·v − δ) · scale: the gradient of one dot product; 0 for a hidden pair, whatever the hidden value is. */
  private dLogit(out: Stmt[], { weight, visible, product, logit }: Pair, ofWeight: Expr, at: Env): Expr {
    const cotangent = fmul(weight, fsub(ofWeight, this.statistic("delta", at)));
    // The bias is added after scaling and capping, so its gradient is neither scaled nor capped.
    const scaled = this.p.cores.some(isOfPairs)
      ? cotangent
      : uncapped(this.p, product, logit, fmul(cotangent, float(this.p.scale)));
    return this.bind(out, whereVisible(this.p, visible, logit, scaled), "e");
  }

  /** A statistic of the query at an index. */
  private statistic(name: "lse" | "delta", at: Env): Expr {
    return this.vector(operandNamed(this.p.cores[0]!, name)!, at, [])(int(0));
  }

  /** Stores the cores' results at each row: unrolled, or in a loop over a private array. */
  private storeRows(out: Stmt[], rows: readonly Row[], vectorsOf: (i: number) => (core: Node) => Vector): void {
    if (!this.settings.looped) {
      for (const [i, row] of rows.entries()) out.push(...this.storeRow(row, vectorsOf(i)));
      return;
    }
    const results = new Map(this.p.cores.map((core) => [core, this.rowArray(span(widthsOf(this.p, core)))]));
    for (const i of rows.keys()) {
      const vectorOf = vectorsOf(i);
      for (const [core, result] of results) out.push(...result.set(int(i), vectorOf(core)));
    }
    this.eachRow(out, (i) => this.storeRow(this.rowAt(i), (core) => results.get(core)!.of(i)));
  }

  /** The stores of one row, for every element of the cores' vectors. */
  private storeRow(row: Row, vectorOf: (core: Node) => Vector): Stmt[] {
    const out: Stmt[] = [];
    for (const stored of rowStores(this.k, this.p)) {
      const each: typeof this.each = this.settings.looped
        ? (stmts, length, body) => this.loop(stmts, length, 4, body)
        : (stmts, length, body) => this.each(stmts, length, body);
      each(out, span(stored.axes), (e, inner) =>
        inner.push(...storeElement(this.k, this.p, stored, row.env, e, (core, at) => vectorOf(core)(at))),
      );
    }
    return ifInside(row.inside, out);
  }
}

const loopTo = (index: Var, to: number, body: readonly Stmt[]): Stmt => ({
  kind: "for",
  index,
  from: int(0),
  to: int(to),
  step: 1,
  body,
});

export interface RowsInRegisters extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Maximum rows per thread; more rows reuse the other side better and take longer to compile. */
  readonly rows: number;
  /** Maximum query or key elements per thread. */
  readonly elements: number;
  /** Independent accumulators per dot product: CPU threads do not hide each other's latency. */
  readonly sums: number;
  /** 1: rows are loaded and stored in loops rather than unrolled code, which compiles slowly on CPU drivers. */
  readonly looped: number;
  /** 1: specialized for an open side that turns out to have one row, as in token-by-token decoding. */
  readonly single: number;
}
