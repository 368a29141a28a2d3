/**
 * Contractions with a row reduction such as a norm fused as an epilogue: a subgroup computes whole rows, one tile of
 * `subgroup-tiles` after another, then reduces each row. Nothing is recomputed, and what it reads back is still in the
 * cache of the CPU thread that wrote it.
 */
import { dimExpr, type Env, rowsOfProduct, spanOf } from "../../../fusion/index.ts";
import { type Expr, indexVar, int, rangeOf, type Stmt } from "../../../kernel/index.ts";
import { add, div, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { ceilDiv, type KernelCode, type Lowering, unflatten } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";
import { subgroupReduction } from "../row-reduction/combine.ts";
import { lowerRows } from "../row-reduction/row-lowering.ts";
import type { ContractionProblem } from "./problem.ts";
import { perLane, type SubgroupTile, subgroupTiles, TileLowering } from "./subgroup-tiles.ts";

export const wholeRows: Schedule<ContractionProblem, SubgroupTile> = {
  ...(subgroupTiles as Schedule<ContractionProblem, SubgroupTile>),
  name: "whole-rows",
  summary: "a subgroup computes whole rows of a product, tile by tile, and reduces them in its epilogue",
  fits: () => true, // fusion checked this before adding reductions to the kernel
  rowTiles: (facts) => {
    const settings = subgroupTiles.settings(facts);
    const lacks = subgroupTiles.features!.some((f) => !facts.features.has(f));
    if (lacks || typeof settings === "string") return undefined;
    return { lanes: settings[0]!.lanes as number, rows: settings[0]!.rows as number };
  },
  lower: (problem, tile) => new RowsLowering(problem, tile).run(),
};

class RowsLowering extends TileLowering {
  override run(): KernelCode {
    const { k, rows, columns, batch } = this.p;
    const { lanes } = this.tile;
    const down = ceilDiv(dimExpr(rows.size), this.tile.rows);
    const code = k.perWorkgroup(mul(down, dimExpr(spanOf(batch))), lanes, (item) => {
      const out: Stmt[] = [];
      const isAlone = spanOf(batch) === 1;
      const batchEnv = unflatten(isAlone ? int(0) : this.bound(out, "z", div(item, down)), batch);
      const row = mul(isAlone ? item : this.bound(out, "m", mod(item, down)), int(this.tile.rows));
      const across = ceilDiv(dimExpr(columns.size), perLane * lanes);
      const index = indexVar(k.names.fresh("t"), rangeOf(across).max);
      const body = this.tileAt(row, index, batchEnv);
      out.push({ kind: "for", index, from: int(0), to: across, step: 1, body });
      return [...out, ...k.epilogues.map((follower) => this.rows(follower, row, batchEnv))];
    });
    return this.finished(code);
  }

  /** Emits the reduction for each row of the workgroup. */
  private rows(follower: Lowering, first: Expr, batchEnv: Env): Stmt {
    const { k, rows } = this.p;
    const { lanes } = this.tile;
    const height = dimExpr(rows.size);
    const to = min(int(this.tile.rows), sub(height, first));
    const index = indexVar(k.names.fresh("e"), rangeOf(to).max);
    // Redundant within the loop's bounds, but keeps the index expression's range in bounds.
    const own = new Map([...batchEnv, ...unflatten(min(add(first, index), sub(height, int(1))), rows.axes)]);
    const along = rowsOfProduct(k.fused, follower.fused, k.places, lanes)!;
    const row = new Map(
      follower.fused.group!.rows.map((c) => [c.axis.name, own.get(along.get(c.index.name) ?? "") ?? int(0)]),
    );
    const all = { threads: lanes, lid: this.lane, lane: this.lane, lanes, apart: 1 };
    const sharing = {
      first: this.lane,
      step: lanes,
      elements: perLane,
      combine: subgroupReduction(follower, all, lanes, []),
    };
    return { kind: "for", index, from: int(0), to, step: 1, body: lowerRows(follower, [{ row }], sharing) };
  }
}
