/** Movement ops: an index map defines their semantics; compiler/fusion derives kernel expressions from it. */
import type { IndexAlgebra, IndexMap } from "../ir/algebra.ts";
import { dimValue } from "../ir/dim.ts";
import type { Attrs, Node } from "../ir/node.ts";
import { OpViolation, type RefTensor } from "../ir/op.ts";
import { type Axis, hasAxis, type TensorType } from "../ir/type.ts";
import { type Builder, type RecordSpec, record, tabulate } from "./kinds.ts";
import { strideOf } from "./reference-tools.ts";

export type MovementSpec<B> = Omit<RecordSpec, "kind" | "reference" | "indexMap"> & {
  readonly indexMap: (operands: readonly TensorType[], attrs: Attrs, type: TensorType) => IndexMap;
  /** Its type gives the operands and the result's axes, such as `<A extends string>(x: Typed<A>) => Typed<A>`. */
  readonly builder: B;
};

/** Defines an op whose result rearranges elements of its operands. */
export function movement<B extends (...args: never[]) => Node>({ builder, ...spec }: MovementSpec<B>): Builder<B> {
  const made = record({
    half: "as_operands",
    ...spec,
    kind: "movement",
    reference: (operands, attrs, type) => {
      const types = operands.map((o) => o.type);
      return remap(spec.indexMap(types, attrs, type), operands, type);
    },
  });
  return Object.assign(builder, { record: made });
}

const numbers: IndexAlgebra<number> = {
  dim: (size) => dimValue(size),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => Math.floor(a / b),
  mod: (a, b) => a % b,
  le: (a, b) => (a <= b ? 1 : 0),
  lt: (a, b) => (a < b ? 1 : 0),
  and: (a, b) => a & b,
};

/** The reference semantics of an index map. */
function remap(map: IndexMap, operands: readonly RefTensor[], type: TensorType): Float64Array {
  const position = new Map(type.axes.map((a, i) => [a.name, i]));
  // Each operand's strides: along the result's axes, and by name for the axes that the map sets.
  const kept = operands.map((o) => type.axes.map((a) => (hasAxis(o.type, a.name) ? strideOf(o.type, a.name) : 0)));
  const named = operands.map((o) => new Map(o.type.axes.map((a) => [a.name, strideOf(o.type, a.name)])));
  return tabulate(type, (index) => {
    const at = (axis: string) => index[position.get(axis)!]!;
    const from = map.sources.findIndex((s) => !s.inside || s.inside(numbers, at));
    if (from < 0) return map.outside ?? 0;
    let place = 0;
    for (let d = 0; d < index.length; d++) place += index[d]! * kept[from]![d]!;
    const changed = map.sources[from]!.index(numbers, at);
    for (const axis in changed) {
      const stride = named[from]!.get(axis)!;
      const old = position.get(axis);
      place += (changed[axis]! - (old === undefined ? 0 : index[old]!)) * stride;
    }
    return operands[from]!.data[place]!;
  });
}

/** The axes with one replaced by others. */
export const replaceAxis = (axes: readonly Axis[], name: string, by: readonly Axis[]): Axis[] =>
  axes.flatMap((a) => (a.name === name ? by : [a]));

/** Throws if a new name is already an axis or occurs twice. */
export function assertNew(axes: readonly Axis[], names: readonly string[], constraint: string): void {
  const taken = names.find((n, i) => axes.some((a) => a.name === n) || names.indexOf(n) !== i);
  if (taken !== undefined) throw new OpViolation(constraint, `the name "${taken}" is already an axis`);
}
