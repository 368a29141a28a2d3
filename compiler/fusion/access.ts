/** Movement ops as index maps: where an element of a result lies in the operand. */
import { InternalError } from "../diagnostics/error.ts";
import { type Dim, termsOf } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type Axis, elementsOf, findAxis } from "../ir/type.ts";
import { type Expr, int, keyOf, sizeSymbol } from "../kernel/expr.ts";
import { add, div, mod, mul } from "../kernel/simplify.ts";

/** An index for every axis of a tensor, by name. */
export type Env = ReadonlyMap<string, Expr>;

/** A size as an index expression: a constant, or a polynomial over size symbols. */
export const dimExpr = (dim: Dim): Expr =>
  termsOf(dim)
    .map(({ coefficient, symbols }) => {
      const factors: Expr[] = symbols.map((s) => sizeSymbol(s.name));
      return [...factors, ...(coefficient === 1 && factors.length > 0 ? [] : [int(coefficient)])].reduce(mul);
    })
    .reduce(add, int(0));

const bijective = new Set(["rename", "split", "merge", "transpose"]);
const affine = new Set([...bijective, "slice", "broadcast", "window"]);

/** True for the movements whose result has each element of the operand exactly once. */
export const isBijective = (node: Node): boolean => bijective.has(node.op);
/** True for the movements that read one element at an index linear in the result's. */
export const isAffine = (node: Node): boolean => affine.has(node.op);

/** The part of an env that concerns the axes of a node. */
export function restrict(env: Env, node: Node): Env {
  const out = new Map<string, Expr>();
  for (const axis of node.type.axes) {
    const index = env.get(axis.name);
    if (index) out.set(axis.name, index);
  }
  return out;
}

const sizeOf = (node: Node, axis: string) => dimExpr(findAxis(node.type, axis)!.size);

/** The index in the operand of an affine movement, given the index in its result. */
export function operandEnv(node: Node, env: Env): Env {
  const x = node.operands[0]!;
  const out = new Map(env);
  switch (node.op) {
    case "rename": {
      out.set(node.attrs.axis as string, env.get(node.attrs.to as string)!);
      break;
    }
    case "split": {
      const into = node.attrs.into as unknown as Axis[];
      const index = into.reduce<Expr>((n, a) => add(mul(n, dimExpr(a.size)), env.get(a.name)!), int(0));
      out.set(node.attrs.axis as string, index);
      break;
    }
    case "merge": {
      let rest = env.get(node.attrs.into as string)!;
      const names = node.attrs.axes as string[];
      for (const name of names.slice(1).reverse()) {
        out.set(name, mod(rest, sizeOf(x, name)));
        rest = div(rest, sizeOf(x, name));
      }
      out.set(names[0]!, rest);
      break;
    }
    case "slice": {
      const axis = node.attrs.axis as string;
      out.set(axis, add(env.get(axis)!, dimExpr(node.attrs.start as Dim)));
      break;
    }
    case "window": {
      const kernel = (node.attrs.kernel as unknown as Axis).name;
      const stride = (node.attrs.stride as number | undefined) ?? 1;
      out.set(node.attrs.axis as string, add(mul(env.get(node.attrs.out as string)!, int(stride)), env.get(kernel)!));
      break;
    }
    case "broadcast":
    case "transpose":
      break;
    default:
      throw new InternalError(`${node.op} is no affine movement`);
  }
  return restrict(out, x);
}

/** The index in the result of a bijective movement, given the index in its operand. */
export function resultEnv(node: Node, env: Env): Env {
  const x = node.operands[0]!;
  const out = new Map(env);
  if (node.op === "rename") out.set(node.attrs.to as string, env.get(node.attrs.axis as string)!);
  if (node.op === "merge") {
    const names = node.attrs.axes as string[];
    const index = names.reduce<Expr>((n, name) => add(mul(n, sizeOf(x, name)), env.get(name)!), int(0));
    out.set(node.attrs.into as string, index);
  }
  if (node.op === "split") {
    let rest = env.get(node.attrs.axis as string)!;
    const into = node.attrs.into as unknown as Axis[];
    for (const axis of into.slice(1).reverse()) {
      out.set(axis.name, mod(rest, dimExpr(axis.size)));
      rest = div(rest, dimExpr(axis.size));
    }
    out.set(into[0]!.name, rest);
  }
  return restrict(out, node);
}

/** A text that two envs share exactly when they agree on the axes of a node. */
export const envKey = (env: Env, node: Node): string => node.type.axes.map((a) => keyOf(env.get(a.name)!)).join("|");

export const sameEnv = (a: Env, b: Env, node: Node): boolean =>
  node.type.axes.every(({ name }) => {
    const [x, y] = [a.get(name), b.get(name)];
    return x !== undefined && y !== undefined && (x === y || keyOf(x) === keyOf(y));
  });

/** The row-major address of an index in a tensor with these axes. */
export const address = (axes: readonly Axis[], env: Env): Expr =>
  axes.reduce<Expr>((n, a) => add(mul(n, dimExpr(a.size)), env.get(a.name)!), int(0));

/** The number of elements that axes span. */
export const span = (axes: readonly Axis[]): number => Number(elementsOf({ dtype: "f32", axes }));
