/** Shared by the movement rules: sample tensors and attribute accessors. */
import type { Dim } from "../../ir/dim.ts";
import type { Node } from "../../ir/node.ts";
import { type Axis, findAxis } from "../../ir/type.ts";
import { sampleTensor, tensor } from "../../rewrite/index.ts";

export const x = tensor({ a: 12, b: 2 });
export const some = (): Node => sampleTensor("x", { a: 12, b: 2 });
export const operand = (node: Node): Node => node.operands[0]!;
export const sizeIn = (node: Node, axis: string): Dim => findAxis(node.type, axis)!.size;
export const areNumbers = (...dims: readonly Dim[]): boolean => dims.every((d) => typeof d === "number");

export const pair = (a: string, m: number, b: string, n: number): Axis[] => [
  { name: a, size: m },
  { name: b, size: n },
];

export const sameNames = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i]);

export const sliceOf = (node: Node) => ({
  axis: node.attrs.axis as string,
  start: node.attrs.start as Dim,
  length: node.attrs.length as Dim,
});
