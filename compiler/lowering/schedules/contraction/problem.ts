/**
 * The contraction problem, as all of its schedules see it: its two sides, the summed axes, and the epilogue. Axes that
 * only one operand has are flattened to rows or columns; axes that both have and the result keeps are batch axes.
 */
import {
  coresOf,
  dimExpr,
  type Env,
  indexOver,
  isMultipleOf,
  isOne,
  restrict,
  spanOf,
  typicalSpan,
} from "../../../fusion/index.ts";
import { type Dim, divideDims } from "../../../ir/dim.ts";
import { deviceElementBytes } from "../../../ir/dtype.ts";
import type { Node } from "../../../ir/node.ts";
import { scaleOf } from "../../../ir/op.ts";
import { type Axis, findAxis, hasAxis } from "../../../ir/type.ts";
import { children, type Expr, float, int, keyOf, type Stmt, withChildren } from "../../../kernel/index.ts";
import { add, div, mentions, min, mod, mul, strideOf, sub } from "../../../kernel/simplify.ts";
import { coordinatesOf } from "../../coordinates.ts";
import type { Lowering } from "../../kernel.ts";

export interface Sides {
  readonly rows: Side;
  /** The side with the result's innermost axis: its elements are neighbours in memory. */
  readonly columns: Side;
}

/** One side of the product: its operand and the axes that only it has. */
export interface Side {
  readonly operand: Node;
  readonly axes: readonly Axis[];
  readonly size: Dim;
}

export interface ContractionProblem extends Sides {
  readonly k: Lowering;
  readonly batch: readonly Axis[];
  /** The summed axes, and their total number of indices (K). */
  readonly over: readonly Axis[];
  readonly depth: Dim;
  /**
   * The sides of each product, in the order of the cores; the kernel computes several products, and this schedule only
   * one. The first one's are also `rows` and `columns`.
   */
  readonly products: readonly Sides[];
}

/** Why a schedule for a single product refuses several. */
export const severalProducts = "the kernel computes several products, and this schedule only one";

/** The products of a kernel that its stores use, in the order of its cores. */
const coresOfKernel = ({ fused, places }: Lowering): readonly Node[] => {
  const used = coresOf(fused.group!, fused.stores, places);
  return fused.group!.cores.filter((c) => used.has(c));
};

export function contractionProblem(k: Lowering): ContractionProblem {
  const [core, ...others] = coresOfKernel(k) as [Node, ...Node[]];
  const [a, b] = [core.operands[0]!, core.operands[1]!];
  const own = (x: Node, y: Node) => core.type.axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name));
  const batch = core.type.axes.filter((c) => hasAxis(a.type, c.name) && hasAxis(b.type, c.name));
  const [left, right] = own(a, b).includes(core.type.axes.at(-1)!) ? [b, a] : [a, b];
  const side = (x: Node, y: Node): Side => ({ operand: x, axes: own(x, y), size: spanOf(own(x, y)) });
  const over = inOrderOfMemory(
    k,
    (core.attrs.over as string[]).map((n) => findAxis(a.type, n)!),
    [a, b],
  );
  const sides: Sides = { rows: side(left, right), columns: side(right, left) };
  const further = others.map(({ operands: [c, d] }): Sides => {
    const [rows, columns] = left === a ? [c!, d!] : [d!, c!];
    return { rows: side(rows, columns), columns: side(columns, rows) };
  });
  return { k, ...sides, batch, over, depth: spanOf(over), products: [sides, ...further] };
}

/**
 * The summed axes reordered so that the innermost one is contiguous in the larger operand: the channels of a
 * convolution, for example, whose windows are then read tap by tap. Unchanged if no axis is contiguous.
 */
function inOrderOfMemory(k: Lowering, over: readonly Axis[], operands: readonly Node[]): readonly Axis[] {
  if (over.length === 1) return over;
  const bySize = [...operands].sort((x, y) => typicalSpan(y.type.axes) - typicalSpan(x.type.axes));
  for (const operand of bySize) {
    const inner = over.findLast((axis) => !isOne(axis.size) && isRun(k, [axis], operand, []));
    if (inner) return [...over.filter((axis) => axis !== inner), inner];
  }
  return over;
}

/** The side whose length is open until a run, if the other's is known. */
export function openSide({ rows, columns }: ContractionProblem): Side | undefined {
  const open = [rows, columns].filter((s) => typeof s.size !== "number");
  return open.length === 1 ? open[0] : undefined;
}

/** The epilogue of a result: binds the sum of each product, and stores all results computed elementwise from them. */
export function storesOf(k: Lowering, env: Env, ...sums: readonly Expr[]): Stmt[] {
  const lets = coresOfKernel(k).map((core, i) => {
    const { target, stmt } = k.let("d", sums[i]!);
    k.values.bind(core, restrict(env, core), target);
    return stmt;
  });
  return [...lets, ...k.storesAt(k.fused.stores, coordinatesOf(k.fused.group!.rows, env))];
}

/** Whether every element of an operand is exactly representable in f16, such as f32 values widened from f16. */
export function holdsHalves({ k }: ContractionProblem, { operand }: Side): boolean {
  const env: Env = new Map(operand.type.axes.map((a) => [a.name, indexOver(k.names.fresh("k"), a.size)]));
  const isHalf = (e: Expr): boolean => {
    if (e.dtype === "f16") return true;
    if (e.kind === "const") return Math.f16round(e.value) === e.value;
    if (e.kind === "select") return isHalf(e.yes) && isHalf(e.no);
    return e.kind === "cast" && e.dtype === "f32" && e.a.dtype === "f16";
  };
  return operand.type.dtype === "f16" || isHalf(k.values.at(operand, env));
}

/** Bytes of the widest memory access. */
const bytesOfLoad = 16;

/** Run lengths to consider, up to as many elements as one access has of the smallest type. */
const runs = [32, 16, 8, 4, 2, 1] as const;

/** What a run of indices along an axis loads from one tensor. */
interface RunLoads {
  readonly indices: Set<string>;
  readonly bytes: number;
  /** Distance in elements to the next run; undefined if it is not constant. */
  readonly stride: number | undefined;
}

/**
 * The loads, per tensor, for `width` consecutive indices of the last axis, starting at a multiple of `width`; loads
 * that do not depend on that axis are left out. The other axes are kept symbolic: a concrete index such as 0 could lie
 * in the padding of a map, where nothing is loaded.
 */
function loadsOfRun(
  k: Lowering,
  along: readonly Axis[],
  operand: Node,
  envs: readonly Env[],
  width: number,
): RunLoads[] {
  const last = along.at(-1)!;
  const counter = indexOver(k.names.fresh("k"), last.size);
  const others = operand.type.axes.map((a, i) => [a.name, indexOver(`at${i}`, a.size)] as const);
  const said = envs.flatMap((e) => [...e].filter(([, index]) => index.kind !== "const"));
  const found = new Map<string, RunLoads>();
  const note = (e: Expr): void => {
    if (e.kind === "load" && mentions(e.index, counter.name)) {
      const stride = strideOf(e.index, counter.name);
      const known = found.get(e.buffer) ?? { indices: new Set(), bytes: deviceElementBytes(e.dtype), stride };
      found.set(e.buffer, { ...known, stride: known.stride === stride ? stride : undefined });
      known.indices.add(keyOf(e.index));
    }
    for (const c of children(e)) note(c);
  };
  for (let u = 0; u < width; u++) {
    const index = add(mul(counter, int(width)), int(u));
    const all = new Map([...others, ...said, [last.name, index]]);
    note(k.values.at(operand, restrict(all, operand)));
  }
  return [...found.values()];
}

/** Whether a tensor of the operand is contiguous along the last axis: runs of loads follow one another. */
function isRun(k: Lowering, along: readonly Axis[], operand: Node, envs: readonly Env[]): boolean {
  const width = runs.find((n) => isMultipleOf(along.at(-1)!.size, n))!;
  return loadsOfRun(k, along, operand, envs, width).some(({ indices, stride }) => stride === indices.size);
}

/** Whether an operand's elements along the innermost of some axes are loaded from contiguous memory. */
export const isContiguous = (k: Lowering, along: readonly Axis[], side: Side, ...envs: readonly Env[]): boolean =>
  isRun(k, along, side.operand, envs);

/**
 * The vectorization width along some axes: as many elements as keep the loads of each tensor within one access. A power
 * of two that divides the innermost axis: 32 for four-bit weights, 8 for f16, 4 for f32.
 */
export function elementsOfLoad(k: Lowering, along: readonly Axis[], side: Side): number {
  const fits = (width: number) =>
    loadsOfRun(k, along, side.operand, [], width).every(({ indices, bytes }) => indices.size * bytes <= bytesOfLoad);
  return runs.find((width) => isMultipleOf(along.at(-1)!.size, width) && fits(width)) ?? 1;
}

/** Factors out the scale that all values share, if they are dequantized: it is applied once to a sum of products. */
export function withoutScale(values: readonly Expr[]): { readonly values: readonly Expr[]; readonly scale?: Expr } {
  const places = values.map((e) => (e.kind === "op" ? scaleOf(e.op) : undefined));
  const scales = values.map((e, i) => (e.kind === "op" ? e.args[places[i] ?? -1] : undefined));
  const [scale] = scales;
  if (values.length < 2 || !scale || scales.some((s) => !s || keyOf(s) !== keyOf(scale))) return { values };
  const bare = values.map((e, i) => {
    const args = (e as Extract<Expr, { kind: "op" }>).args;
    return withChildren(
      e,
      args.map((a, at) => (at === places[i] ? float(1) : a)),
    );
  });
  return { values: bare, scale };
}

/** An index clamped below `size`; by whole runs of `each` if these divide it, so that a run stays contiguous. */
export function clamped(index: Expr, size: Dim, each: number): Expr {
  const runs = divideDims(size, each);
  if (runs === undefined || each === 1) return min(index, sub(dimExpr(size), int(1)));
  const run = min(div(index, int(each)), sub(dimExpr(runs), int(1)));
  return add(mul(run, int(each)), mod(index, int(each)));
}
