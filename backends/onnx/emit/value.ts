/**
 * ONNX values with named axes: a value's dimensions are groups of axes, each group merged row-major into one dimension.
 * Axes of size 1 are dropped (an empty group is a dimension of 1), and axes along which a value is constant may be
 * absent: broadcasting by name needs no copy. The order of `groups` is the layout, so most reshapes need no node.
 */
import { type Axis, type Dim, type DType, type Node, productOfDims } from "../../../compiler/index.ts";

export type Groups = readonly (readonly Axis[])[];

/** A contiguous range of a parameter or state tensor; its shape and order are decided by place-inputs. */
export interface View {
  readonly node: Node;
  /** First element of the range in the tensor. */
  readonly start: number;
  /** The range's axes, row-major. */
  readonly axes: readonly Axis[];
}

export interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly groups: Groups;
  /** The value that a further Reshape starts from, so that reshapes do not chain. */
  readonly base: { readonly name: string; readonly dims: readonly Dim[] };
  readonly view?: View;
}

/** The result of a graph node: one value, plus the same elements in other layouts created on demand. */
export interface Tensor {
  readonly dtype: DType;
  readonly layouts: Value[];
}

export const value = (name: string, dtype: DType, groups: Groups): Value => ({
  name,
  dtype,
  groups,
  base: { name, dims: dimsOf(groups) },
});

export const tensor = (...layouts: readonly [Value, ...Value[]]): Tensor => ({
  dtype: layouts[0].dtype,
  layouts: [...layouts],
});

export const first = (t: Tensor): Value => t.layouts[0]!;
export const axesOf = (v: Value): readonly Axis[] => v.groups.flat();
export const orderOf = (v: Value): string[] => axesOf(v).map((a) => a.name);
export const dimsOf = (groups: Groups): Dim[] => groups.map((g) => productOfDims(g.map((a) => a.size)));

/** The axes that matter for layouts: those of size other than 1. */
export const realAxes = (axes: readonly Axis[]): Axis[] => axes.filter((a) => a.size !== 1);

/** Each axis as its own dimension; an axis of size 1 is a dimension without axes. */
export const separate = (axes: readonly Axis[]): Groups => axes.map((a) => (a.size === 1 ? [] : [a]));

export const sameOrder = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i]);

export const sameGroups = (a: Groups, b: Groups): boolean =>
  a.length === b.length && a.every((g, i) => g.length === b[i]!.length && g.every((x, k) => x.name === b[i]![k]!.name));

/** An element count for comparing layouts; a symbol counts as 64. */
export const weightOf = (axes: readonly Axis[]): number =>
  axes.reduce((n, a) => n * (typeof a.size === "number" ? a.size : 64), 1);

/** The same memory with other axes: `change` maps each axis to its replacements. */
export function relabel(v: Value, change: (axis: Axis) => readonly Axis[]): Value {
  const map = (axes: readonly Axis[]) => realAxes(axes.flatMap(change));
  return {
    ...v,
    groups: v.groups.map(map),
    ...(v.view && { view: { ...v.view, axes: map(v.view.axes) } }),
  };
}

/** Splits groups between adjacent axes for which `apart` is true. */
export const splitGroups = (groups: Groups, apart: (before: Axis, after: Axis) => boolean): Groups =>
  groups.flatMap((g) => {
    if (g.length < 2) return [g];
    const parts: Axis[][] = [[g[0]!]];
    for (let i = 1; i < g.length; i++) {
      if (apart(g[i - 1]!, g[i]!)) parts.push([g[i]!]);
      else parts.at(-1)!.push(g[i]!);
    }
    return parts;
  });

/** Makes each named axis its own dimension. */
export const isolate = (groups: Groups, names: readonly string[]): Groups =>
  splitGroups(groups, (a, b) => names.includes(a.name) || names.includes(b.name));

/** The dimension that is exactly this axis; -1 if there is none. */
export const dimOf = (v: Value, name: string): number =>
  v.groups.findIndex((g) => g.length === 1 && g[0]!.name === name);
