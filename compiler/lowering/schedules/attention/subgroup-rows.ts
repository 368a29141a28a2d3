/**
 * Attention, forward and backward, on CPU threads. Each lane of a subgroup owns rows of one side, and the lanes iterate
 * over the other side together: each loads the vectors of a different position, and they exchange these by pairwise
 * shuffles. A vector is thus loaded once for the rows of all lanes, where a load costs as much as a dozen products; and
 * an iteration covers as many positions as there are lanes, since each loop-carried accumulator costs as much as five
 * products per iteration. Each lane visits the positions in a different order.
 */
import { dimExpr, type Env, isMultipleOf, span, spanOf, typical } from "../../../fusion/index.ts";
import type { Node } from "../../../ir/node.ts";
import { operandNamed } from "../../../ir/op.ts";
import { type Axis, hasAxis } from "../../../ir/type.ts";
import {
  bool,
  type Const,
  component,
  construct,
  type Expr,
  indexVar,
  int,
  rangeOf,
  type Stmt,
  subgroupCall,
  type Var,
  variable,
  variableFor,
} from "../../../kernel/index.ts";
import { add, and, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { onlySoftware, onlySubgroupSize } from "../../facts.ts";
import { ceilDiv, type KernelCode, unflatten } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";
import { typicalOnThreads } from "../compile-time.ts";
import { costOnThreads } from "./cost-on-threads.ts";
import { type AttentionProblem, isOfWalked, knownWidths, type Parts, type Row } from "./problem.ts";
import type { Vector } from "./row-array.ts";
import { AttentionLowering, type RowsInRegisters } from "./rows-lowering.ts";

/** Maximum rows per lane, and elements of their vectors on one side: code size and compile time grow with both. */
const most = { rows: 4, elements: 256 };
/** Maximum lanes: each has a copy of the loop body. With lavapipe's eight it runs no faster and compiles longer. */
const mostLanes = 4;

/** The cost of loading a block's vectors, in rows multiplied with them: measured on SwiftShader, heads of 32. */
const bringing = 1;

interface SubgroupRows extends RowsInRegisters {
  /** The adapter's only subgroup size. */
  readonly lanes: number;
}

export const subgroupRows: Schedule<AttentionProblem, SubgroupRows> = {
  name: "subgroup-rows",
  summary: "each lane of a subgroup owns rows of one side; vectors of the other side are exchanged by shuffles",
  features: ["subgroups"],
  settings: (facts) => {
    if (!facts.software) return onlySoftware;
    const lanes = onlySubgroupSize(facts);
    if (typeof lanes === "string") return lanes;
    if (lanes > mostLanes)
      return `the loop body would be unrolled for ${lanes} lanes, which software drivers compile slowly`;
    const kept = { threads: lanes, lanes, sums: 4, looped: 1, single: 0 };
    return Array.from({ length: most.rows }, (_, i) => ({ ...kept, rows: most.rows - i, elements: most.elements }));
  },
  fits: ({ parts }, { lanes, rows, elements }) => {
    const fit = knownWidths(parts);
    if (fit !== true) return fit;
    if (parts.part) return "the keys are split into ranges that may be short";
    const { dot, widths, walked } = parts;
    const needed = Number(dot.size) + span(widths);
    if (rows * needed > elements) return `${rows} rows of ${needed} elements do not fit a lane's registers`;
    const [own, other] = [rowsOf(parts).mine, walked].map((axes) => typical(spanOf(axes))) as [number, number];
    if (own < lanes) return `${own} rows loop over the same vectors, fewer than the ${lanes} lanes of a subgroup`;
    return other >= lanes || `the loop has ${other} iterations, fewer than the ${lanes} lanes of a subgroup`;
  },
  cost: ({ parts }, { lanes, rows }) => {
    const own = typicalOnThreads(spanOf(rowsOf(parts).mine));
    // Rows past the end are computed as well.
    const shared = (Math.ceil(own / (lanes * rows)) * lanes * rows * (rows + bringing)) / own - rows;
    return costOnThreads(parts, { compiled: lanes * rows, atATime: rows, shared });
  },
  lower: ({ k, parts }, settings) => new LanesLowering(k, parts, settings).lower(),
};

/** The axes of rows that read the same vectors of the other side, and the remaining row axes. */
function rowsOf(p: Parts): { readonly mine: readonly Axis[]; readonly others: readonly Axis[] } {
  const shared = operandsOf(p).filter(([node]) => isOfWalked(p, node));
  const mine = p.rows.filter((a) => shared.every(([node]) => !hasAxis(node.type, a.name)));
  return { mine, others: p.rows.filter((a) => !mine.includes(a)) };
}

/** The operands whose vectors a query-key pair needs, with their axes; row statistics are vectors of one element. */
function operandsOf({ cores, q, k, v, dot, widths }: Parts): (readonly [Node, readonly Axis[]])[] {
  const named = (name: string) => operandNamed(cores[0]!, name);
  const all = [
    [q, [dot]],
    [k, [dot]],
    [v, widths],
    [named("dy"), widths],
    [named("lse"), []],
    [named("delta"), []],
  ] as const;
  return all.flatMap(([node, axes]) => (node ? [[node, axes] as const] : []));
}

class LanesLowering extends AttentionLowering {
  protected override readonly unrolled = most.elements;
  private readonly lanes: number;
  private readonly lane: Var;
  /** The vectors that a lane has for its current position. */
  private brought: ReadonlyMap<Node, Vector> = new Map();
  /** Whether a lane's current position exists. */
  private inside: Expr = bool(true);

  constructor(k: AttentionProblem["k"], p: Parts, settings: SubgroupRows) {
    super(k, p, settings);
    this.lanes = settings.lanes;
    this.lane = variable("lane", "i32", { min: 0, max: settings.lanes - 1 });
  }

  override lower(): KernelCode {
    const { mine, others } = rowsOf(this.p);
    const size = dimExpr(spanOf(mine));
    this.rows = this.settings.rows;
    const tiles = ceilDiv(size, this.lanes * this.rows);
    // A workgroup is one subgroup, so control flow around subgroup operations is uniform.
    const code = this.k.perWorkgroup(mul(tiles, dimExpr(spanOf(others))), this.lanes, (item) => {
      const first = this.k.let("t", mul(add(mul(mod(item, tiles), int(this.lanes)), this.lane), int(this.rows)));
      const rest = this.k.let("o", div(item, tiles));
      const common = unflatten(rest.target, others);
      this.rowAt = (i) => {
        const exact = add(first.target, i);
        return {
          env: new Map([...common, ...unflatten(min(exact, sub(size, int(1))), mine)]),
          inside: lt(exact, size),
        };
      };
      return [first.stmt, rest.stmt, ...this.allRows()];
    });
    return { ...code, arrays: this.arrays, subgroupSize: this.lanes };
  }

  /** Blocks of as many positions as there are lanes: each lane loads the vectors of one, and every lane visits all. */
  protected override walk(row: Row, body: (other: Env) => Stmt[]): Stmt[] {
    const { walked } = this.p;
    const size = spanOf(walked);
    const [count, blocks] = [dimExpr(size), ceilDiv(dimExpr(size), this.lanes)];
    const block = indexVar(this.k.names.fresh("k"), rangeOf(blocks).max);
    const out: Stmt[] = [];
    const bind = (value: Expr): Var => {
      const target = variableFor(this.k.names.fresh("w"), value);
      out.push({ kind: "let", target, value });
      return target;
    };
    const whole = isMultipleOf(size, this.lanes);
    // Past the end the last position is loaded again; its contribution is masked out.
    const envOf = (place: Expr) => unflatten(whole ? place : min(place, sub(count, int(1))), walked);
    const own = bind(add(mul(block, int(this.lanes)), this.lane));
    const at = new Map([...row.env, ...envOf(own)]);
    const loaded = operandsOf(this.p)
      .filter(([node]) => isOfWalked(this.p, node))
      .map(([node, axes]) => [node, piecesOf(super.vector(node, at, axes), span(axes)).map(bind)] as const);
    for (let mask = 0; mask < this.lanes; mask++) {
      const other = (v: Var): Var => (mask === 0 ? v : bind(subgroupCall("shuffle_xor", v, int(mask))));
      const place = other(own);
      this.brought = new Map(loaded.map(([node, pieces]) => [node, vectorOf(pieces.map(other))]));
      this.inside = whole ? bool(true) : lt(place, count);
      out.push(...body(envOf(place)));
    }
    return [{ kind: "for", index: block, from: int(0), to: blocks, step: 1, body: out }];
  }

  protected override vector(node: Node, env: Env, axes: readonly Axis[]): Vector {
    return this.brought.get(node) ?? super.vector(node, env, axes);
  }

  protected override visible(env: Env): Expr | undefined {
    const shown = super.visible(env);
    if (this.inside.kind === "const") return shown;
    return shown ? and(this.inside, shown) : this.inside;
  }
}

/** The pieces in which a vector is shuffled: vec4s if four divides its length. */
function piecesOf(vector: Vector, length: number): Expr[] {
  const width = length % 4 === 0 ? 4 : 1;
  return Array.from({ length: length / width }, (_, i) => {
    const elements = Array.from({ length: width }, (_, u) => vector(int(i * width + u)));
    return width === 1 ? elements[0]! : construct(4, elements);
  });
}

/** The vector made of these pieces. */
function vectorOf(pieces: readonly Var[]): Vector {
  const width = pieces[0]!.width ?? 1;
  return (e) => {
    const { value } = e as Const;
    const piece = pieces[Math.floor(value / width)]!;
    return width === 1 ? piece : component(piece, value % width);
  };
}
