/** Tensor types: a dtype and named axes. Axis order is the default layout and has no meaning beyond that. */

import { type Dim, dimKey, productOfDims } from "./dim.ts";
import type { DType } from "./dtype.ts";

export interface Axis {
  readonly name: string;
  readonly size: Dim;
}

/** The dtype and axes of a tensor. */
export interface TensorType {
  readonly dtype: DType;
  readonly axes: readonly Axis[];
}

export const tensorType = (dtype: DType, axes: readonly Axis[]): TensorType => ({ dtype, axes });
export const hasAxis = (type: TensorType, name: string): boolean => type.axes.some((a) => a.name === name);
export const axisNames = (type: TensorType): string[] => type.axes.map((a) => a.name);
export const elementsOf = (type: TensorType): Dim => productOfDims(type.axes.map((a) => a.size));

export const findAxis = (type: TensorType, name: string): Axis | undefined => type.axes.find((a) => a.name === name);

/** `f32[heads=2, patch=5]`, as in the text form. */
export const printType = (type: TensorType): string => `${type.dtype}${printAxes(type.axes)}`;
export const printAxes = (axes: readonly Axis[]): string => `[${axes.map((a) => `${a.name}=${a.size}`).join(", ")}]`;

/** A unique key per type: as printed, with the bounds of its symbols. */
export const typeKey = (type: TensorType): string =>
  `${type.dtype}[${type.axes.map((a) => `${a.name}=${dimKey(a.size)}`).join(", ")}]`;

export const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype &&
  a.axes.length === b.axes.length &&
  a.axes.every((x, i) => x.name === b.axes[i]!.name && x.size === b.axes[i]!.size);
