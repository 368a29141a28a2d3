/** Padding and cropping. */
import { addDims, boundsOf, type Dim, type Node, ops, subDims, symbolsOf } from "../../../../compiler/index.ts";
import { shownName } from "../file-names.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { certainly } from "../sizes.ts";
import { elements, freshName, known, knownOf, type Tensor, tensor, type Value } from "../values.ts";
import { chosen, concatAlong, rangeOf } from "./ranges.ts";
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
  if (mode !== "constant")
    return typeof size === "number"
      ? chosen(n, value, at, mirrored(n, size, low, high, mode))
      : mirroredOpen(n, n.tensor(value), at, low, high, mode);
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

/** Where the elements come from that a mode puts before and after a side: starts of ranges, and their order. */
interface Ends {
  readonly before: (size: Dim, low: number) => Dim;
  readonly after: (size: Dim, high: number) => Dim;
  readonly places: (count: number) => readonly number[];
  /** By how many elements the side must be longer than a pad. */
  readonly room: 0 | 1;
}

const counted = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const reflected: Ends = {
  before: () => 1,
  after: (size, high) => subDims(size, high + 1),
  places: (count) => counted(count).reverse(),
  room: 1,
};
const wrapped: Ends = {
  before: (size, low) => subDims(size, low),
  after: () => 0,
  places: counted,
  room: 0,
};

/** Reflect, edge and wrap padding of a side of open size: ranges at its ends beside it. */
function mirroredOpen(n: NodeView, value: Tensor, at: number, before: Dim, after: Dim, mode: string): Value {
  const size = value.shape[at]!;
  const [low, high] = numericPads(n, size, before, after, mode);
  if (mode === "edge") {
    const end = (place: Dim, count: number) => repeatedAt(n, value, at, place, count);
    return beside(n, value, at, low && end(0, low), high && end(subDims(size, 1), high));
  }
  const ends = mode === "reflect" ? reflected : mode === "wrap" ? wrapped : undefined;
  if (!ends) throw n.fail(`unsupported padding mode "${mode}"`);
  const longest = Math.max(low, high) + ends.room;
  if (!certainly(size, ">=", longest))
    throw n.fail(
      `a side of ${size} elements may be shorter than the ${longest} that its ${mode} padding needs: ${n.toGive(size)}; or leave it open but larger, as in ${shownName(symbolsOf(size)[0]!.name)}=n+${longest - boundsOf(size).min}`,
    );
  const end = (place: Dim, count: number) => chosen(n, rangeOf(n, value, at, place, count), at, ends.places(count));
  return beside(n, value, at, low && end(ends.before(size, low), low), high && end(ends.after(size, high), high));
}

/** One element of a side, `count` times. */
function repeatedAt(n: NodeView, value: Tensor, at: number, place: Dim, count: number): Value {
  const one = n.tensor(rangeOf(n, value, at, place, 1));
  const node = count === 1 ? one.node : ops.broadcast(one.node, [{ name: value.axes[at]!, size: count }]);
  return tensor(value.type, value.shape.with(at, count), value.axes, node);
}

/** A value between what comes before and after it; 0 for nothing. */
const beside = (n: NodeView, value: Value, at: number, before: Value | 0, after: Value | 0): Value =>
  concatAlong(
    n,
    [before, value, after].filter((part) => part !== 0),
    at,
  );

/** The two pads. Throws for those that are not numbers, or more than a table of indices holds. */
function numericPads(n: NodeView, size: Dim, low: Dim, high: Dim, mode: string): [low: number, high: number] {
  if (typeof low !== "number" || typeof high !== "number")
    throw n.fail(`${mode} padding needs numeric pads, got ${low} and ${high}: ${n.toGive(low, high)}`);
  const all = low + high + (typeof size === "number" ? size : 0);
  if (all > 2 ** 20) throw n.fail(`${mode} padding to ${all} elements is too large`);
  return [low, high];
}

/** Source indices for reflect, edge and wrap padding. */
function mirrored(n: NodeView, size: number, before: Dim, after: Dim, mode: string): number[] {
  const [low, high] = numericPads(n, size, before, after, mode);
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
