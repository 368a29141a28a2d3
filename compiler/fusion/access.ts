/** Movement ops as index maps: from the index of a result element to the index in the operand. */
import { InternalError } from "../diagnostics/error.ts";
import type { IndexAlgebra } from "../ir/algebra.ts";
import type { Node } from "../ir/node.ts";
import { indexMapOf } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { type Expr, int, keyOf } from "../kernel/index.ts";
import { add, and, clampIndex, div, le, lt, mod, mul, sub } from "../kernel/simplify.ts";
import { dimExpr, isOne, spanOf } from "./sizes.ts";

/** An index for every axis of a tensor, by name. */
export type Env = ReadonlyMap<string, Expr>;

/** Index arithmetic that builds kernel expressions. */
const exprs: IndexAlgebra<Expr> = { dim: dimExpr, add, sub, mul, div, mod, le, lt, and };

/** The env restricted to the axes of a node. */
export function restrict(env: Env, node: Node): Env {
  const out = new Map<string, Expr>();
  for (const axis of node.type.axes) {
    const index = env.get(axis.name);
    if (index) out.set(axis.name, index);
  }
  return out;
}

/** The index of an axis: always 0 if its size is 1, even if the env has a counter for it. */
const indexOf = (env: Env, { name, size }: Axis): Expr | undefined => (isOne(size) ? int(0) : env.get(name));

/** The env restricted to the axes of a node, with the index of axes of size 1 canonicalized to 0. */
export function settled(env: Env, node: Node): Env {
  const out = new Map<string, Expr>();
  for (const axis of node.type.axes) {
    const index = indexOf(env, axis);
    if (index) out.set(axis.name, index);
  }
  return out;
}

/** The env for another tensor: indices from the map, and the same index for all other axes. */
const moved = (changed: Readonly<Record<string, Expr>>, env: Env, node: Node): Env =>
  restrict(new Map([...env, ...Object.entries(changed)]), node);

const indexIn = (env: Env) => (axis: string) => env.get(axis)!;

/** The env of the operand of an affine movement op, given that of the result. */
export const operandEnv = (node: Node, env: Env): Env =>
  moved(indexMapOf(node)!.sources[0]!.index(exprs, indexIn(settled(env, node))), env, node.operands[0]!);

/** The env of the result of a bijective movement op, given that of the operand. */
export const resultEnv = (node: Node, env: Env): Env =>
  moved(indexMapOf(node)!.inverse!(exprs, indexIn(settled(env, node.operands[0]!))), env, node);

/** For a movement op with conditions (pad, concatenation): each operand, its clamped env, and when it is read. */
export function sourcesOf(node: Node, env: Env): { operand: Node; env: Env; inside: Expr | undefined }[] {
  return indexMapOf(node)!.sources.map(({ index, inside }, i) => {
    const operand = node.operands[i]!;
    const changed = Object.entries(index(exprs, indexIn(env))).map(([axis, e]) => {
      return [axis, clampIndex(e, dimExpr(findAxis(operand.type, axis)!.size))] as const;
    });
    return { operand, env: moved(Object.fromEntries(changed), env, operand), inside: inside?.(exprs, indexIn(env)) };
  });
}

/** A key that is equal for two envs exactly if they agree on the axes of a node. */
export const envKey = (env: Env, node: Node): string => node.type.axes.map((a) => keyOf(indexOf(env, a)!)).join("|");

export const sameEnv = (a: Env, b: Env, node: Node): boolean =>
  node.type.axes.every((axis) => {
    const [x, y] = [indexOf(a, axis), indexOf(b, axis)];
    return x !== undefined && y !== undefined && (x === y || keyOf(x) === keyOf(y));
  });

/** The row-major address of an index in a tensor with these axes. */
export const address = (axes: readonly Axis[], env: Env): Expr =>
  axes.reduce<Expr>((n, a) => add(mul(n, dimExpr(a.size)), env.get(a.name)!), int(0));

/** The number of elements of axes with static sizes; throws InternalError if a size is symbolic. */
export function span(axes: readonly Axis[]): number {
  const elements = spanOf(axes);
  if (typeof elements === "number") return elements;
  throw new InternalError(`${elements} elements, but a known number is needed`);
}
