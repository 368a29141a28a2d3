/**
 * Values of an ONNX graph during import. ONNX numbers dimensions, heddle names them: a value keeps its shape in ONNX's
 * order, and maps each dimension to an axis of its node. A size-1 dimension has no axis, so that an ONNX broadcast
 * along it becomes a broadcast along a missing axis. docs/decisions/0045 describes how axes get their names.
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

/** A tensor that becomes a parameter. */
export interface Weight {
  /** Its name in the file. */
  readonly name: string;
  /** Distinguishes values derived from the tensor, such as dequantized ones; absent for the tensor itself. */
  readonly form?: string;
  /** Set for a tensor that no training stage changes. */
  readonly role?: "buffer";
  /** Its elements in ONNX's order. */
  readonly read: () => Promise<ArrayLike<number>>;
}

interface Typed {
  readonly type: ElementType;
  readonly shape: readonly Dim[];
}

/** A value computed in the new graph. */
export interface Tensor extends Typed {
  readonly kind: "tensor";
  readonly node: Node;
  /** The axis of each dimension; undefined for those of size 1. */
  readonly axes: readonly (string | undefined)[];
}

/** A compile-time constant; integers may be symbolic sizes. Row-major. */
export interface Known extends Typed {
  readonly kind: "known";
  readonly values: ArrayLike<Dim>;
}

/** A tensor of the file that becomes a parameter; its axes are named at its first use. */
export interface Stored extends Typed {
  readonly kind: "stored";
  readonly weight: Weight;
  /** Its elements if they are few, for operators that need a constant. */
  readonly known?: Known;
}

export type Value = Tensor | Known | Stored;

/** A list of tensors, whose length is known. */
export interface Sequence {
  readonly kind: "sequence";
  readonly items: readonly Value[];
}

/** What a node may read and return. */
export type Operand = Value | Sequence;

export const sequence = (items: readonly Value[]): Sequence => ({ kind: "sequence", items });

export const known = (type: ElementType, shape: readonly Dim[], values: ArrayLike<Dim>): Known => ({
  kind: "known",
  type,
  shape,
  values,
});

export const elements = ({ shape }: Typed): Dim => productOfDims(shape);

/** The constant value; undefined if it is computed at run time. */
export const knownOf = (value: Operand | undefined): Known | undefined =>
  value?.kind === "known" ? value : value?.kind === "stored" ? value.known : undefined;

export const isNumbers = (values: ArrayLike<Dim>): values is ArrayLike<number> =>
  values instanceof Float64Array || Array.prototype.every.call(values, (v) => typeof v === "number");

/** The type of a node with these dimensions and axis names. */
export const typeOf = (value: Typed, names: readonly (string | undefined)[]): TensorType =>
  tensorType(
    value.type.dtype,
    value.shape.flatMap((size, i) => (size === 1 ? [] : [{ name: names[i]!, size }])),
  );

/** A tensor of a node; size-1 dimensions have no axes. */
export const tensor = (
  type: ElementType,
  shape: readonly Dim[],
  axes: readonly (string | undefined)[],
  node: Node,
): Tensor => {
  const wrong = shape.find(
    (size) => typeof size === "number" && !(Number.isInteger(size) && size >= 1 && size < 2 ** 31),
  );
  if (wrong !== undefined) throw new UnsupportedError(`a dimension of ${wrong} elements is not supported`);
  return { kind: "tensor", type, shape, axes: shape.map((size, i) => (size === 1 ? undefined : axes[i])), node };
};

/** Renames each axis of `from` to that of `to`, simultaneously. */
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
    // A cycle: break it with a temporary name.
    const [name, wanted] = left.entries().next().value!;
    const waiting = freshName(name, made.type.axes.map((a) => a.name).concat([...left.values()]));
    made = ops.rename(made, name, waiting);
    left.delete(name);
    left.set(waiting, wanted);
  }
  return made;
}

/** The name, or if taken the name with the lowest free number: embed, embed_2, embed_3. */
export function freshName(name: string, taken: Iterable<string | undefined>): string {
  const used = new Set(taken);
  const base = /^(.*?)_[2-9]$/.exec(name)?.[1] ?? name;
  if (!used.has(base)) return base;
  for (let n = 2; ; n++) if (!used.has(`${base}_${n}`)) return `${base}_${n}`;
}
