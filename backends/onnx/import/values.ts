/**
 * Values of an ONNX graph while it is read. ONNX counts dimensions from the left, heddle names them: a value keeps its shape
 * in ONNX's order, and which axis of its node each dimension is. A dimension of size 1 is no axis, so that what ONNX
 * broadcasts by a 1 heddle broadcasts by the axis that is not there. docs/decisions/0045 says how axes get their names.
 */
import {
  type Dim,
  type Node,
  ops,
  productOfDims,
  type TensorType,
  tensorType,
  UnsupportedError,
} from "../../../compiler/index.ts";
import type { ElementType } from "./elements.ts";

/** A tensor that is to be a parameter. */
export interface Weight {
  /** Its name in the file. */
  readonly name: string;
  /** Which of the values it is that are made of that tensor; absent for its own numbers. */
  readonly form?: string;
  /** Its elements in ONNX's order. */
  readonly read: () => Promise<ArrayLike<number>>;
}

interface Typed {
  readonly type: ElementType;
  readonly shape: readonly Dim[];
}

/** A value of the graph that is made. */
export interface Tensor extends Typed {
  readonly kind: "tensor";
  readonly node: Node;
  /** The axis of each dimension; undefined for those of size 1. */
  readonly axes: readonly (string | undefined)[];
}

/** What is known while the file is read; integers may be sizes that are open. Row-major. */
export interface Known extends Typed {
  readonly kind: "known";
  readonly values: ArrayLike<Dim>;
}

/** A tensor of the file that becomes a parameter; its axes are named where it is first used. */
export interface Stored extends Typed {
  readonly kind: "stored";
  readonly weight: Weight;
  /** Its elements, where they are few and in the file itself: what reads a setting from them may. */
  readonly known?: Known;
}

export type Value = Tensor | Known | Stored;

export const known = (type: ElementType, shape: readonly Dim[], values: ArrayLike<Dim>): Known => ({
  kind: "known",
  type,
  shape,
  values,
});

export const elements = ({ shape }: Typed): Dim => productOfDims(shape);

/** What is known of a value; undefined where it is computed when the graph runs. */
export const knownOf = (value: Value | undefined): Known | undefined =>
  value?.kind === "known" ? value : value?.kind === "stored" ? value.known : undefined;

export const isNumbers = (values: ArrayLike<Dim>): values is ArrayLike<number> =>
  values instanceof Float64Array || Array.prototype.every.call(values, (v) => typeof v === "number");

/** The type of a node with these dimensions, under the names given. */
export const typeOf = (value: Typed, names: readonly (string | undefined)[]): TensorType =>
  tensorType(
    value.type.dtype,
    value.shape.flatMap((size, i) => (size === 1 ? [] : [{ name: names[i]!, size }])),
  );

/** A tensor of a node whose axes are named; dimensions of size 1 have none. */
export const tensor = (
  type: ElementType,
  shape: readonly Dim[],
  axes: readonly (string | undefined)[],
  node: Node,
): Tensor => {
  const wrong = shape.find(
    (size) => typeof size === "number" && !(Number.isInteger(size) && size >= 1 && size < 2 ** 31),
  );
  if (wrong !== undefined) throw new UnsupportedError(`a dimension of ${wrong} elements`);
  return { kind: "tensor", type, shape, axes: shape.map((size, i) => (size === 1 ? undefined : axes[i])), node };
};

/** The node with each axis of `from` named as in `to`, all at once. */
export function renamed(node: Node, from: readonly (string | undefined)[], to: readonly (string | undefined)[]): Node {
  const left = new Map<string, string>();
  from.forEach((name, i) => {
    if (name !== undefined && name !== to[i]) left.set(name, to[i]!);
  });
  let made = node;
  while (left.size > 0) {
    const free = [...left].find(([, name]) => !made.type.axes.some((a) => a.name === name));
    if (free) {
      made = ops.rename(made, free[0], free[1]);
      left.delete(free[0]);
      continue;
    }
    // A circle: one of its axes waits under a name of its own.
    const [name, wanted] = left.entries().next().value!;
    const waiting = freshName(name, made.type.axes.map((a) => a.name).concat([...left.values()]));
    made = ops.rename(made, name, waiting);
    left.delete(name);
    left.set(waiting, wanted);
  }
  return made;
}

/** The name, or that name with the lowest number that is not taken: embed, embed_2, embed_3. */
export function freshName(name: string, taken: Iterable<string | undefined>): string {
  const used = new Set(taken);
  const base = /^(.*?)_[2-9]$/.exec(name)?.[1] ?? name;
  if (!used.has(base)) return base;
  for (let n = 2; ; n++) if (!used.has(`${base}_${n}`)) return `${base}_${n}`;
}
