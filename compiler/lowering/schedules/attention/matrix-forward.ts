/**
 * The forward pass on matrix units: the online softmax of Dao et al. 2022 (FlashAttention), section 3.1. Fragments
 * cannot be scaled by row, so rescaling the accumulators takes a round trip through a strip. It is therefore deferred:
 * a row keeps its reference maximum until a logit exceeds it by more than f16 weights can represent.
 */

import { type Env, spanOf } from "../../../fusion/index.ts";
import type { Node } from "../../../ir/node.ts";
import {
  type ArrayDecl,
  anyThread,
  barrier,
  builtin,
  cast,
  component,
  construct,
  type Expr,
  element,
  float,
  floatArith,
  int,
  type Stmt,
  subgroupCall,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, and, div, eq, lt, mod, mul, select } from "../../../kernel/simplify.ts";
import type { KernelCode } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { clamped } from "../contraction/problem.ts";
import { lanesOfRow, MatrixCode, type MatrixTile, paddedWidths, stripPitch, typeOf } from "./matrix-tile.ts";
import {
  type AttentionProblem,
  fadd,
  fmul,
  fsub,
  guardedVec4Stores,
  hidden,
  least,
  type MaskedLogit,
  meanOf,
  notAbove,
  partOf,
  type Row,
  type RowStores,
  rowStores,
  storeElement,
  topOf,
  weightOf,
} from "./problem.ts";
import { type Frame, lastOf, type Vectors } from "./sides.ts";
import { bankFreePitch, type Slab, stageInSlab } from "./slab.ts";

/** How far logits may exceed the reference maximum: weights reach e^5.5 = 245, many of which f16 can still sum. */
const slack = 5.5;

const below = (a: Expr, b: Expr): Expr => ({ kind: "compare", dtype: "bool", op: "lt", a, b });

export function forwardBytes({ parts }: AttentionProblem, t: MatrixTile): number {
  const { dot, width } = paddedWidths({ p: parts }, t);
  const perAccess = 16 / t.bytes;
  const slabs = 16 * t.block * (bankFreePitch(dot, perAccess) + bankFreePitch(width, perAccess));
  return slabs + t.tiles * t.m * stripPitch(t) * 4 * (4 + t.bytes) + 16;
}

export const lowerForward = (frame: Frame, t: MatrixTile): KernelCode => new Forward(frame, t).run();

class Forward {
  private readonly frame: Frame;
  private readonly t: MatrixTile;
  private readonly code: MatrixCode;
  private readonly widths: ReturnType<typeof paddedWidths>;
  private readonly keys: Slab;
  private readonly values: Slab;
  /** Logits, and results in transit to lanes: f32. */
  private readonly strip: ArrayDecl;
  private readonly weights: ArrayDecl;
  private readonly own: Expr;
  private readonly queries: string[];
  private readonly scores: string[];
  private readonly sums: string[];
  private readonly pair: readonly [string, string];
  private readonly top = variable("top0", "f32");
  private readonly total = variable("total0", "f32");

  constructor(frame: Frame, t: MatrixTile) {
    this.frame = frame;
    this.t = t;
    const code = (this.code = new MatrixCode(frame, t, t.tiles));
    this.widths = paddedWidths(frame, t);
    this.keys = code.slab(t.block, this.widths.dot);
    this.values = code.slab(t.block, this.widths.width);
    this.strip = code.strips(t.tiles, "f32");
    this.weights = code.strips(t.tiles, typeOf(t));
    this.own = code.stripOf(code.subgroup);
    this.queries = code.fragmentsOf("left", this.widths.dot / t.k);
    this.pair = [code.fragment("left"), code.fragment("right")];
    this.scores = code.fragmentsOf("result", t.block / t.n);
    this.sums = code.fragmentsOf("result", this.widths.width / t.n);
  }

  run(): KernelCode {
    const { t, frame, code } = this;
    const threads = t.tiles * t.lanes;
    const kernel = frame.perTile(t.tiles * t.m, threads, (lid) => {
      const mine = frame.row(add(mul(code.subgroup, int(t.m)), code.row));
      const count = frame.blocks(t.block);
      const block = variable(frame.k.names.fresh("k"), "i32", { min: 0, max: lastOf(count) });
      const { ownSide, otherSide } = frame.sides;
      const fill = (slab: Slab, vectors: Vectors, from: Expr, elements: number) =>
        stageInSlab(frame.k, slab, { lines: t.block, elements }, { lid, threads }, (line, e) =>
          frame.element(vectors, frame.column(add(mul(from, int(t.block)), line)).env, e, slab.array.width),
        );
      const keysOf = (from: Expr) => fill(this.keys, otherSide.dot, from, this.widths.dot);
      const [values, next] = [
        fill(this.values, otherSide.width!, block, this.widths.width),
        keysOf(t.ahead ? add(block, int(1)) : block),
      ];
      const first = keysOf(int(0));
      const before = t.ahead
        ? [...values.loads, ...next.loads]
        : [...next.loads, ...next.sets, ...values.loads, ...values.sets, barrier];
      const between = t.ahead ? [...values.sets, ...next.sets] : [];
      const body: Stmt[] = [
        ...before,
        ...code.scores(this.scores, this.queries, this.pair[1], this.keys),
        ...code.storeStrip(this.scores, this.strip, this.own),
        barrier,
        ...between,
        ...this.weigh(mine.env, mul(block, int(t.block))),
        barrier,
        ...code.mix(this.sums, this.pair, { strip: this.weights, own: this.own }, this.values),
        ...(t.ahead ? [] : [barrier]),
      ];
      return [
        ...this.bringQueries(ownSide.dot, lid, threads),
        { kind: "var", target: this.top, value: float(hidden) },
        { kind: "var", target: this.total, value: float(0) },
        ...(t.ahead ? [...first.loads, ...first.sets, barrier] : []),
        { kind: "for", index: block, from: int(0), to: count, step: 1, body: code.unlessHidden(block, body) },
        ...this.finish(mine),
      ];
    });
    return { ...kernel, arrays: code.arrays, fragments: code.fragments, subgroupSize: t.lanes };
  }

  /** Loads queries into fragments through the key slab, as many rows at a time as the slab has lines. */
  private bringQueries(vectors: Vectors, lid: Expr, threads: number): Stmt[] {
    const { t, frame, code, keys } = this;
    const tilesAtOnce = t.block / t.m;
    return Array.from({ length: Math.ceil(t.tiles / tilesAtOnce) }, (_, round): Stmt[] => {
      const { loads, sets } = stageInSlab(
        frame.k,
        keys,
        { lines: t.block, elements: this.widths.dot },
        { lid, threads },
        (line, e) => frame.element(vectors, frame.row(add(line, int(round * t.block))).env, e, keys.array.width),
      );
      const first = mul(mod(code.subgroup, int(tilesAtOnce)), int(t.m * keys.pitch));
      const body = this.queries.map((fragment, i) =>
        code.load(fragment, keys.array.name, add(first, int((i * t.k) / keys.array.width)), keys.pitch, "row_major"),
      );
      const mine = eq(div(code.subgroup, int(tilesAtOnce)), int(round));
      return [...loads, ...sets, barrier, ...ifInside(mine, body), barrier];
    }).flat();
  }

  private bind(out: Stmt[], prefix: string, value: Expr): Var {
    const { target, stmt } = this.frame.k.let(prefix, value);
    out.push(stmt);
    return target;
  }

  /** Reduces a value over the lanes of a row by a butterfly of xor shuffles; every lane gets the result. */
  private across(out: Stmt[], value: Expr, op: "add" | "max"): Expr {
    let mine = value;
    for (let bit = 1; bit < lanesOfRow(this.t); bit *= 2) {
      const other = this.bind(out, "o", subgroupCall("shuffle_xor", mine, int(bit)));
      mine = this.bind(out, "o", floatArith(op, mine, other));
    }
    return mine;
  }

  /** Turns logits in one strip into weights in the other, updating the row's maximum and sum. */
  private weigh(row: Env, from: Expr): Stmt[] {
    const { top, total } = this;
    const out: Stmt[] = [];
    const logits = this.maskedLogits(out, row, from);
    const most = this.across(out, topOf(logits.flat()), "max");
    // A row that has seen nothing yet has no results to rescale, so it takes the new maximum directly.
    const start = this.bind(out, "m", select(notAbove(top, float(hidden)), most, top));
    out.push({ kind: "assign", target: top, value: start });
    const grows = this.bind(out, "g", anyThread(below(fadd(top, float(slack)), most)));
    out.push({ kind: "if", condition: grows, body: this.rescale(most) });
    const sums = logits.map((four, j) => this.storeWeights(out, four, j));
    out.push({ kind: "assign", target: total, value: fadd(total, sums.reduce(fadd)) });
    return out;
  }

  /** A lane's logits of the block at `from`, in the vec4s in which it reads the strip. */
  private maskedLogits(out: Stmt[], row: Env, from: Expr): MaskedLogit[][] {
    const { t, frame, code } = this;
    return Array.from({ length: t.block / 4 / lanesOfRow(t) }, (_, j) => {
      const products = this.bind(out, "s", element(this.strip.name, "f32", code.access(this.own, j), 4));
      return [0, 1, 2, 3].map((u) => {
        const column = frame.column(add(from, add(code.column(j), int(u))));
        const logit = frame.logit(component(products, u), row, column.env);
        const visible = frame.visible(row, column);
        return { visible, x: this.bind(out, "x", select(visible, logit, float(hidden))) };
      });
    });
  }

  /** Writes the weights of a lane's j-th vec4 of logits to their strip. Returns their sum. */
  private storeWeights(out: Stmt[], logits: readonly MaskedLogit[], j: number): Expr {
    const { t, code } = this;
    const weights = logits.map((logit): Expr => this.bind(out, "p", weightOf(this.frame.p, logit, this.top)));
    const value = construct(
      4,
      weights.map((w) => cast(w, typeOf(t))),
    );
    out.push({ kind: "set", array: this.weights.name, index: code.access(this.own, j), value });
    return weights.reduce(fadd);
  }

  /** Raises the row's maximum to its largest logit and rescales the accumulators accordingly. */
  private rescale(most: Expr): Stmt[] {
    const { t, code, top, total } = this;
    const out: Stmt[] = [];
    const raised = this.bind(out, "m", floatArith("max", top, most));
    const fade = this.bind(out, "f", builtin("exp", fsub(top, raised)));
    out.push({ kind: "assign", target: total, value: fmul(total, fade) });
    out.push({ kind: "assign", target: top, value: raised });
    for (const [g, some] of this.chunks().entries()) {
      if (g > 0) out.push(barrier);
      out.push(...code.storeStrip(some, this.strip, this.own), barrier);
      for (let j = 0; j < t.block / 4 / lanesOfRow(t); j++) {
        const index = code.access(this.own, j);
        const value = fmul(element(this.strip.name, "f32", index, 4), construct(4, [fade]));
        out.push({ kind: "set", array: this.strip.name, index, value });
      }
      out.push(barrier, ...code.loadStrip(some, this.strip, this.own));
    }
    return out;
  }

  /** The accumulator fragments, in groups of as many as a strip holds. */
  private chunks(): string[][] {
    const { sums, t } = this;
    const each = t.block / t.n;
    return Array.from({ length: Math.ceil(sums.length / each) }, (_, g) => sums.slice(g * each, (g + 1) * each));
  }

  /** Divides by the sum of weights, and stores the results and the statistic with their elementwise epilogue. */
  private finish(row: Row): Stmt[] {
    const { frame, code } = this;
    const out: Stmt[] = [];
    const total = this.bind(out, "l", floatArith("max", this.across(out, this.total, "add"), float(least)));
    const lse = this.bind(out, "l", fadd(this.top, builtin("log", total)));
    for (const stored of rowStores(frame.k, frame.p)) {
      if (stored.axes.length === 0) {
        const body = storeElement(frame.k, frame.p, stored, row.env, int(0), () => lse);
        out.push({ kind: "if", condition: and(row.inside, eq(code.part, int(0))), body });
        continue;
      }
      for (const [g, some] of this.chunks().entries()) {
        out.push(barrier, ...code.storeStrip(some, this.strip, this.own), barrier);
        out.push(...this.storeChunk(stored, g * this.t.block, some.length * this.t.n, row, { total, lse }));
      }
    }
    return out;
  }

  /** Stores the columns of a row's results that are in the strip, from column `from` on. */
  private storeChunk(
    stored: RowStores,
    from: number,
    columns: number,
    row: Row,
    { total, lse }: RowStatistics,
  ): Stmt[] {
    const { t, frame, code } = this;
    const out: Stmt[] = [];
    const width = Number(spanOf(frame.p.widths));
    for (let j = 0; j * 4 * lanesOfRow(t) < columns; j++) {
      const four = this.bind(out, "v", element(this.strip.name, "f32", code.access(this.own, j), 4));
      const first = add(code.column(j), int(from));
      const stores = [0, 1, 2, 3].map((u) => {
        const e = add(first, int(u));
        const value = meanOf(frame.p, component(four, u), total);
        const valueAt = (core: Node) => (partOf(core) === "statistic" ? lse : value);
        const body = storeElement(frame.k, frame.p, stored, row.env, clamped(e, width, 4), valueAt);
        return { inside: lt(e, int(width)), body };
      });
      out.push(...guardedVec4Stores(row.inside, stores, width));
    }
    return out;
  }
}

/** A row's sum of weights, and the logarithm of the sum of its exponentials. */
interface RowStatistics {
  readonly total: Expr;
  readonly lse: Expr;
}
