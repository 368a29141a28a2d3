/**
 * The sides of tiled attention: a workgroup owns some rows of one side and loops over blocks of the other side, its
 * columns. The rows are queries in the forward pass and for dq, keys for dk and dv.
 */
import { dimExpr, type Env, indexOver, restrict, spanOf, typical } from "../../../fusion/index.ts";
import { boundsOf, type Dim } from "../../../ir/dim.ts";
import type { Node } from "../../../ir/node.ts";
import { operandNamed } from "../../../ir/op.ts";
import { type Axis, hasAxis } from "../../../ir/type.ts";
import { children, type Expr, int, rangeOf, type Stmt, variable } from "../../../kernel/index.ts";
import { add, and, div, lt, min, mod, mul, select, sub } from "../../../kernel/simplify.ts";
import { ceilDiv, type KernelCode, type Lowering, unflatten } from "../../kernel.ts";
import { loopOver } from "../../loops.ts";
import { clamped } from "../contraction/problem.ts";
import { mayBeVisible } from "./hidden-blocks.ts";
import { type AttentionProblem, isOfPairs, keysOfPart, logitOf, type Parts, passOf, type Row } from "./problem.ts";

/** An operand seen as one vector, along `axes`, per row or column; a statistic has no axes. */
export interface Vectors {
  readonly node: Node;
  readonly axes: readonly Axis[];
}

/** The operands of one side. In the forward pass queries have no `width`. */
export interface Side {
  /** The vectors that form logits: q or k. */
  readonly dot: Vectors;
  /** The value vectors: v, or the gradient of the result that is multiplied with it. */
  readonly width?: Vectors;
}

export interface Sides {
  /** The row axes: the other side lacks them, so that its vectors serve all rows. */
  readonly own: readonly Axis[];
  readonly walked: readonly Axis[];
  /** The axes that both sides share. */
  readonly batch: readonly Axis[];
  readonly rows: Dim;
  readonly columns: Dim;
  readonly ownsQueries: boolean;
  readonly ownSide: Side;
  readonly otherSide: Side;
  /** Per-query statistics, for the backward passes. */
  readonly lse?: Node;
  readonly delta?: Node;
}

/** The sides for the gradient of a bias, whose elements are query-key pairs; or why it cannot be tiled that way. */
export function sidesOfPairs(p: Parts, columns: number): (Sides & { readonly summed: readonly Axis[] }) | string {
  const core = p.cores[0]!;
  if (!isOfPairs(core)) return "it computes only the gradient of an attention bias";
  const [lse, delta, dy] = ["lse", "delta", "dy"].map((n) => operandNamed(core, n)!) as [Node, Node, Node];
  if (!p.v || p.widths.length === 0) return "the values have no axis of their own";
  const lacks = (nodes: readonly Node[]) => (a: Axis) => nodes.every((n) => !hasAxis(n.type, a.name));
  const own = p.rows.filter(lacks([p.k, p.v]));
  const walked = p.rows.filter(lacks([p.q, dy, lse, delta]));
  if (own.length === 0 || walked.length === 0) return "the bias does not have one element per query-key pair";
  const keys = spanOf(walked);
  if (typeof keys !== "number") return `the number of keys, ${keys}, is symbolic`;
  const both = p.rows.filter((a) => !own.includes(a) && !walked.includes(a));
  return {
    own,
    walked,
    batch: [...both, { name: tileOfColumns, size: Math.ceil(keys / columns) }],
    rows: spanOf(own),
    columns: keys,
    summed: p.walked,
    ownsQueries: true,
    ownSide: { dot: { node: p.q, axes: [p.dot] }, width: { node: dy, axes: p.widths } },
    otherSide: { dot: { node: p.k, axes: [p.dot] }, width: { node: p.v, axes: p.widths } },
    lse,
    delta,
  };
}

/** The workgroup's tile along the columns: an additional axis that no operand has. */
export const tileOfColumns = "tile of columns";

/** The sides of an attention kernel; or why its rows cannot share the other side's vectors. */
export function sidesOf(p: Parts): Sides | string {
  const pass = passOf(p.cores[0]!);
  const [lse, delta, dy] = ["lse", "delta", "dy"].map((n) => operandNamed(p.cores[0]!, n));
  if (p.cores.some(isOfPairs))
    return "the gradient of a bias has one element per query-key pair, not one row per query";
  if (!p.v || p.widths.length === 0) return "the values have no axis of their own";
  const queries: Side = { dot: { node: p.q, axes: [p.dot] }, ...(dy && { width: { node: dy, axes: p.widths } }) };
  const keys: Side = { dot: { node: p.k, axes: [p.dot] }, width: { node: p.v, axes: p.widths } };
  const ownsQueries = pass !== "backward_kv";
  const [ownSide, otherSide] = ownsQueries ? [queries, keys] : [keys, queries];
  const statistics = [lse, delta].flatMap((node) => (node ? [{ node, axes: [] }] : []));
  const of = (side: Side, isQueries: boolean) => [
    side.dot,
    ...(side.width ? [side.width] : []),
    ...(isQueries ? statistics : []),
  ];
  const [ownOperands, walkedOperands] = [of(ownSide, ownsQueries), of(otherSide, !ownsQueries)];
  if (pass === "forward" && p.walked.some((a) => a.name !== p.over.name))
    return "the keys have axes that the queries lack";
  const along = ({ node, axes }: Vectors) => node.type.axes.filter((a) => !axes.some((x) => x.name === a.name));
  const has = (o: Vectors, name: string) => along(o).some((a) => a.name === name);
  const own = p.rows.filter((a) => a.name !== p.part?.name && !walkedOperands.some((o) => has(o, a.name)));
  const batch = p.rows.filter((a) => !own.includes(a));
  const alien = ownOperands.flatMap(along).find((a) => !p.rows.some((r) => r.name === a.name));
  if (alien) return `an operand of the rows varies along the axis "${alien.name}", over which the kernel loops`;
  if (own.length === 0) return "no two rows loop over the same vectors";
  return {
    own,
    walked: p.walked,
    batch,
    rows: spanOf(own),
    columns: spanOf(p.walked),
    ownsQueries,
    ownSide,
    otherSide,
    ...(lse && { lse }),
    ...(delta && { delta }),
  };
}

/** The position of a workgroup: its batch, its first row, and how rows and columns map to indices. */
export class Frame {
  readonly k: Lowering;
  readonly p: Parts;
  readonly sides: Sides;
  private batchEnv: Env;
  private first: Expr = int(0);
  /** The range of columns to loop over: first index and count. */
  private from: Expr = int(0);
  private count: Expr = int(0);

  constructor(k: Lowering, p: Parts, sides: Sides) {
    this.k = k;
    this.p = p;
    this.sides = sides;
    this.batchEnv = new Map(sides.batch.map((a) => [a.name, int(0)]));
  }

  /**
   * A workgroup per tile of rows; tiles of one batch are consecutive, since they read the same columns. `single` if one
   * tile covers all rows.
   */
  perTile(rows: number, threads: number, body: (lid: Expr) => Stmt[], single = false): KernelCode {
    const { sides, k } = this;
    const tiles = single ? int(1) : ceilDiv(dimExpr(sides.rows), rows);
    return k.perWorkgroup(mul(tiles, dimExpr(spanOf(sides.batch))), threads, (item, lid) => {
      const [first, batch] = [k.let("f", mul(mod(item, tiles), int(rows))), k.let("z", div(item, tiles))];
      this.first = first.target;
      this.batchEnv = unflatten(batch.target, sides.batch);
      return [first.stmt, batch.stmt, ...this.bindColumns(), ...body(lid)];
    });
  }

  /** The workgroup's index along a batch axis. */
  batch(name: string): Expr {
    return this.batchEnv.get(name)!;
  }

  /** Emits `body` in loops over additional axes that both sides share. */
  each(axes: readonly Axis[], body: () => Stmt[]): Stmt[] {
    const outside = this.batchEnv;
    const loop = loopOver(this.k, axes, (env) => {
      this.batchEnv = new Map([...outside, ...env]);
      return body();
    });
    this.batchEnv = outside;
    return loop;
  }

  /** The index of a row of the tile, and whether it exists; past the end the last row is repeated. */
  row(i: Expr): Row {
    const at = add(this.first, i);
    return { env: this.env(at, this.sides.own, this.sides.rows), inside: lt(at, dimExpr(this.sides.rows)) };
  }

  /** The index of the column at offset `at`, and whether it exists. */
  column(at: Expr): { env: Env; inside: Expr } {
    const { walked, columns } = this.sides;
    return { env: this.env(add(this.from, at), walked, columns), inside: lt(at, this.count) };
  }

  /** The number of blocks of `each` columns that cover all columns. */
  blocks(each: number): Expr {
    return ceilDiv(this.count, each);
  }

  /** The body for a block of columns and the tile's rows, guarded so that it is skipped if the mask hides all of it. */
  unlessHidden(from: Expr, columns: number, rows: number, body: readonly Stmt[]): readonly Stmt[] {
    const { mask } = this.p;
    if (!mask) return body;
    const { own, walked } = this.sides;
    const box = new Map<string, { low: Expr; high: Expr }>();
    const ranged = (axes: readonly Axis[], size: Dim, first: Expr, count: number): Env => {
      const index = indexOver(this.k.names.fresh("r"), size);
      const last = sub(dimExpr(size), int(1));
      box.set(index.name, { low: min(first, last), high: min(add(first, int(count - 1)), last) });
      return unflatten(index, axes);
    };
    const env = new Map([
      ...this.batchEnv,
      ...ranged(own, this.sides.rows, this.first, rows),
      ...ranged(walked, this.sides.columns, add(this.from, from), columns),
    ]);
    const shown = mayBeVisible(this.k.values.at(mask, restrict(env, mask)), box);
    return shown && !this.readsWritten(shown) ? [{ kind: "if", condition: shown, body }] : body;
  }

  /** Whether an expression reads a tensor that the kernel writes, so that control flow might not be uniform. */
  private readsWritten(e: Expr): boolean {
    const { regions, stores } = this.k.shape;
    const written = new Set([...stores.values()].map(({ region }) => regions[region]!.root));
    const visit = (x: Expr): boolean =>
      (x.kind === "load" && written.has(regions[Number(x.buffer.slice(1))]!.root)) || children(x).some(visit);
    return visit(e);
  }

  private bindColumns(): Stmt[] {
    const { part } = this.p;
    this.count = dimExpr(this.sides.columns);
    if (!part) return [];
    const { from, to, most } = keysOfPart(this.p, this.batchEnv.get(part.name));
    const { target, stmt } = this.k.let("c", from);
    this.from = target;
    const count = variable(this.k.names.fresh("n"), "i32", { min: 0, max: most });
    this.count = count;
    return [stmt, { kind: "let", target: count, value: sub(to, from) }];
  }

  private env(at: Expr, axes: readonly Axis[], size: Dim): Env {
    return new Map([...this.batchEnv, ...unflatten(min(at, sub(dimExpr(size), int(1))), axes)]);
  }

  /** Element `e` of a vector: 0 past its end, for tiles wider than it. Elements are read in runs of `run`. */
  element({ node, axes }: Vectors, env: Env, e: Expr, run: number): Expr {
    const length = spanOf(axes);
    const at = new Map([...env, ...unflatten(clamped(e, length, run), axes)]);
    const value = this.k.values.at(node, restrict(at, node));
    return select(lt(e, dimExpr(length)), value, { kind: "const", dtype: value.dtype, value: 0 });
  }

  /** A statistic of a query. */
  statistic(node: Node, env: Env): Expr {
    return this.k.values.at(node, restrict(env, node));
  }

  /** The logit of a row and a column, given their dot product. */
  logit(product: Expr, row: Env, column: Env): Expr {
    return logitOf(this.k, this.p, product, new Map([...row, ...column]));
  }

  /** Whether a column exists and is visible from a row. */
  visible(row: Env, column: { env: Env; inside: Expr }): Expr {
    const { mask } = this.p;
    return mask
      ? and(column.inside, this.k.values.at(mask, restrict(new Map([...row, ...column.env]), mask)))
      : column.inside;
  }
}

/** Whether the mask may hide entire blocks of a problem. */
export const skipsMaskedBlocks = ({ k, parts }: AttentionProblem, sides: Sides): boolean =>
  new Frame(k, parts, sides).unlessHidden(int(1), 1, 1, []).length === 1;

/** Columns that one workgroup loops over, for cost estimates. */
export function typicalColumns({ columns }: Sides, { part }: Parts): number {
  if (!part) return typical(columns);
  // An open number of keys is split because there may be many: assume that a segment then has this many.
  const isOpen = typeof columns !== "number" && !Number.isFinite(boundsOf(columns).max);
  return isOpen ? keysOfRun : Math.ceil(typical(columns) / Number(part.size));
}

/** Typical keys per segment when their number is open. */
const keysOfRun = 256;

/** The largest index of a loop over blocks. */
export const lastOf = (count: Expr): number => Math.max(0, rangeOf(count).max - 1);
