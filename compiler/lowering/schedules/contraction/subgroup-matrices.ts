/**
 * Contractions on matrix units: the subgroups of a workgroup each multiply a block of small matrices, which they load from
 * slabs of both operands in memory that they share. Operands are halves, or what else the units take; sums are f32.
 * Slabs keep the order in which an operand lies in memory, so that no operand is turned around on its way.
 */
import { dimExpr, type Env, restrict, spanOf, typical, typicalSpan } from "../../../fusion/index.ts";
import { boundsOf } from "../../../ir/dim.ts";
import { dtypeBytes } from "../../../ir/dtype.ts";
import {
  type ArrayDecl,
  cast,
  component,
  construct,
  type Expr,
  element,
  type FragmentDecl,
  float,
  int,
  rangeOf,
  type Stmt,
  type Var,
  variable,
} from "../../../kernel/index.ts";
import { add, and, div, lt, mod, mul, select } from "../../../kernel/simplify.ts";
import type { AdapterFacts } from "../../facts.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import { type Fit, type Schedule, tileWaste } from "../../schedule.ts";
import { type ContractionProblem, clamped, neighbours, type Side, storesOf } from "./problem.ts";

interface MatrixTile extends Readonly<Record<string, number>> {
  /** One step of the matrix units: left [m, k] times right [k, n]. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Bytes of an operand's element. */
  readonly bytes: number;
  /** Matrices of a subgroup, down and across, and subgroups of a workgroup. */
  readonly down: number;
  readonly across: number;
  readonly subgroupsDown: number;
  readonly subgroupsAcross: number;
  /** Indices of the contracted axes that one slab has. */
  readonly depth: number;
  readonly lanes: number;
}

/** Blocks of matrices to a subgroup, and subgroups to a workgroup, the largest first. */
const blocks = [
  { down: 4, across: 4, subgroupsDown: 2, subgroupsAcross: 2 },
  { down: 2, across: 2, subgroupsDown: 2, subgroupsAcross: 2 },
] as const;

/** Workgroups that keep a GPU busy: below, a smaller tile makes more of them. */
const manyWorkgroups = 128;

const rowsOf = (t: MatrixTile): number => t.m * t.down * t.subgroupsDown;
const columnsOf = (t: MatrixTile): number => t.n * t.across * t.subgroupsAcross;
const threadsOf = (t: MatrixTile): number => t.subgroupsDown * t.subgroupsAcross * t.lanes;
/** Elements of 16 bytes, by which slabs are accessed. */
const widthOf = (t: MatrixTile): 4 | 8 => (t.bytes === 2 ? 8 : 4);
/** Accesses from one line of a slab to the next: odd, so that lines begin in different banks. */
const pitchOf = (line: number, t: MatrixTile): number => line / widthOf(t) + 1;
/** Fours of f32 from one row of a strip of results to the next. */
const stripPitch = (t: MatrixTile): number => (t.n * t.across) / 4 + 1;
const stripSize = (t: MatrixTile): number => t.subgroupsDown * t.subgroupsAcross * t.m * stripPitch(t);

function settings(facts: AdapterFacts): readonly MatrixTile[] | string {
  const { min, max } = facts.subgroupSizes;
  if (min !== max && !facts.features.has("subgroup_size")) return "the adapter does not say which subgroups it takes";
  const shapes = facts.matrices.filter((s) => s.result === "f32" && (s.operands === "f16" || s.operands === "f32"));
  if (shapes.length === 0) return "no matrices of the adapter are summed in f32";
  const tiles = shapes.flatMap(({ m, n, k, operands }) =>
    blocks.map((block): MatrixTile => {
      const bytes = operands === "f16" ? 2 : 4;
      return { m, n, k, bytes, ...block, depth: Math.max(k, 64 / bytes), lanes: min };
    }),
  );
  const granted = tiles.filter((t) => isGranted(t, facts));
  return granted.length > 0 ? granted : "its slabs take more memory than workgroups have";
}

/** Slabs as long as the worse of their two orders makes them, and the strips of results. */
function isGranted(t: MatrixTile, facts: AdapterFacts): boolean {
  const slab = (side: number) => 16 * Math.max(side * pitchOf(t.depth, t), t.depth * pitchOf(side, t));
  const bytes = slab(rowsOf(t)) + slab(columnsOf(t)) + 16 * stripSize(t);
  return bytes <= facts.maxWorkgroupStorage && threadsOf(t) <= facts.maxWorkgroupInvocations;
}

const workgroups = ({ rows, columns, batch }: ContractionProblem, t: MatrixTile): number =>
  Math.ceil(typical(rows.size) / rowsOf(t)) * Math.ceil(typical(columns.size) / columnsOf(t)) * typicalSpan(batch);

function fits({ rows, columns, batch, depth }: ContractionProblem, t: MatrixTile, facts: AdapterFacts): Fit {
  for (const { operand } of [rows, columns]) {
    const { dtype } = operand.type;
    if ((dtype !== "f16" && dtype !== "f32") || dtypeBytes[dtype] !== t.bytes)
      return `an operand is ${dtype}, and the units take elements of ${t.bytes} bytes`;
  }
  if (2 * typical(rows.size) < rowsOf(t) || 2 * typical(columns.size) < columnsOf(t))
    return `a tile of ${rowsOf(t)} by ${columnsOf(t)} would be more than half empty`;
  if (typical(depth) < t.depth) return `a sum of ${depth} is shorter than a slab`;
  const most = facts.maxWorkgroupsPerDimension;
  const open = [
    { dim: rows.size, max: most * rowsOf(t) },
    { dim: columns.size, max: most * columnsOf(t) },
    { dim: spanOf(batch), max: most },
  ].filter(({ dim, max }) => Math.min(boundsOf(dim).max, 2 ** 31 / t.depth) > max);
  return open.length === 0 || { assuming: open };
}

export const subgroupMatrices: Schedule<ContractionProblem, MatrixTile> = {
  name: "subgroup-matrices",
  summary: "subgroups multiply blocks of small matrices on matrix units, from slabs that a workgroup shares",
  features: ["subgroups", "subgroup_matrix"],
  settings,
  fits,
  cost: (problem, t) =>
    workgroups(problem, t) >= manyWorkgroups ? 1 / (rowsOf(t) * columnsOf(t)) : rowsOf(t) * columnsOf(t),
  waste: ({ rows, columns }, t) =>
    tileWaste([
      [typical(rows.size), rowsOf(t)],
      [typical(columns.size), columnsOf(t)],
    ]),
  lower: (problem, tile) => new MatrixLowering(problem, tile).run(),
};

/** One operand's slab: lines of 16-byte accesses, each line the side's elements of one step, or one element's steps. */
interface Slab {
  readonly array: ArrayDecl;
  readonly side: Side;
  /** The side's elements that a workgroup has, and the first of them. */
  readonly size: number;
  readonly first: Expr;
  /** Whether a line is the steps of one element: so they lie in memory. */
  readonly deep: boolean;
  readonly pitch: number;
}

class MatrixLowering {
  private readonly p: ContractionProblem;
  private readonly t: MatrixTile;
  private readonly out: Stmt[] = [];
  private readonly fragments: FragmentDecl[] = [];
  private readonly lid: Var;
  private readonly subgroup: Var;

  constructor(problem: ContractionProblem, tile: MatrixTile) {
    this.p = problem;
    this.t = tile;
    this.lid = variable("lid", "i32", { min: 0, max: threadsOf(tile) - 1 });
    this.subgroup = variable("subgroup_id", "i32", { min: 0, max: tile.subgroupsDown * tile.subgroupsAcross - 1 });
  }

  run(): KernelCode {
    const { rows, columns, batch, k } = this.p;
    const t = this.t;
    // Workgroups that run together share their columns, the side that weights are on.
    const grid = [
      ceilDiv(dimExpr(rows.size), rowsOf(t)),
      ceilDiv(dimExpr(columns.size), columnsOf(t)),
      dimExpr(spanOf(batch)),
    ] as const;
    const [x, y, z] = ["wid_x", "wid_y", "wid_z"].map((n, i) =>
      variable(n, "i32", { min: 0, max: rangeOf(grid[i]!).max - 1 }),
    );
    const batchEnv = unflatten(this.bound("z", z!), batch);
    const left = this.slab(rows, mul(x!, int(rowsOf(t))), rowsOf(t), batchEnv);
    const right = this.slab(columns, mul(y!, int(columnsOf(t))), columnsOf(t), batchEnv);
    const [down, across] = [
      this.bound("sm", mod(this.subgroup, int(t.subgroupsDown))),
      this.bound("sn", mod(div(this.subgroup, int(t.subgroupsDown)), int(t.subgroupsAcross))),
    ];
    const sums = range(t.down).map(() => range(t.across).map(() => this.fragment("result", t.m, t.n)));
    this.out.push(this.sum(left, right, down, across, sums, batchEnv));
    const strip: ArrayDecl = {
      name: k.names.fresh("strip"),
      dtype: "f32",
      length: 4 * stripSize(t),
      width: 4,
      space: "workgroup",
    };
    sums.forEach((line, i) => {
      const row = add(left.first, add(mul(down, int(t.down * t.m)), int(i * t.m)));
      const column = add(right.first, mul(across, int(t.across * t.n)));
      this.store(strip, line, row, column, batchEnv);
    });
    const arrays = [left.array, right.array, strip];
    const workgroup = [threadsOf(t), 1, 1] as const;
    return { body: this.out, grid, workgroup, arrays, fragments: this.fragments, subgroupSize: t.lanes };
  }

  private bound(prefix: string, value: Expr): Expr {
    if (value.kind === "const") return value;
    const { target, stmt } = this.p.k.let(prefix, value);
    this.out.push(stmt);
    return target;
  }

  private fragment(role: FragmentDecl["role"], rows: number, columns: number): string {
    const name = this.p.k.names.fresh(role === "result" ? "sum" : role);
    const dtype = role === "result" || this.t.bytes === 4 ? "f32" : "f16";
    this.fragments.push({ name, role, dtype, rows, columns });
    return name;
  }

  private slab(side: Side, first: Expr, size: number, batchEnv: Env): Slab {
    const t = this.t;
    const deep = neighbours(this.p.k, this.p.over, side, unflatten(int(0), side.axes), batchEnv);
    const [lines, line] = deep ? [size, t.depth] : [t.depth, size];
    const pitch = pitchOf(line, t);
    const array: ArrayDecl = {
      name: this.p.k.names.fresh("slab"),
      dtype: t.bytes === 2 ? "f16" : "f32",
      length: lines * pitch * widthOf(t),
      width: widthOf(t),
      space: "workgroup",
    };
    return { array, side, size, first: this.bound("f", first), deep, pitch };
  }

  /** Slab by slab: all threads bring it, then each subgroup adds its products. */
  private sum(left: Slab, right: Slab, down: Expr, across: Expr, sums: readonly (readonly string[])[], batchEnv: Env) {
    const t = this.t;
    const count = ceilDiv(dimExpr(this.p.depth), t.depth);
    const index = variable(this.p.k.names.fresh("k"), "i32", { min: 0, max: rangeOf(count).max - 1 });
    const from = mul(index, int(t.depth));
    const lefts = sums.map(() => this.fragment("left", t.m, t.k));
    const top = this.fragment("right", t.k, t.n);
    const products = range(t.depth / t.k).flatMap((step): Stmt[] => [
      ...lefts.map((name, i) =>
        this.load(name, left, add(mul(down, int(t.down * t.m)), int(i * t.m)), step * t.k, "left"),
      ),
      ...range(t.across).flatMap((j): Stmt[] => [
        this.load(top, right, add(mul(across, int(t.across * t.n)), int(j * t.n)), step * t.k, "right"),
        ...lefts.map(
          (name, i): Stmt => ({ kind: "fragment_multiply", fragment: sums[i]![j]!, left: name, right: top }),
        ),
      ]),
    ]);
    const body: Stmt[] = [
      ...this.fill(left, from, batchEnv),
      ...this.fill(right, from, batchEnv),
      { kind: "barrier" },
      ...products,
      { kind: "barrier" },
    ];
    return { kind: "for", index, from: int(0), to: count, step: 1, body } as const;
  }

  /** A matrix of a slab: that of the side's elements from `first` on, and of the steps from `step` on. */
  private load(fragment: string, slab: Slab, first: Expr, step: number, role: "left" | "right"): Stmt {
    const width = int(widthOf(this.t));
    const { deep, pitch, array } = slab;
    const offset = deep
      ? add(mul(first, int(pitch)), int(step / widthOf(this.t)))
      : add(int(step * pitch), div(first, width));
    // A line of a deep slab is a row of the left operand, and a column of the right one.
    const order = deep === (role === "left") ? "row_major" : "column_major";
    return { kind: "fragment_load", fragment, from: { array: array.name, offset, stride: int(pitch), order } };
  }

  /** Brings one slab: each thread some accesses, such that neighbouring threads read neighbours in memory. */
  private fill({ array, side, size, first, deep, pitch }: Slab, from: Expr, batchEnv: Env): Stmt[] {
    const { depth, over, k } = this.p;
    const width = widthOf(this.t);
    const dtype = array.dtype as "f16" | "f32";
    const perLine = (deep ? this.t.depth : size) / width;
    const accesses = perLine * (deep ? size : this.t.depth);
    const turns = Math.ceil(accesses / threadsOf(this.t));
    return range(turns).flatMap((turn): Stmt[] => {
      const at = add(this.lid, int(turn * threadsOf(this.t)));
      const [line, along] = [div(at, int(perLine)), mul(mod(at, int(perLine)), int(width))];
      const parts = range(width).map((u) => {
        const [item, step] = deep ? [line, add(along, int(u))] : [add(along, int(u)), line];
        const index = add(from, step);
        const env = new Map([
          ...batchEnv,
          ...unflatten(clamped(add(first, item), side.size, width), side.axes),
          ...unflatten(clamped(index, depth, width), over),
        ]);
        const value = cast(k.values.at(side.operand, restrict(env, side.operand)), dtype);
        // Past the end of the sum both operands are 0; past the end of a side results are not stored.
        return select(lt(index, dimExpr(depth)), value, float(0, dtype));
      });
      const index = add(mul(line, int(pitch)), mod(at, int(perLine)));
      const set: Stmt = { kind: "set", array: array.name, index, value: construct(width, parts) };
      const inside = lt(at, int(accesses));
      return inside.kind === "const" ? [set] : [{ kind: "if", condition: inside, body: [set] }];
    });
  }

  /** Stores one row of a subgroup's matrices, through a strip of memory in which lanes see their elements. */
  private store(strip: ArrayDecl, line: readonly string[], row: Expr, column: Expr, batchEnv: Env): void {
    const { k, rows, columns } = this.p;
    const t = this.t;
    const pitch = stripPitch(t);
    const own = mul(this.subgroup, int(t.m * pitch));
    line.forEach((fragment, j) => {
      const to = {
        array: strip.name,
        offset: add(own, int((j * t.n) / 4)),
        stride: int(pitch),
        order: "row_major",
      } as const;
      this.out.push({ kind: "fragment_store", fragment, to });
    });
    this.out.push({ kind: "barrier" });
    const perRow = (t.n * t.across) / 4;
    const index = variable(k.names.fresh("q"), "i32", { min: 0, max: t.m * perRow - 1 });
    const [r, quad] = [div(index, int(perRow)), mod(index, int(perRow))];
    const four = k.let("v", element(strip.name, "f32", add(own, add(mul(r, int(pitch)), quad)), 4));
    const i = add(row, r);
    const body: Stmt[] = [four.stmt];
    const whole = lt(add(column, mul(quad, int(4))), dimExpr(columns.size));
    const stores = range(4).map((u) => {
      const j = add(column, add(mul(quad, int(4)), int(u)));
      const env = new Map([
        ...batchEnv,
        ...unflatten(clamped(i, rows.size, 1), rows.axes),
        ...unflatten(clamped(j, columns.size, 4), columns.axes),
      ]);
      return { inside: lt(j, dimExpr(columns.size)), body: storesOf(k, env, component(four.target, u)) };
    });
    const inRows = lt(i, dimExpr(rows.size));
    const guard = (condition: Expr, inner: Stmt[]): Stmt[] =>
      condition.kind === "const" ? (condition.value ? inner : []) : [{ kind: "if", condition, body: inner }];
    // Where columns come by fours, a four is inside or outside as a whole, and its stores are one.
    if (typeof columns.size === "number" && columns.size % 4 === 0)
      body.push(
        ...guard(
          and(inRows, whole),
          stores.flatMap((s) => s.body),
        ),
      );
    else for (const s of stores) body.push(...guard(and(inRows, s.inside), s.body));
    const lane = variable("lane", "i32", { min: 0, max: t.lanes - 1 });
    this.out.push({ kind: "for", index, from: lane, to: int(t.m * perRow), step: t.lanes, body }, { kind: "barrier" });
  }
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
