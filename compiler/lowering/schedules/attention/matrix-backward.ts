/**
 * The backward pass on matrix units: Dao et al. 2022 (FlashAttention), appendix B.2, without accumulators in memory.
 * Two subgroups share each tile of rows: one computes the logits, the other the products dy·v, and each reads both. If
 * both dk and dv are wanted, one accumulates dv and the other dk; otherwise each accumulates half of the columns.
 */

import type { Env } from "../../../fusion/index.ts";
import type { Node } from "../../../ir/node.ts";
import {
  type ArrayDecl,
  barrier,
  builtin,
  cast,
  component,
  construct,
  type Expr,
  element,
  float,
  int,
  type Stmt,
  variable,
} from "../../../kernel/index.ts";
import { add, and, div, eq, lt, mod, mul } from "../../../kernel/simplify.ts";
import type { KernelCode } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import { range } from "../../range.ts";
import { clamped } from "../contraction/problem.ts";
import { lanesOfRow, MatrixCode, type MatrixTile, paddedWidths, stripPitch, typeOf } from "./matrix-tile.ts";
import {
  type AttentionProblem,
  fmul,
  fsub,
  guardedVec4Stores,
  type Parts,
  partOf,
  type Row,
  type RowStores,
  rowStores,
  storeElement,
  uncapped,
  whereVisible,
  widthsOf,
} from "./problem.ts";
import { type Frame, lastOf, type Vectors } from "./sides.ts";
import { bankFreePitch, type Slab, stageInSlab } from "./slab.ts";

const roles = [0, 1] as const;

/** What is accumulated: the weights times dy (for dv), or the gradient of the logits times the other side's vectors. */
const kinds = ["weights", "logits"] as const;
type Kind = (typeof kinds)[number];

const kindOf = (core: Node): Kind => (partOf(core) === "weights" ? "weights" : "logits");
const kindsOf = ({ cores }: Parts): Kind[] => kinds.filter((kind) => cores.some((c) => kindOf(c) === kind));

export function backwardBytes({ parts }: AttentionProblem, t: MatrixTile): number {
  const { dot, width } = paddedWidths({ p: parts }, t);
  const perAccess = 16 / t.bytes;
  const slabs = 16 * t.block * (bankFreePitch(dot, perAccess) + bankFreePitch(width, perAccess));
  const strip = t.tiles * t.m * stripPitch(t) * 4;
  return slabs + strip * (2 * 4 + kindsOf(parts).length * t.bytes);
}

export const lowerBackward = (frame: Frame, t: MatrixTile): KernelCode => new Backward(frame, t).run();

/** What one role accumulates: some columns of a result, in its fragments. */
interface Job {
  readonly kind: Kind;
  readonly first: number;
  readonly count: number;
}

class Backward {
  private readonly frame: Frame;
  private readonly t: MatrixTile;
  private readonly code: MatrixCode;
  private readonly kinds: readonly Kind[];
  private readonly widths: ReturnType<typeof paddedWidths>;
  /** Slabs of the other side's vectors: those that form logits, and the values or dy. */
  private readonly dots: Slab;
  private readonly wides: Slab;
  /** Two strips per tile of rows, one per role: the logits, and the products dy·v. */
  private readonly strip: ArrayDecl;
  private readonly factors: ReadonlyMap<Kind, ArrayDecl>;
  private readonly lefts: string[];
  private readonly scores: string[];
  private readonly sums: string[];
  private readonly pair: readonly [string, string];
  private readonly jobs: readonly [Job, Job];
  private readonly tile: Expr;
  private readonly role: Expr;

  constructor(frame: Frame, t: MatrixTile) {
    this.frame = frame;
    this.t = t;
    const code = (this.code = new MatrixCode(frame, t, 2 * t.tiles));
    this.kinds = kindsOf(frame.p);
    const widths = (this.widths = paddedWidths(frame, t));
    this.dots = code.slab(t.block, widths.dot);
    this.wides = code.slab(t.block, widths.width);
    this.strip = code.strips(2 * t.tiles, "f32");
    this.factors = new Map(this.kinds.map((kind) => [kind, code.strips(t.tiles, typeOf(t))]));
    this.lefts = code.fragmentsOf("left", Math.max(widths.dot, widths.width) / t.k);
    this.pair = [code.fragment("left"), code.fragment("right")];
    this.scores = code.fragmentsOf("result", t.block / t.n);
    this.jobs = this.shareOut();
    this.sums = code.fragmentsOf("result", Math.max(...this.jobs.map((j) => j.count)));
    this.tile = mod(code.subgroup, int(t.tiles));
    this.role = div(code.subgroup, int(t.tiles));
  }

  private shareOut(): readonly [Job, Job] {
    const columns = (kind: Kind) => (kind === "weights" ? this.widths.width : this.widths.dot) / this.t.n;
    const [one, other] = this.kinds as [Kind, Kind | undefined];
    if (other)
      return [
        { kind: one, first: 0, count: columns(one) },
        { kind: other, first: 0, count: columns(other) },
      ];
    const half = Math.ceil(columns(one) / 2);
    return [
      { kind: one, first: 0, count: half },
      { kind: one, first: half, count: columns(one) - half },
    ];
  }

  run(): KernelCode {
    const { t, frame, code } = this;
    const threads = 2 * t.tiles * t.lanes;
    const kernel = frame.perTile(t.tiles * t.m, threads, (lid) => {
      const mine = frame.row(add(mul(this.tile, int(t.m)), code.row));
      const count = frame.blocks(t.block);
      const block = variable(frame.k.names.fresh("k"), "i32", { min: 0, max: lastOf(count) });
      const by = { lid, threads };
      const { otherSide } = frame.sides;
      const fill = (slab: Slab, vectors: Vectors, from: Expr, elements: number) =>
        stageInSlab(frame.k, slab, { lines: t.block, elements }, by, (line, e) =>
          frame.element(vectors, frame.column(add(mul(from, int(t.block)), line)).env, e, slab.array.width),
        );
      const blockAt = (from: Expr) => {
        const [dots, wides] = [
          fill(this.dots, otherSide.dot, from, this.widths.dot),
          fill(this.wides, otherSide.width!, from, this.widths.width),
        ];
        return { loads: [...dots.loads, ...wides.loads], sets: [...dots.sets, ...wides.sets] };
      };
      const [first, next] = [blockAt(int(0)), blockAt(t.ahead ? add(block, int(1)) : block)];
      const body: Stmt[] = [
        ...next.loads,
        ...(t.ahead ? [] : [...next.sets, barrier]),
        ...this.products(),
        barrier,
        ...this.weigh(mine.env, mul(block, int(t.block))),
        barrier,
        ...this.mix(),
        barrier,
        ...(t.ahead ? [...next.sets, barrier] : []),
      ];
      return [
        ...this.bringOwn(by),
        ...(t.ahead ? [...first.loads, ...first.sets, barrier] : []),
        { kind: "for", index: block, from: int(0), to: count, step: 1, body: code.unlessHidden(block, body) },
        ...this.finish(mine),
      ];
    });
    return { ...kernel, arrays: code.arrays, fragments: code.fragments, subgroupSize: t.lanes };
  }

  /** The offset of a role's strip. */
  private stripOf(role: Expr): Expr {
    return this.code.stripOf(add(mul(role, int(this.t.tiles)), this.tile));
  }

  private ifRole(role: number, body: readonly Stmt[], also?: Expr): Stmt[] {
    const mine = eq(this.role, int(role));
    return body.length === 0 ? [] : [{ kind: "if", condition: also ? and(mine, also) : mine, body }];
  }

  /** Loads the workgroup's own vectors into fragments through the slabs, as many rows at a time as slabs have lines. */
  private bringOwn(by: { lid: Expr; threads: number }): Stmt[] {
    const { t, frame, code } = this;
    const atOnce = t.block / t.m;
    const { ownSide } = frame.sides;
    const sources = [
      { slab: this.dots, vectors: ownSide.dot, elements: this.widths.dot },
      { slab: this.wides, vectors: ownSide.width!, elements: this.widths.width },
    ];
    return Array.from({ length: Math.ceil(t.tiles / atOnce) }, (_, round): Stmt[] => {
      const filled = sources.map(({ slab, vectors, elements }) =>
        stageInSlab(frame.k, slab, { lines: t.block, elements }, by, (line, e) =>
          frame.element(vectors, frame.row(add(line, int(round * t.block))).env, e, slab.array.width),
        ),
      );
      const mine = eq(div(this.tile, int(atOnce)), int(round));
      const taken = sources.flatMap(({ slab, elements }, role) => {
        const first = mul(mod(this.tile, int(atOnce)), int(t.m * slab.pitch));
        const loads = this.lefts
          .slice(0, elements / t.k)
          .map((fragment, i) =>
            code.load(
              fragment,
              slab.array.name,
              add(first, int((i * t.k) / slab.array.width)),
              slab.pitch,
              "row_major",
            ),
          );
        return this.ifRole(role, loads, mine);
      });
      return [...filled.flatMap((f) => [...f.loads, ...f.sets]), barrier, ...taken, barrier];
    }).flat();
  }

  /** Each role multiplies its own vectors with those of the block, and writes the products to its strip. */
  private products(): Stmt[] {
    const { code, t } = this;
    const [dots, wides] = [this.widths.dot, this.widths.width].map((n) => this.lefts.slice(0, n / t.k));
    const of = (role: number, lefts: readonly string[], slab: Slab) =>
      this.ifRole(role, [
        ...code.scores(this.scores, lefts, this.pair[1], slab),
        ...code.storeStrip(this.scores, this.strip, this.stripOf(int(role))),
      ]);
    return [...of(0, dots!, this.dots), ...(this.kinds.includes("logits") ? of(1, wides!, this.wides) : [])];
  }

  /** Computes weights and logit gradients for `mix`: each role computes its own kind, or half of the only one. */
  private weigh(row: Env, from: Expr): Stmt[] {
    const perLane = this.t.block / 4 / lanesOfRow(this.t);
    if (this.kinds.length === 2)
      return roles.flatMap((role) =>
        this.ifRole(role, this.factorsOf(this.kinds[role]!, row, from, range(perLane), int(0))),
      );
    const half = perLane / 2;
    if (!Number.isInteger(half))
      return this.ifRole(0, this.factorsOf(this.kinds[0]!, row, from, range(perLane), int(0)));
    return this.factorsOf(this.kinds[0]!, row, from, range(half), mul(this.role, int(half * lanesOfRow(this.t))));
  }

  /** Some of a lane's accesses of a factor strip, starting at `shift`. */
  private factorsOf(kind: Kind, row: Env, from: Expr, some: readonly number[], shift: Expr): Stmt[] {
    const { t, frame, code } = this;
    const { lse, delta, ownsQueries } = frame.sides;
    const out: Stmt[] = [];
    const read = (strip: Expr, j: number) => {
      const { target, stmt } = frame.k.let("s", element(this.strip.name, "f32", code.access(add(strip, shift), j), 4));
      out.push(stmt);
      return target;
    };
    for (const j of some) {
      const logits = read(this.stripOf(int(0)), j);
      const seen = kind === "logits" ? read(this.stripOf(int(1)), j) : undefined;
      const values = [0, 1, 2, 3].map((u) => {
        const column = frame.column(add(from, add(code.column(j), add(mul(shift, int(4)), int(u)))));
        const query = ownsQueries ? row : column.env;
        const product = component(logits, u);
        const logit = frame.logit(product, row, column.env);
        const raised = builtin("exp", fsub(logit, frame.statistic(lse!, query)));
        const factor = seen
          ? uncapped(frame.p, product, logit, fmul(raised, fsub(component(seen, u), frame.statistic(delta!, query))))
          : raised;
        // Last, since a hidden value may be NaN.
        return whereVisible(frame.p, frame.visible(row, column), logit, factor);
      });
      const index = code.access(add(code.stripOf(this.tile), shift), j);
      const value = construct(
        4,
        values.map((v) => cast(v, typeOf(t))),
      );
      out.push({ kind: "set", array: this.factors.get(kind)!.name, index, value });
    }
    return out;
  }

  /** Each role adds its factor times the vectors of the block to its accumulators. */
  private mix(): Stmt[] {
    return roles.flatMap((role) => {
      const { kind, first, count } = this.jobs[role];
      const factor = { strip: this.factors.get(kind)!, own: this.code.stripOf(this.tile) };
      const slab = kind === "weights" ? this.wides : this.dots;
      if (count === 0) return [];
      return this.ifRole(role, this.code.mix(this.sums.slice(0, count), this.pair, factor, slab, first));
    });
  }

  /** Stores the accumulators, as many columns per role at a time as a strip holds. */
  private finish(row: Row): Stmt[] {
    const { t, code } = this;
    const out: Stmt[] = [];
    const each = t.block / t.n;
    for (let g = 0; g * each < this.sums.length; g++) {
      const chunks = this.jobs.map(({ count }) => this.sums.slice(g * each, Math.min((g + 1) * each, count)));
      if (g > 0) out.push(barrier);
      for (const role of roles)
        out.push(...this.ifRole(role, code.storeStrip(chunks[role]!, this.strip, this.stripOf(int(role)))));
      out.push(barrier);
      const columns = Math.max(...chunks.map((c) => c.length)) * t.n;
      for (const stored of rowStores(this.frame.k, this.frame.p))
        out.push(...this.storeChunk(stored, g * t.block, columns, row));
    }
    return out;
  }

  /** Stores the columns of a row's results that are in the strips, from column `from` on. */
  private storeChunk(stored: RowStores, from: number, columns: number, { env, inside }: Row): Stmt[] {
    const { t, frame, code } = this;
    const width = stored.axes.reduce((n, a) => n * Number(a.size), 1);
    const both = this.kinds.length === 2;
    // With two gradients both roles store half of each; with one, each stores the columns that it accumulated.
    const turns = Math.ceil(columns / 4 / lanesOfRow(t) / (both ? 2 : 1));
    return range(turns).flatMap((turn): Stmt[] => {
      const out: Stmt[] = [];
      const shift = both ? mul(this.role, int(turns * lanesOfRow(t))) : int(0);
      const start = both ? int(from) : add(mul(this.role, int(this.jobs[1].first * t.n)), int(from));
      const inChunk = add(mul(shift, int(4)), code.column(turn));
      const column = add(start, inChunk);
      const cores = frame.p.cores.filter((c) => sizeOf(widthsOf(frame.p, c)) === width);
      const fours = new Map(
        cores.map((core) => {
          const role = both ? int(this.kinds.indexOf(kindOf(core))) : this.role;
          const value = element(this.strip.name, "f32", code.access(add(this.stripOf(role), shift), turn), 4);
          const { target, stmt } = frame.k.let("v", value);
          out.push(stmt);
          return [core, target];
        }),
      );
      const stores = [0, 1, 2, 3].map((u) => {
        const e = add(column, int(u));
        const valueAt = (core: Node) => {
          const sum = component(fours.get(core)!, u);
          return kindOf(core) === "logits" ? fmul(sum, float(frame.p.scale)) : sum;
        };
        const body = storeElement(frame.k, frame.p, stored, env, clamped(e, width, 4), valueAt);
        return { inside: lt(e, int(width)), body };
      });
      const all = [...out, ...guardedVec4Stores(inside, stores, width)];
      return ifInside(lt(inChunk, int(columns)), all);
    });
  }
}

const sizeOf = (axes: readonly { readonly size: unknown }[]): number => axes.reduce((n, a) => n * Number(a.size), 1);
