/**
 * The gradient of an attention bias: a workgroup owns a tile of queries by keys, and accumulates their gradients in
 * registers over the axes that the bias lacks, in a fixed order. Dao et al. 2022 (FlashAttention), appendix B.2,
 * without the final products.
 */
import { typical, typicalSpan } from "../../../fusion/index.ts";
import { type ArrayDecl, bool, builtin, type Expr, float, int, type Stmt, type Var } from "../../../kernel/index.ts";
import { mul } from "../../../kernel/simplify.ts";
import { noSharing, tooManyThreads, tooMuchMemory } from "../../facts.ts";
import { range } from "../../range.ts";
import type { Schedule } from "../../schedule.ts";
import {
  type AttentionProblem,
  fadd,
  fmul,
  fsub,
  guardedVec4Stores,
  knownWidths,
  rowStores,
  storeElement,
  whereVisible,
} from "./problem.ts";
import { columns, columnsOf, rowsOf, type SharedTile, slabSize, threadsOf } from "./shared-tile.ts";
import { Frame, type Sides, sidesOfPairs, tileOfColumns } from "./sides.ts";
import { TileCode } from "./tile-code.ts";

type PairSides = Exclude<ReturnType<typeof sidesOfPairs>, string>;

class PairLowering extends TileCode {
  private readonly sides: PairSides;

  constructor(frame: Frame, t: SharedTile, sides: PairSides) {
    super(frame, t);
    this.sides = sides;
  }

  protected override arrays(): ArrayDecl[] {
    return [this.slab];
  }

  protected override body(): Stmt[] {
    const { frame, t } = this;
    const out: Stmt[] = [];
    const from = mul(frame.batch(tileOfColumns), int(columnsOf(t)));
    const sums = range(t.rows).map(() => range(columns).map(() => this.variable(out, float(0))));
    const loop = frame.each(this.sides.summed, () => [
      ...frame.unlessHidden(from, columnsOf(t), rowsOf(t), this.addAll(sums, from)),
    ]);
    return [...out, ...loop, ...this.storeAll(sums, from)];
  }

  /** Adds the contributions of a tile's pairs at one index of the summed axes. */
  private addAll(sums: readonly (readonly Var[])[], from: Expr): Stmt[] {
    const { frame } = this;
    const { ownSide, otherSide, lse, delta } = this.sides;
    const out: Stmt[] = [];
    const products = this.products(out, ownSide.dot, otherSide.dot, from);
    const seen = this.products(out, ownSide.width!, otherSide.width!, from);
    for (const [i, row] of this.rows().entries()) {
      const [least, centre] = [lse, delta].map((node) => frame.statistic(node!, row.env)) as [Expr, Expr];
      for (const [j, target] of sums[i]!.entries()) {
        const column = this.column(from, j);
        const logit = this.bind(out, "x", frame.logit(products[i]![j]!, row.env, column.env));
        const shown = frame.p.mask ? frame.visible(row.env, column) : bool(true); // columns out of bounds are not stored
        const cotangent = fmul(builtin("exp", fsub(logit, least)), fsub(seen[i]![j]!, centre));
        out.push({ kind: "assign", target, value: fadd(target, whereVisible(frame.p, shown, logit, cotangent)) });
      }
    }
    return out;
  }

  private storeAll(sums: readonly (readonly Var[])[], from: Expr): Stmt[] {
    const { frame } = this;
    const width = Number(this.sides.columns);
    return rowStores(frame.k, frame.p).flatMap((stored) =>
      this.rows().flatMap((row, i) => {
        const stores = range(columns).map((j) => {
          const column = this.column(from, j);
          const at = new Map([...row.env, ...column.env]);
          return {
            inside: column.inside,
            body: storeElement(frame.k, frame.p, stored, at, int(0), () => sums[i]![j]!),
          };
        });
        return guardedVec4Stores(row.inside, stores, width);
      }),
    );
  }
}

/** Enough threads to keep a GPU busy. */
const manyThreads = 32768;

export const attentionPairTiles: Schedule<AttentionProblem, SharedTile> = {
  name: "pair-tiles",
  summary:
    "the gradient of an attention bias: a workgroup computes a tile of queries by keys, summed over the axes that the bias lacks",
  settings: ({ software }) => {
    if (software) return noSharing;
    const shapes = [
      [16, 16],
      [8, 16],
      [8, 8],
      [4, 4],
    ] as const;
    return shapes.flatMap(([threadsDown, threadsAcross]) =>
      [32, 16].map((depth) => ({ threadsDown, threadsAcross, rows: 4, single: 0, depth })),
    );
  },
  fits: ({ parts }, t, facts) => {
    const sides = sidesOfPairs(parts, columnsOf(t));
    if (typeof sides === "string") return sides;
    const known = knownWidths(parts);
    if (known !== true) return known;
    if (threadsOf(t) > facts.maxWorkgroupInvocations) return tooManyThreads(threadsOf(t), facts);
    const bytes = 16 * slabSize(parts, t);
    if (bytes > facts.maxWorkgroupStorage) return `its tiles ${tooMuchMemory(bytes, facts)}`;
    if (2 * typical(sides.rows) < rowsOf(t)) return `a tile of ${rowsOf(t)} rows would be more than half padding`;
    return (
      2 * typical(sides.columns) >= columnsOf(t) || `a tile of ${columnsOf(t)} columns would be more than half padding`
    );
  },
  // Pairs computed, including padding, weighted by their workgroup-memory loads and by the adapter's occupancy.
  cost: ({ parts }, t) => {
    const sides: Sides = sidesOfPairs(parts, columnsOf(t)) as PairSides;
    const tiles = Math.ceil(typical(sides.rows) / rowsOf(t)) * typicalSpan(sides.batch);
    const busy = Math.min(1, (tiles * threadsOf(t)) / manyThreads);
    return (tiles * rowsOf(t) * columnsOf(t) * (1 + 16 / rowsOf(t) + 16 / columnsOf(t))) / busy;
  },
  lower: ({ k, parts }, t) => {
    const sides = sidesOfPairs(parts, columnsOf(t)) as PairSides;
    return new PairLowering(new Frame(k, parts, sides), t, sides).run();
  },
};
