/** The attention problem, as all of its schedules see it: the nodes, what they have in common, and what is stored. */

import {
  attentionRows,
  coresOf,
  dimExpr,
  type Env,
  isFree,
  restrict,
  type Store,
  span,
} from "../../../fusion/index.ts";
import type { Node } from "../../../ir/node.ts";
import { type AttentionCore, coreOf, isPerPlace, operandNamed } from "../../../ir/op.ts";
import { type Axis, findAxis, hasAxis } from "../../../ir/type.ts";
import { builtin, cast, type Expr, float, floatArith, int, opCall, rangeOf, type Stmt } from "../../../kernel/index.ts";
import { add, and, mul, select } from "../../../kernel/simplify.ts";
import { coordinatesOf } from "../../coordinates.ts";
import { ceilDiv, type Lowering, unflatten } from "../../kernel.ts";
import { ifInside } from "../../loops.ts";
import type { Fit } from "../../schedule.ts";

/** Stands for minus infinity, as in the op's definition. */
export const hidden = -1e30;
/** Lower bound for sums of weights, so that a row that sees nothing yields 0. */
export const least = 1e-30;

export const fadd = (a: Expr, b: Expr) => floatArith("add", a, b);
export const fsub = (a: Expr, b: Expr) => floatArith("sub", a, b);
export const fmul = (a: Expr, b: Expr) => floatArith("mul", a, b);

export const passOf = (node: Node) => (coreOf(node) as AttentionCore).pass;
export const partOf = (node: Node) => (coreOf(node) as AttentionCore).part;

/** Whether a result has an element per query-key pair, as the gradient of a bias does. */
export const isOfPairs = (node: Node): boolean => partOf(node) === "pairs";

/** Whether a condition is constant true. */
const isTrue = (e: Expr): boolean => e.kind === "const" && e.value === 1;

/** a <= b: unlike !(a > b), false for NaN. */
export const notAbove = (a: Expr, b: Expr): Expr => ({ kind: "compare", dtype: "bool", op: "le", a, b });

/**
 * The weighted sum divided by the sum of weights. A row that sees nothing (total at most `least`) yields 0 whatever its
 * hidden values are; the sum itself would not, since 0 times NaN or infinity is NaN.
 */
export const meanOf = ({ bias, mask }: Parts, mixed: Expr, total: Expr): Expr => {
  const mean = floatArith("div", mixed, total);
  return bias || mask ? select(notAbove(total, float(least)), float(0), mean) : mean;
};

/** The logit of a query-key pair, given its dot product: scaled, softly capped, plus the bias. */
export function logitOf(k: Lowering, parts: Parts, product: Expr, at: Env): Expr {
  const { bias, scale, softcap } = parts;
  const capped =
    softcap === undefined ? fmul(product, float(scale)) : fmul(tanhOf(parts, softcap, product), float(softcap));
  return bias ? fadd(capped, cast(k.values.at(bias, restrict(at, bias)), "f32")) : capped;
}

/** Whether a logit takes more than a product, so that kernels that read it twice keep it in a register. */
export const isLongLogit = ({ bias, softcap }: Parts): boolean => bias !== undefined || softcap !== undefined;

const tanhOf = ({ scale }: Parts, softcap: number, product: Expr): Expr =>
  opCall("tanh", "f32", [fmul(product, float(scale / softcap))]);

/** The cotangent of a scaled dot product, given that of its logit: the derivative of the cap is 1 − tanh². */
export function uncapped(parts: Parts, product: Expr, logit: Expr, cotangent: Expr): Expr {
  const { softcap, bias } = parts;
  if (softcap === undefined) return cotangent;
  const part = bias ? tanhOf(parts, softcap, product) : fmul(logit, float(1 / softcap));
  return fmul(cotangent, fsub(float(1), fmul(part, part)));
}

/** A pair's contribution: 0 if it is hidden by the mask or by a bias of minus infinity. A NaN logit is not hidden. */
export function whereVisible({ bias }: Parts, visible: Expr, logit: Expr, value: Expr): Expr {
  const shown = select(visible, value, float(0));
  return bias ? select(notAbove(logit, float(hidden)), float(0), shown) : shown;
}

/** The logit of a pair, `hidden` where the mask hides it; `visible`: the mask's value, true where the pair is seen. */
export interface MaskedLogit {
  readonly x: Expr;
  readonly visible: Expr;
}

/** A query-key pair of the backward pass. */
export interface Pair {
  /** The dot product of the query and the key. */
  readonly product: Expr;
  readonly logit: Expr;
  readonly visible: Expr;
  readonly weight: Expr;
}

/** The maximum of some of a row's logits. */
export const topOf = (logits: readonly MaskedLogit[]): Expr =>
  logits.map(({ x }) => x).reduce((a, b) => floatArith("max", a, b));

/** A pair's weight relative to the row's maximum: 0 if it is hidden, even if all of the row is. NaN propagates. */
export function weightOf({ bias }: Parts, { x, visible }: MaskedLogit, top: Expr): Expr {
  const raised = builtin("exp", fsub(x, top));
  return isTrue(visible) && !bias ? raised : select(notAbove(x, float(hidden)), float(0), raised);
}

/** The attention nodes of one kernel and what they share. */
export interface Parts {
  readonly cores: readonly Node[];
  readonly dot: Axis;
  readonly over: Axis;
  readonly scale: number;
  readonly softcap: number | undefined;
  readonly q: Node;
  readonly k: Node;
  readonly v: Node | undefined;
  readonly bias: Node | undefined;
  readonly mask: Node | undefined;
  /** The axes that identify a row, and the axes of the other side that it iterates over. */
  readonly rows: readonly Axis[];
  readonly walked: readonly Axis[];
  /** The axis along which the keys are split into independent segments (split-K): a row axis that no operand has. */
  readonly part: Axis | undefined;
  /** The axes of a value other than rows and keys. */
  readonly widths: readonly Axis[];
}

function partsOf(cores: readonly Node[]): Parts {
  const main = cores.find((c) => operandNamed(c, "v")) ?? cores[0]!;
  const [q, k] = [main.operands[0]!, main.operands[1]!];
  const v = operandNamed(main, "v");
  const dot = findAxis(q.type, main.attrs.dot as string)!;
  const over = findAxis(k.type, main.attrs.over as string)!;
  const logits = [...q.type.axes, ...k.type.axes.filter((a) => !hasAxis(q.type, a.name))].filter(
    (a) => a.name !== dot.name,
  );
  const rows = attentionRows(main);
  return {
    cores,
    dot,
    over,
    scale: main.attrs.scale as number,
    softcap: main.attrs.softcap as number | undefined,
    q,
    k,
    v,
    bias: operandNamed(main, "bias"),
    mask: operandNamed(main, "mask"),
    rows,
    part: main.attrs.part === undefined ? undefined : (main.attrs.part as unknown as Axis),
    walked: logits.filter((a) => !rows.some((r) => r.name === a.name)),
    widths: v ? v.type.axes.filter((a) => !logits.some((l) => l.name === a.name)) : [],
  };
}

/** Whether an operand varies along the walked axes, rather than once per row. */
export const isOfWalked = ({ walked }: Parts, node: Node): boolean => walked.some((a) => hasAxis(node.type, a.name));

/** The attention nodes of a kernel. */
export interface AttentionProblem {
  readonly k: Lowering;
  readonly parts: Parts;
}

export function attentionProblem(k: Lowering): AttentionProblem {
  const group = k.fused.group!;
  const used = coresOf(group, k.fused.stores, k.places);
  return { k, parts: partsOf(group.cores.filter((c) => used.has(c))) };
}

/** True if the head widths are known, as every schedule requires; otherwise the reason. */
export function knownWidths({ dot, widths }: Parts): Fit {
  const open = [dot, ...widths].find((a) => typeof a.size !== "number");
  return (
    open === undefined || `the head axis "${open.name}" has the symbolic size ${open.size}: a known number is needed`
  );
}

/**
 * Whether a kernel can compute an attention node: no if a head width is open, since threads hold whole vectors, nor if
 * it reads more tensors than the adapter can bind, as gradients do when bias and mask are both tensors.
 */
export const hasAttentionKernel = (node: Node, { maxBindings }: { readonly maxBindings: number }): boolean =>
  knownWidths(partsOf([node])) === true && tensorsOf(node).size < maxBindings;

/** The operands that must be bound as tensors: all except per-pair expressions of positions only. */
const tensorsOf = (node: Node): Set<Node> =>
  new Set(node.operands.filter((o, i) => !isPerPlace(node, i) || !isOfPositions(o)));

const isOfPositions = (n: Node): boolean =>
  n.operands.length === 0 ? isFree(n) : coreOf(n) === undefined && n.operands.every(isOfPositions);

/** The axes of a core besides its rows. */
export const widthsOf = (p: Parts, core: Node): readonly Axis[] =>
  core.type.axes.filter((a) => !p.rows.some((r) => r.name === a.name));

/** A row that a kernel computes: its index, and whether it exists. */
export interface Row {
  readonly env: Env;
  readonly inside: Expr;
}

/** Stores whose values have the same number of elements per row, and the axes of those elements. */
export interface RowStores {
  readonly axes: readonly Axis[];
  readonly stores: readonly Store[];
}

export function rowStores(k: Lowering, p: Parts): RowStores[] {
  const groups = new Map<number, { axes: readonly Axis[]; stores: Store[] }>();
  for (const store of k.fused.stores) {
    const axes = storedWidths(k, p, store);
    const known = groups.get(span(axes)) ?? { axes, stores: [] };
    known.stores.push(store);
    groups.set(span(axes), known);
  }
  return [...groups.values()];
}

/** The axes of a stored value besides its rows, taken from the core that it is computed from. */
function storedWidths(k: Lowering, p: Parts, store: Store): readonly Axis[] {
  if (!usesWidths(k.places.get(store.value)!.env!)) return [];
  const used = coresOf(k.fused.group!, [store], k.places);
  return widthsOf(p, [...used].find((c) => widthsOf(p, c).length > 0)!);
}

const usesWidths = (env: Env): boolean => {
  const mentionsWidth = (e: Expr): boolean => {
    if (e.kind === "var") return /^w\d+$/.test(e.name);
    return e.kind === "arith" ? mentionsWidth(e.a) || mentionsWidth(e.b) : false;
  };
  return [...env.values()].some(mentionsWidth);
};

/** The stores of element `e` of a row, given the cores' values there. */
export function storeElement(
  k: Lowering,
  p: Parts,
  { axes, stores }: RowStores,
  row: Env,
  e: Expr,
  valueAt: (core: Node, e: Expr) => Expr,
): Stmt[] {
  const out: Stmt[] = [];
  for (const core of p.cores) {
    const own = widthsOf(p, core);
    if (span(own) !== span(axes) && own.length > 0) continue;
    const { target, stmt } = k.let("y", valueAt(core, own.length > 0 ? e : int(0)));
    out.push(stmt);
    k.values.bind(core, restrict(new Map([...row, ...unflatten(e, own)]), core), target);
  }
  const names = axes.map((a, i) => ({ name: `w${i}`, size: a.size }));
  const at = new Map([...coordinatesOf(k.fused.group!.rows, row), ...unflatten(e, names)]);
  out.push(...k.storesAt(stores, at));
  return out;
}

/** Four adjacent stores, under one guard if four divides the width, so that they can be vectorized. */
export function guardedVec4Stores(
  row: Expr,
  stores: readonly { readonly inside: Expr; readonly body: readonly Stmt[] }[],
  width: number,
): Stmt[] {
  if (width % 4 === 0)
    return ifInside(
      and(row, stores[0]!.inside),
      stores.flatMap((s) => s.body),
    );
  return stores.flatMap((s) => ifInside(and(row, s.inside), s.body));
}

/** The range of keys of a part: [from, to), of at most `most` keys; lengths of parts differ by at most one. */
export function keysOfPart({ part, over }: Parts, index: Expr | undefined): { from: Expr; to: Expr; most: number } {
  const keys = dimExpr(over.size);
  const { max } = rangeOf(keys);
  if (!part || !index) return { from: int(0), to: keys, most: max };
  const count = Number(part.size);
  const start = (i: Expr) => ceilDiv(mul(i, keys), count);
  return { from: start(index), to: start(add(index, int(1))), most: Math.ceil(max / count) };
}
