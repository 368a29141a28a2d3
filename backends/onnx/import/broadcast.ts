/** NumPy broadcasting: aligns values' dimensions from the right and unifies their axis names. */
import { type Dim, type Node, ops, printDim } from "../../../compiler/index.ts";
import { type ElementType, isNarrow } from "./elements.ts";
import type { NodeView } from "./node-view.ts";
import { elements, freshName, type Known, known, type Tensor, tensor, type Value } from "./values.ts";

/** The broadcast shape. Throws if two sizes of a dimension differ and neither is 1. */
export function broadcastShape(n: NodeView, shapes: readonly (readonly Dim[])[]): Dim[] {
  const rank = Math.max(...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) => {
    let size: Dim = 1;
    for (const shape of shapes) {
      const own = shape[i - rank + shape.length] ?? 1;
      if (own === 1 || own === size) continue;
      if (size !== 1) throw n.fail(unequal(size, own));
      size = own;
    }
    return size;
  });
}

/** Error text for mismatched sizes, with a hint if they are symbolic. */
export function unequal(a: Dim, b: Dim): string {
  const open = typeof a !== "number" || typeof b !== "number";
  const hint = open
    ? `; if they are equal, set ${typeof a !== "number" ? a : b} when importing (--size, or sizes in a program)`
    : "";
  return `a dimension is ${printDim(a)} in one operand and ${printDim(b)} in another${hint}`;
}

/** Names for the dimensions of a shape, taken from the values, earlier ones first. */
export function sharedNames(shape: readonly Dim[], values: readonly Value[], base = "axis"): (string | undefined)[] {
  const names: (string | undefined)[] = [];
  for (const [i, size] of shape.entries()) {
    if (size === 1) {
      names.push(undefined);
      continue;
    }
    const own = values.flatMap((v) => (v.kind === "tensor" ? (v.axes[i - shape.length + v.shape.length] ?? []) : []));
    const free = own.find((name) => !names.includes(name));
    names.push(free ?? freshName(own[0] ?? base, [...names, ...namesOf(values)]));
  }
  return names;
}

export const namesOf = (values: readonly (Value | undefined)[]): string[] =>
  values.flatMap((v) => (v?.kind === "tensor" ? v.axes.filter((a) => a !== undefined) : []));

/** The values' nodes with common axis names, and the broadcast shape. */
export interface Aligned {
  readonly nodes: readonly Node[];
  readonly shape: readonly Dim[];
  readonly names: readonly (string | undefined)[];
}

export function aligned(n: NodeView, values: readonly Value[]): Aligned {
  const shape = broadcastShape(
    n,
    values.map((v) => v.shape),
  );
  const names = sharedNames(shape, values);
  const nodes = values.map((v) => n.named(v, v.shape.length === 0 ? [] : names.slice(-v.shape.length)));
  return { nodes, shape, names };
}

/** An elementwise operation with broadcasting; integers of fewer than 32 bits wrap to their width. */
export function pointwise(
  n: NodeView,
  values: readonly Value[],
  make: (nodes: readonly Node[]) => Node,
  type: ElementType | undefined = values[0]?.type,
): Tensor | Known {
  if (!type || !isNarrow(type)) return pointwiseInRange(n, values, make, type);
  return pointwiseInRange(n, values, (nodes) => wrap(make(nodes), type), type);
}

/** Like `pointwise`, for results that are in the range of their type already. */
export function pointwiseInRange(
  n: NodeView,
  values: readonly Value[],
  make: (nodes: readonly Node[]) => Node,
  type?: ElementType,
): Tensor | Known {
  if (values.length === 0) throw n.fail("it has no inputs");
  const result = type ?? values[0]!.type;
  if (values.some((v) => elements(v) === 0))
    return known(
      result,
      broadcastShape(
        n,
        values.map((v) => v.shape),
      ),
      [],
    );
  const { nodes, shape, names } = aligned(n, values);
  return tensor(result, shape, names, make(nodes));
}

/** Reduces modulo 2^bits into the range of the type. */
export function wrap(node: Node, { bits, range }: ElementType): Node {
  const span = 2 ** bits;
  const low = range![0];
  const above = ops.mod(ops.add(ops.mod(ops.sub(node, low), span), span), span);
  return ops.add(above, low);
}
