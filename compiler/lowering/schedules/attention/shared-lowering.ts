/**
 * Tiled attention in workgroup memory, forward and backward. Each thread computes a block of logits, some rows by four
 * columns, and accumulates some columns of its rows' results in registers.
 */
import type { Env } from "../../../fusion/index.ts";
import type { Node } from "../../../ir/node.ts";
import {
  barrier,
  bool,
  builtin,
  component,
  construct,
  type Expr,
  float,
  floatArith,
  int,
  type Stmt,
  type Var,
} from "../../../kernel/index.ts";
import { add, and, lt, mul, select } from "../../../kernel/simplify.ts";
import type { KernelCode } from "../../kernel.ts";
import { range } from "../../range.ts";
import { clamped } from "../contraction/problem.ts";
import {
  fadd,
  fmul,
  fsub,
  guardedVec4Stores,
  hidden,
  isLongLogit,
  least,
  type MaskedLogit,
  meanOf,
  type Pair,
  partOf,
  passOf,
  type Row,
  rowStores,
  storeElement,
  topOf,
  uncapped,
  weightOf,
  whereVisible,
} from "./problem.ts";
import { columns, lengthOf, type SharedTile, vec4sOf } from "./shared-tile.ts";
import type { Frame } from "./sides.ts";
import { type Block, type Sums, TileCode } from "./tile-code.ts";

export const lowerShared = (frame: Frame, t: SharedTile): KernelCode => new SharedLowering(frame, t).run();

/** The online softmax of a thread's rows: their maxima and sums of weights so far, and the weighted sums of values. */
interface RunningSoftmax {
  readonly tops: readonly Var[];
  readonly totals: readonly Var[];
  readonly sums: readonly Sums[];
}

interface TilePair extends Pair {
  readonly query: Env;
}

const isWeights = (core: Node): boolean => partOf(core) === "weights";

/** The j-th vec4 of a row's result. */
const fourOf = (sums: readonly Sums[], row: number, core: Node, j: number): Var =>
  sums.find((s) => s.core === core)!.fours[row]![j]!;

class SharedLowering extends TileCode {
  protected override body(): Stmt[] {
    const rows = this.rows();
    return passOf(this.frame.p.cores[0]!) === "forward" ? this.forward(rows) : this.backward(rows);
  }

  private forward(rows: readonly Row[]): Stmt[] {
    const { sides, p } = this.frame;
    const out: Stmt[] = [];
    const running: RunningSoftmax = {
      tops: rows.map(() => this.variable(out, float(hidden))),
      totals: rows.map(() => this.variable(out, float(0))),
      sums: p.cores
        .filter((c) => partOf(c) !== "statistic")
        .map((core) => this.sumsOf(out, core, sides.otherSide.width!)),
    };
    this.overBlocks(out, (from) => {
      const body: Stmt[] = [];
      this.setStrip(body, this.weigh(body, this.maskedLogits(body, rows, from), running));
      for (const one of running.sums) this.mix(body, one, from);
      return body;
    });
    out.push(barrier);
    return [...out, ...this.finish(rows, running)];
  }

  /** The logits of a thread's rows and its columns of the block at `from`. */
  private maskedLogits(out: Stmt[], rows: readonly Row[], from: Expr): MaskedLogit[][] {
    const { frame } = this;
    const { ownSide, otherSide } = frame.sides;
    return this.products(out, ownSide.dot, otherSide.dot, from).map((row, i) =>
      row.map((product, j) => {
        const column = this.column(from, j);
        const visible = frame.visible(rows[i]!.env, column);
        const logit = frame.logit(product, rows[i]!.env, column.env);
        return { visible, x: this.bind(out, "x", select(visible, logit, float(hidden))) };
      }),
    );
  }

  /** The weights of a block's logits; raises the rows' maxima and rescales what was summed relative to the old ones. */
  private weigh(out: Stmt[], logits: readonly MaskedLogit[][], { tops, totals, sums }: RunningSoftmax): Block {
    const most = this.fold(out, logits.map(topOf), "max");
    return logits.map((row, i) => {
      const top = this.bind(out, "m", floatArith("max", tops[i]!, most[i]!));
      const fade = this.bind(out, "f", builtin("exp", fsub(tops[i]!, top)));
      out.push({ kind: "assign", target: tops[i]!, value: top });
      const weights = row.map((logit): Expr => this.bind(out, "p", weightOf(this.frame.p, logit, top)));
      const total = weights.reduce(fadd, fmul(totals[i]!, fade));
      out.push({ kind: "assign", target: totals[i]!, value: total });
      const faded = construct(4, [fade]);
      for (const { fours } of sums)
        for (const target of fours[i]!) out.push({ kind: "assign", target, value: fmul(target, faded) });
      return weights;
    });
  }

  /** Divides by the sums of weights, and stores the results and the statistic. */
  private finish(rows: readonly Row[], { tops, totals, sums }: RunningSoftmax): Stmt[] {
    const out: Stmt[] = [];
    const totalsOfAll = this.fold(out, totals, "add");
    const finished = rows.map((_, i) => {
      const total = this.bind(out, "l", floatArith("max", totalsOfAll[i]!, float(least)));
      return { total, lse: this.bind(out, "l", fadd(tops[i]!, builtin("log", total))) };
    });
    const valueOfRow = (i: number, core: Node, j: number, u: number) =>
      partOf(core) === "statistic"
        ? finished[i]!.lse
        : meanOf(this.frame.p, component(fourOf(sums, i, core, j), u), finished[i]!.total);
    return [...out, ...this.store(rows, valueOfRow)];
  }

  private backward(rows: readonly Row[]): Stmt[] {
    const { ownSide, otherSide } = this.frame.sides;
    const out: Stmt[] = [];
    // Cores of the weights come first, since logit gradients are computed from the weights.
    const cores = [...this.frame.p.cores].sort((a, b) => Number(isWeights(b)) - Number(isWeights(a)));
    const sums = cores.map((core) => this.sumsOf(out, core, isWeights(core) ? otherSide.width! : otherSide.dot));
    this.overBlocks(out, (from) => {
      const body: Stmt[] = [];
      const pairs = this.pairs(body, rows, from);
      const seen = cores.every(isWeights) ? [] : this.products(body, ownSide.width!, otherSide.width!, from);
      const cotangents = seen.map((row, i) => row.map((product, j) => this.cotangent(body, pairs[i]![j]!, product)));
      const weights = pairs.map((row) => row.map(({ weight }) => weight));
      for (const [c, one] of sums.entries()) {
        if (c > 0) body.push(barrier);
        this.setStrip(body, isWeights(one.core) ? weights : cotangents);
        this.mix(body, one, from);
      }
      return body;
    });
    return [...out, ...this.store(rows, (i, core, j, u) => component(fourOf(sums, i, core, j), u))];
  }

  /** The pairs of a thread's rows and its columns of the block at `from`, with their recomputed weights. */
  private pairs(out: Stmt[], rows: readonly Row[], from: Expr): TilePair[][] {
    const { frame } = this;
    const { ownSide, otherSide, ownsQueries, lse } = frame.sides;
    const visible = rows.map(({ env }) =>
      range(columns).map((j) => {
        const shown = frame.visible(env, this.column(from, j));
        return frame.p.mask ? this.bind(out, "s", shown) : shown;
      }),
    );
    const products = this.products(out, ownSide.dot, otherSide.dot, from);
    const logits = products.map((row, i) =>
      row.map((product, j): Expr => {
        const logit = frame.logit(product, rows[i]!.env, this.column(from, j).env);
        return isLongLogit(frame.p) ? this.bind(out, "x", logit) : logit;
      }),
    );
    return logits.map((row, i) =>
      row.map((logit, j) => {
        const query = ownsQueries ? rows[i]!.env : this.column(from, j).env;
        const raised = builtin("exp", fsub(logit, frame.statistic(lse!, query)));
        const weight = this.bind(out, "p", whereVisible(frame.p, visible[i]![j]!, logit, raised));
        return { query, visible: visible[i]![j]!, product: products[i]![j]!, logit, weight };
      }),
    );
  }

  /** The cotangent of a pair's dot product, given that of its weight. */
  private cotangent(out: Stmt[], { query, visible, product, logit, weight }: TilePair, ofWeight: Expr): Expr {
    const { p, sides } = this.frame;
    const centred = fsub(ofWeight, this.frame.statistic(sides.delta!, query));
    const cotangent = uncapped(p, product, logit, fmul(fmul(weight, centred), float(p.scale)));
    const shown = p.mask ? visible : bool(true); // columns out of bounds have weight 0
    return this.bind(out, "g", whereVisible(p, shown, logit, cotangent));
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
        for (let j = 0; j < vec4sOf(width, t); j++) {
          const first = mul(add(this.across, int(j * t.threadsAcross)), int(4));
          const stores = range(4).map((u) => {
            const e = add(first, int(u));
            const at = clamped(e, width, 4);
            const body = storeElement(frame.k, frame.p, stored, env, at, (core) => valueOfRow(i, core, j, u));
            return { inside: lt(e, int(width)), body };
          });
          out.push(...guardedVec4Stores(inside, stores, width));
        }
      }
    }
    return out;
  }
}
