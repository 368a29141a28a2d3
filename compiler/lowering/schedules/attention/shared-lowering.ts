/**
 * Tiled attention in workgroup memory, forward and backward. Each thread computes a block of logits, some rows by four
 * columns, and accumulates some columns of its rows' results in registers.
 */
import type { Node } from "../../../ir/node.ts";
import {
  bool,
  builtin,
  component,
  construct,
  type Expr,
  float,
  floatArith,
  int,
  type Stmt,
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
  isTrue,
  least,
  meanOf,
  notAbove,
  partOf,
  passOf,
  rowStores,
  storeElement,
  uncapped,
  whereVisible,
} from "./problem.ts";
import { columns, lengthOf, type SharedTile, vec4sOf } from "./shared-tile.ts";
import type { Frame } from "./sides.ts";
import { barrier, type Row, TileCode } from "./tile-code.ts";

export const lowerShared = (frame: Frame, t: SharedTile): KernelCode => new SharedLowering(frame, t).run();

class SharedLowering extends TileCode {
  protected override body(): Stmt[] {
    const rows = this.rows();
    return passOf(this.frame.p.cores[0]!) === "forward" ? this.forward(rows) : this.backward(rows);
  }

  private forward(rows: readonly Row[]): Stmt[] {
    const { frame } = this;
    const { ownSide, otherSide } = frame.sides;
    const out: Stmt[] = [];
    const tops = rows.map(() => this.variable(out, float(hidden)));
    const totals = rows.map(() => this.variable(out, float(0)));
    const sums = frame.p.cores
      .filter((c) => partOf(c) !== "statistic")
      .map((core) => this.sumsOf(out, core, otherSide.width!));
    this.overBlocks(out, (from) => {
      const body: Stmt[] = [];
      const logits = this.products(body, ownSide.dot, otherSide.dot, from).map((row, i) =>
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
    const { ownSide, otherSide, ownsQueries, lse, delta } = frame.sides;
    const out: Stmt[] = [];
    const isWeights = (core: Node) => partOf(core) === "weights";
    // Cores of the weights come first, since logit gradients are computed from the weights.
    const cores = [...frame.p.cores].sort((a, b) => Number(isWeights(b)) - Number(isWeights(a)));
    const sums = cores.map((core) => this.sumsOf(out, core, isWeights(core) ? otherSide.width! : otherSide.dot));
    this.overBlocks(out, (from) => {
      const body: Stmt[] = [];
      const query = (i: number, j: number) => (ownsQueries ? rows[i]!.env : this.column(from, j).env);
      const visible = rows.map(({ env }) =>
        range(columns).map((j) => {
          const shown = frame.visible(env, this.column(from, j));
          return frame.p.mask ? this.bind(body, "s", shown) : shown;
        }),
      );
      const products = this.products(body, ownSide.dot, otherSide.dot, from);
      const logits = products.map((row, i) =>
        row.map((sum, j): Expr => {
          const logit = frame.logit(sum, rows[i]!.env, this.column(from, j).env);
          return isLongLogit(frame.p) ? this.bind(body, "x", logit) : logit;
        }),
      );
      const weights = logits.map((row, i) =>
        row.map((logit, j): Expr => {
          const raised = builtin("exp", fsub(logit, frame.statistic(lse!, query(i, j))));
          return this.bind(body, "p", whereVisible(frame.p, visible[i]![j]!, logit, raised));
        }),
      );
      const seen = cores.every(isWeights) ? [] : this.products(body, ownSide.width!, otherSide.width!, from);
      const cotangents = seen.map((row, i) =>
        row.map((sum, j): Expr => {
          const centred = fsub(sum, frame.statistic(delta!, query(i, j)));
          const ofLogit = fmul(fmul(weights[i]![j]!, centred), float(frame.p.scale));
          const cotangent = uncapped(frame.p, products[i]![j]!, logits[i]![j]!, ofLogit);
          const shown = frame.p.mask ? visible[i]![j]! : bool(true); // columns out of bounds have weight 0
          return this.bind(body, "g", whereVisible(frame.p, shown, logits[i]![j]!, cotangent));
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
