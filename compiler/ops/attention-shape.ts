/** What the attention ops share: operands by name, constraints, axes, and the convention for hidden pairs. */
import { addDims, productOfDims } from "../ir/dim.ts";
import type { Attrs, Node } from "../ir/node.ts";
import type { AttentionCore, AttrSpec, OpCase, OperandRole, Work } from "../ir/op.ts";
import { OpViolation } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis, printAxes, type TensorType, tensorType } from "../ir/type.ts";
import { contract, contractAxes } from "./contraction.ts";
import { add, cast, div, exp, le, max, mul, select, sub, tanh } from "./elementwise.ts";
import { requireAxes } from "./kinds.ts";
import { reduceMax, reduceSum } from "./reductions.ts";

/** Stands in for minus infinity among logits, as WGSL may assume no infinities: logits at or below it are hidden. */
export const hidden = -1e30;

/** The operands of an attention op; its record says which it has, and in which order. */
export interface Given<T> {
  readonly q: T;
  readonly k: T;
  readonly v: T;
  readonly lse: T;
  readonly delta: T;
  readonly dy: T;
  readonly bias: T | undefined;
  readonly mask: T | undefined;
}

/** Operands by their record names. */
export const given = <T>(names: readonly string[], operands: readonly T[]): Given<T> =>
  Object.fromEntries(names.map((n, i) => [n.replace("?", ""), operands[i]])) as unknown as Given<T>;

/** Appends the optional operands to an op's operands: the bias first, then the mask. */
export const withLast = <T>(first: readonly T[], { bias, mask }: Partial<Pick<Given<T>, "bias" | "mask">>): T[] => [
  ...first,
  ...(bias === undefined ? [] : [bias]),
  ...(mask === undefined ? [] : [mask]),
];

/**
 * Every attention op has two records: without a bias, and with one before the mask. Only the last operand of a record
 * may be optional, so bias and mask cannot both be.
 */
export interface Variant {
  readonly biased: boolean;
  readonly name: (op: string) => string;
  readonly operands: (...first: readonly (keyof Given<unknown>)[]) => string[];
  readonly constraints: Readonly<Record<string, string>>;
}

export const attentionAttrs: Readonly<Record<string, AttrSpec>> = {
  dot: { kind: "axis" },
  over: { kind: "axis" },
  scale: { kind: "number" },
  softcap: { kind: "number", optional: true },
};
const constraints = {
  C1: "q and k have the dot axis, with the same size",
  C2: "k and v have the key axis, with the same size, and q does not",
  C3: "an axis shared by q, k or v has the same size in each, except that v may have its own axis named like dot",
  C4: "q, k and v have the same floating-point dtype",
  C5: "the mask is bool, and its axes are axes of the logits",
  C7: "softcap is a finite number above 0",
};
const variant = (biased: boolean): Variant => ({
  biased,
  name: (op) => (biased ? `biased_${op}` : op),
  operands: (...first) => [...first, ...(biased ? ["bias"] : []), "mask?"],
  constraints: biased
    ? { ...constraints, C5: "the mask is bool, the bias f32 or f16, and their axes are axes of the logits" }
    : constraints,
});

export const variants: readonly Variant[] = [variant(false), variant(true)];
/** The variant for these operands. */
export const variantOf = ({ bias }: { readonly bias?: unknown }): Variant => variants[bias === undefined ? 0 : 1]!;

const attentionRoles: Readonly<Record<keyof Given<unknown>, OperandRole>> = {
  q: "factor",
  k: "factor",
  v: "factor",
  lse: "statistic",
  delta: "statistic",
  dy: "factor",
  bias: "bias",
  mask: "mask",
};

/** The roles of an op's operands. */
export const rolesOf = (names: readonly string[]): Readonly<Record<string, OperandRole>> =>
  given(
    names,
    names.map((n) => attentionRoles[n.replace("?", "") as keyof Given<unknown>]),
  ) as unknown as Record<string, OperandRole>;

export interface Parts {
  readonly dot: string;
  readonly over: string;
  readonly scale: number;
  /** The bound of the scaled logits, softcap · tanh(logit / softcap), before a bias; none if undefined. */
  readonly softcap: number | undefined;
}
export const parts = (a: Attrs): Parts => ({
  dot: a.dot as string,
  over: a.over as string,
  scale: a.scale as number,
  softcap: a.softcap as number | undefined,
});

/** The axes of the logits: those of q without dot, then the remaining ones of k. */
export const logitAxes = (q: TensorType, k: TensorType, dot: string): Axis[] => contractAxes(q.axes, k.axes, [dot]);

/** Throws OpViolation for operands that do not fit together. */
export function check(
  q: TensorType,
  k: TensorType,
  v: TensorType,
  { bias, mask }: Partial<Pick<Given<TensorType>, "bias" | "mask">>,
  { dot, over, softcap }: Parts,
): void {
  if (softcap !== undefined && !(softcap > 0 && Number.isFinite(softcap)))
    throw new OpViolation("C7", `softcap is ${softcap}`, "leave it out for logits without a bound");
  requireAxes(q, [dot], "C1", "q");
  requireAxes(k, [dot], "C1", "k");
  requireAxes(k, [over], "C2", "k");
  requireAxes(v, [over], "C2", "v");
  if (hasAxis(q, over)) throw new OpViolation("C2", `q has the key axis "${over}"`, "rename the key axis of k and v");
  checkFactors({ q, k, v }, dot);
  checkPairOperands({ bias, mask }, logitAxes(q, k, dot));
}

/** C3 and C4: q, k and v agree in the sizes of their axes and in their dtype. */
function checkFactors({ q, k, v }: Pick<Given<TensorType>, "q" | "k" | "v">, dot: string): void {
  const sizes = new Map<string, Axis>();
  for (const [name, t] of Object.entries({ q, k, v })) {
    for (const a of t.axes) {
      if (a.name === dot && t === v) continue; // v's own width may share the dot axis's name
      const known = sizes.get(a.name) ?? a;
      if (known.size !== a.size)
        throw new OpViolation("C3", `axis "${a.name}" is ${known.size} in another operand and ${a.size} in ${name}`);
      sizes.set(a.name, a);
    }
    if (t.dtype !== q.dtype || !["f32", "f16"].includes(t.dtype))
      throw new OpViolation("C4", `${name} is ${t.dtype} and q is ${q.dtype}`, "convert them with cast(x, dtype)");
  }
}

/** C5: bias and mask have axes of the logits, and their dtypes. */
function checkPairOperands(
  { bias, mask }: Partial<Pick<Given<TensorType>, "bias" | "mask">>,
  logits: readonly Axis[],
): void {
  for (const [name, t] of Object.entries({ bias, mask })) {
    const alien = t?.axes.find((a) => logits.find((l) => l.name === a.name)?.size !== a.size);
    if (alien)
      throw new OpViolation(
        "C5",
        `axis ${printAxes([alien])} of the ${name} is not an axis of the logits ${printAxes(logits)}`,
      );
  }
  if (bias && !["f32", "f16"].includes(bias.dtype))
    throw new OpViolation("C5", `the bias is ${bias.dtype}`, "cast it to f32");
  if (mask && mask.dtype !== "bool")
    throw new OpViolation(
      "C5",
      `the mask is ${mask.dtype}`,
      "make it bool, with a comparison or cast: true means visible",
    );
}

/** The result's axes: those of q without dot, then v's own without the key axis. */
export function outAxes(q: TensorType, v: TensorType, { dot, over }: Parts): Axis[] {
  const rows = q.axes.filter((a) => a.name !== dot);
  return [...rows, ...v.axes.filter((a) => a.name !== over && !rows.some((r) => r.name === a.name))];
}

export const rowAxes = (q: TensorType, k: TensorType, { dot, over }: Parts): Axis[] =>
  logitAxes(q, k, dot).filter((a) => a.name !== over);

/** The row axes of a forward result. */
export const queryRows: AttentionCore["rows"] = ([q, k], a, type) => {
  const rows = rowAxes(q!, k!, parts(a));
  return type.axes.filter((x) => rows.some((r) => r.name === x.name));
};

/** The work of products over the [row, key] pairs: `dot` along the width of q and k, `width` along that of v. */
export function attentionWork(
  [q, k, v]: readonly TensorType[],
  a: Attrs,
  products: { readonly dot: number; readonly width: number },
): Work {
  const { dot, over } = parts(a);
  const pairs = logitAxes(q!, k!, dot).map((x) => x.size);
  const own = (v?.axes ?? []).filter((x) => x.name !== over && (x.name === dot || !hasAxis(q!, x.name)));
  const along = (times: number, axes: readonly Axis[]) => productOfDims([times, ...pairs, ...axes.map((x) => x.size)]);
  return { macs: addDims(along(products.dot, [findAxis(q!, dot)!]), along(products.width, own)), others: 0 };
}

/** Widens to f32: row statistics and what is computed from them are f32, whatever the dtype of q, k and v. */
export const wide = (x: Node): Node => (x.type.dtype === "f16" ? cast(x, "f32") : x);

/** A stand-in type for the values of an op that takes none. */
export const valuesOfKeys = (k: TensorType, a: Attrs): TensorType =>
  tensorType(k.dtype, [requireAxes(k, [a.over as string], "C2", "k")[0]!]);

type Paired = Pick<Given<Node>, "q" | "k" | "bias" | "mask">;

/** Whether a row may have no visible keys. */
export const mayBeFullyMasked = ({ bias, mask }: Pick<Given<unknown>, "bias" | "mask">): boolean =>
  bias !== undefined || mask !== undefined;

/** The scaled logits, softly capped, without a bias: [query..., key] */
function cappedLogits({ q, k }: Paired, { dot, scale, softcap }: Parts): Node {
  const scaled = mul(contract(wide(q), wide(k), [dot]), scale);
  return softcap === undefined ? scaled : mul(tanh(div(scaled, softcap)), softcap);
}

/** scale · q·k, softly capped, + bias: [query..., key] */
export function logitsOf(g: Paired, p: Parts): Node {
  const capped = cappedLogits(g, p);
  return g.bias ? add(capped, wide(g.bias)) : capped;
}

/**
 * The cotangents of the scaled logits from those of the capped: the derivative of c · tanh(x / c) is 1 − tanh²(x / c).
 */
export function uncapped(dLogits: Node, g: Paired, p: Parts): Node {
  if (p.softcap === undefined) return dLogits;
  const part = div(cappedLogits(g, p), p.softcap);
  return mul(dLogits, sub(1, mul(part, part)));
}

/** x, or 0 for pairs hidden by the mask or by a logit at or below `hidden`. A nan logit hides nothing. */
export function seenOnly({ bias, mask }: Pick<Paired, "bias" | "mask">, logits: Node, x: Node): Node {
  const shown = mask ? select(mask, x, 0) : x;
  return bias ? select(le(logits, hidden), 0, shown) : shown;
}

/** Weighted values divided by the sum of weights; 0 if that sum is 0, whatever the hidden values are. */
export const meanOf = (mixed: Node, total: Node): Node => select(le(total, 0), 0, div(mixed, max(total, 1e-30)));
/** The unnormalized softmax weights exp(logit − max), their sum along the keys, and the maximum. */
export function raise(g: Paired, p: Parts): { raised: Node; total: Node; top: Node } {
  const plain = logitsOf(g, p);
  const logits = g.mask ? select(g.mask, plain, hidden) : plain;
  const largest = reduceMax(logits, [p.over]);
  const top = g.bias ? max(largest, hidden) : largest;
  const raised = seenOnly(g, logits, exp(sub(logits, top)));
  return { raised, total: reduceSum(raised, [p.over]), top };
}

/** Operand types that records are tested with. */
export const qT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "q", size: 3 },
  { name: "h", size: 2 },
  { name: "d", size: 4 },
]);
export const kT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "k", size: 5 },
  { name: "h", size: 2 },
  { name: "d", size: 4 },
]);
export const vT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "k", size: 5 },
  { name: "h", size: 2 },
  { name: "w", size: 3 },
]);
const maskT = tensorType("bool", [
  { name: "q", size: 3 },
  { name: "k", size: 5 },
]);
export const rowT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "q", size: 3 },
  { name: "h", size: 2 },
]);
export const outT = tensorType("f32", [...rowT.axes, { name: "w", size: 3 }]);
export const outD = tensorType("f32", [...rowT.axes, { name: "d", size: 4 }]);
export const usual = { dot: "d", over: "k", scale: 0.5 };
export const unit = { low: -1, high: 1 };
export const flag = { low: 0, high: 1, integer: true };
export const tolerance = { f32: { absolute: 1e-5, relative: 1e-4 } };
/** Biases per head, query and key; per batch and key; and per query only, which has no effect. */
export const biases = [["h", "q", "k"], ["b", "k"], ["q"]].map((names) =>
  tensorType(
    "f32",
    names.map((name) => ({ name, size: { b: 2, h: 2, q: 3, k: 5 }[name]! })),
  ),
) as [TensorType, TensorType, TensorType];

/** Test cases from operands `first`, with bias and mask appended. */
export function casesOf(biased: boolean, first: readonly (readonly TensorType[])[]): OpCase[] {
  const [plain, ...others] = first as [readonly TensorType[], ...(readonly TensorType[])[]];
  const pairs = biased
    ? [
        [...plain, biases[0]],
        [...plain, biases[1], maskT],
        ...others.map((o, i) => [...o, biases[(2 - i) % 3]!, maskT]),
      ]
    : [plain, [...plain, maskT], ...others.map((o) => [...o, maskT])];
  return [
    ...pairs.map((operands) => ({ operands, attrs: usual })),
    { operands: pairs.at(-1)!, attrs: { ...usual, softcap: 0.75 } },
  ];
}
