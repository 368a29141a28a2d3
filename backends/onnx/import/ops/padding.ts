/** Padding and cropping. */
import { addDims, type Dim, type Node, ops, subDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { elements, freshName, known, knownOf, tensor, type Value } from "../values.ts";
import { chosen, rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

const { cast, lt, select } = ops;

/** Pads each dimension; negative amounts crop. */
function pad(n: NodeView): Value {
  let x = n.in(0);
  const rank = x.shape.length;
  const pads = n.sizes(1, "pads") ?? [...(n.ints("pads") ?? [])];
  const axes = n.inputs[3] ? n.dims(n.numbersIn(3, "axes"), rank) : Array.from({ length: rank }, (_, i) => i);
  if (pads.length !== 2 * axes.length) throw n.fail(`got ${pads.length} pads for ${axes.length} dimensions`);
  const mode = n.text("mode", "constant");
  const value = n.message.opType === "Pad" ? n.inputs[2] : undefined;
  if (value && elements(value) !== 1)
    throw n.fail(`the value to pad with is a tensor of [${value.shape.join(", ")}]; expected a scalar`);
  axes.forEach((at, i) => {
    x = padded(n, x, at, pads[i]!, pads[i + axes.length]!, mode);
  });
  return x;
}

const isNegative = (d: Dim): boolean => typeof d === "number" && d < 0;

function padded(n: NodeView, value: Value, at: number, low: Dim, high: Dim, mode: string): Value {
  if (isNegative(low) || isNegative(high)) {
    const [from, after] = [low, high].map((d) => (isNegative(d) ? -d : 0)) as [number, number];
    const cut = rangeOf(n, value, at, from, subDims(value.shape[at]!, from + after));
    return padded(n, cut, at, isNegative(low) ? 0 : low, isNegative(high) ? 0 : high, mode);
  }
  if (low === 0 && high === 0) return value;
  const size = value.shape[at]!;
  if (mode !== "constant") return chosen(n, value, at, mirrored(n, size, low, high, mode));
  const x = n.tensor(value);
  const axis = x.axes[at] ?? freshName(`side_${at}`, x.axes);
  const node = size === 1 ? ops.broadcast(x.node, [{ name: axis, size: 1 }]) : x.node;
  const shape = x.shape.map((d, i) => (i === at ? addDims(d, addDims(low, high)) : d));
  const names = x.axes.map((name, i) => (i === at ? axis : name));
  return tensor(x.type, shape, names, filled(n, node, axis, low, high, size));
}

function filled(n: NodeView, node: Node, axis: string, low: Dim, high: Dim, size: Dim): Node {
  const value =
    n.inputs[2] && n.message.opType === "Pad"
      ? knownOf(n.inputs[2])
      : known(n.in(0).type, [], [n.has("value") ? n.float("value") : 0]);
  const number = value?.values[0] ?? 0;
  const isBool = node.type.dtype === "bool";
  if (value && typeof number === "number" && !isBool) return ops.pad(node, axis, low, high, number);
  if (isBool) return cast(ops.pad(cast(node, "i32"), axis, low, high, Number(number)), "bool");
  // The fill value is known only at run time: select it outside the original range.
  const whole = addDims(size, addDims(low, high));
  const place = ops.iota({ name: axis, size: whole }, "i32");
  const inside = ops.and(ops.ge(place, ops.sizeOf(low, "i32")), lt(place, ops.sizeOf(addDims(low, size), "i32")));
  return select(inside, ops.pad(node, axis, low, high), n.named(without0(n, n.in(2)), []));
}

const without0 = (n: NodeView, value: Value): Value => (value.shape.length === 0 ? value : reshapeTo(n, value, []));

/** Source indices for reflect, edge and wrap padding. */
function mirrored(n: NodeView, size: Dim, low: Dim, high: Dim, mode: string): number[] {
  if (typeof size !== "number" || typeof low !== "number" || typeof high !== "number")
    throw n.fail(`${mode} padding needs numeric sizes, got ${size}: ${n.toGive(size, low, high)}`);
  if (low + high + size > 2 ** 20) throw n.fail(`${mode} padding to ${low + high + size} elements is too large`);
  const place: Readonly<Record<string, (i: number) => number>> = {
    edge: (i) => Math.min(Math.max(i, 0), size - 1),
    wrap: (i) => ((i % size) + size) % size,
    reflect: (i) => {
      const period = Math.max(1, 2 * (size - 1));
      const at = ((i % period) + period) % period;
      return at < size ? at : period - at;
    },
  };
  const find = Object.hasOwn(place, mode) ? place[mode] : undefined;
  if (!find) throw n.fail(`unsupported padding mode "${mode}"`);
  return Array.from({ length: low + size + high }, (_, i) => find(i - low));
}

/** Crops or zero-pads a tensor around its center. */
function centerCropPad(n: NodeView): Value {
  let x = n.in(0);
  const rank = x.shape.length;
  const sizes = n.numbersIn(1, "the shape");
  const axes = n.ints("axes") ? n.dims(n.ints("axes")!, rank) : Array.from({ length: rank }, (_, i) => i);
  axes.forEach((at, i) => {
    const [own, wanted] = [x.shape[at]!, sizes[i]!];
    if (typeof own !== "number") throw n.fail(`a dimension must be a number, got ${own}: ${n.toGive(own)}`);
    const less = own - wanted;
    x =
      less >= 0
        ? rangeOf(n, x, at, Math.floor(less / 2), wanted)
        : padded(n, x, at, Math.floor(-less / 2), -less - Math.floor(-less / 2), "constant");
  });
  return x;
}

export const paddingRecords: Records = {
  Pad: { build: pad },
  CenterCropPad: { build: centerCropPad },
};
