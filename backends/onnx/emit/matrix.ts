/** Axis orders viewed as batched matrices: batch axes, then rows and columns. */
import { sameOrder } from "./value.ts";

export interface Roles {
  /** Non-contracted axes that both operands have. */
  readonly batch: readonly string[];
  readonly contracted: readonly string[];
}

/** The memory layout of a matmul operand. */
export interface Matrix extends Roles {
  /** The axes that only this operand has. */
  readonly own: readonly string[];
  /** True if the contracted axes come before the operand's own. */
  readonly contractedFirst: boolean;
}

export const memoryOrder = (m: Matrix): string[] =>
  m.contractedFirst ? [...m.batch, ...m.contracted, ...m.own] : [...m.batch, ...m.own, ...m.contracted];

/** The order as batched matrices; undefined if axes of different roles interleave. */
export function matrixForm(order: readonly string[], { batch, contracted }: Roles): Matrix | undefined {
  const head = order.slice(0, batch.length);
  const rest = order.slice(batch.length);
  if (!head.every((n) => batch.includes(n))) return undefined;
  const sums = rest.filter((n) => contracted.includes(n));
  const own = rest.filter((n) => !contracted.includes(n));
  if (sameOrder(rest, [...own, ...sums])) return { batch: head, contracted: sums, own, contractedFirst: false };
  if (sameOrder(rest, [...sums, ...own])) return { batch: head, contracted: sums, own, contractedFirst: true };
  return undefined;
}

/**
 * The nearest order that forms matrices, preserving relative orders. If `contractedFirst` is not given, the innermost
 * axis stays innermost if possible, so that whole rows are moved.
 */
export function nearestForm(order: readonly string[], { batch, contracted }: Roles, contractedFirst?: boolean): Matrix {
  const own = order.filter((n) => !batch.includes(n) && !contracted.includes(n));
  return {
    batch: order.filter((n) => batch.includes(n)),
    contracted: order.filter((n) => contracted.includes(n)),
    own,
    contractedFirst: contractedFirst ?? own.includes(order.at(-1)!),
  };
}
