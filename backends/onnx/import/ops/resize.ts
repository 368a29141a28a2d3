/** Separable resizing: along each dimension, a result element is a weighted sum of a few taps. */
import { type Dim, divideDims, mulDims, type Node, ops, subDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";

/** The taps of one dimension. */
interface Taps {
  /** For each result element, the operand indices and their weights. */
  readonly places: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
  /** Result elements outside the operand, which get the extrapolation value. */
  readonly outside: readonly boolean[];
}

interface Along {
  readonly size: number;
  readonly made: number;
  readonly scale: number;
  readonly from: number;
  readonly to: number;
}

type Coordinate = (i: number, a: Along) => number;

const coordinates: Readonly<Record<string, Coordinate>> = {
  half_pixel: (i, { scale }) => (i + 0.5) / scale - 0.5,
  pytorch_half_pixel: (i, { scale, made }) => (made > 1 ? (i + 0.5) / scale - 0.5 : 0),
  half_pixel_symmetric: (i, { scale, made, size }) => {
    const adjustment = made / (scale * size);
    return (size / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5;
  },
  align_corners: (i, { made, size, scale }) => (made === 1 ? 0 : (i * (size - 1)) / (scale * size - 1)),
  asymmetric: (i, { scale }) => i / scale,
  tf_crop_and_resize: (i, { made, size, from, to }) =>
    made > 1 ? from * (size - 1) + (i * (to - from) * (size - 1)) / (made - 1) : 0.5 * (from + to) * (size - 1),
};

const roundings: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** An interpolation kernel as a function of distance, and its radius. */
interface Filter {
  readonly reach: number;
  readonly at: (distance: number) => number;
}

const filters = (cubic: number): Readonly<Record<string, Filter>> => ({
  linear: { reach: 1, at: (d) => Math.max(0, 1 - Math.abs(d)) },
  cubic: {
    reach: 2,
    at: (d) => {
      const x = Math.abs(d);
      if (x <= 1) return (cubic + 2) * x ** 3 - (cubic + 3) * x ** 2 + 1;
      return x < 2 ? cubic * (x ** 3 - 5 * x ** 2 + 8 * x - 4) : 0;
    },
  },
});

/** Settings of one node. */
interface How {
  readonly mode: string;
  readonly coordinate: string;
  readonly rounding: string;
  readonly cubic: number;
  readonly excluded: boolean;
  readonly antialias: boolean;
}

function tapsOf(n: NodeView, how: How, a: Along): Taps {
  const coordinate = Object.hasOwn(coordinates, how.coordinate) ? coordinates[how.coordinate]! : undefined;
  if (!coordinate) throw n.fail(`coordinates "${how.coordinate}"`);
  const [places, weights, outside]: [number[][], number[][], boolean[]] = [[], [], []];
  const within = (p: number) => Math.min(Math.max(p, 0), a.size - 1);
  const round = Object.hasOwn(roundings, how.rounding) ? roundings[how.rounding] : undefined;
  if (!round) throw n.fail(`rounding "${how.rounding}"`);
  const filter = how.mode === "nearest" ? undefined : filters(how.cubic)[how.mode];
  if (!filter && how.mode !== "nearest") throw n.fail(`unsupported mode "${how.mode}"`);
  for (let i = 0; i < a.made; i++) {
    const x = coordinate(i, a);
    outside.push(how.coordinate === "tf_crop_and_resize" && (x < 0 || x > a.size - 1));
    if (!filter) {
      places.push([within(round(x))]);
      weights.push([1]);
      continue;
    }
    // Antialiased downscaling widens the kernel by 1 / scale.
    const stretch = how.antialias && a.scale < 1 ? a.scale : 1;
    const span = filter.reach / stretch;
    const first = Math.floor(x - span) + 1;
    if (!(span <= 2 ** 10)) throw n.fail(`cannot resize a side from ${a.size} to ${a.made} elements`);
    const count = Math.ceil(2 * span) + (how.antialias ? 1 : 0);
    const own = Array.from({ length: count }, (_, k) => first + k);
    let counts = own.map((p) => filter.at((x - p) * stretch));
    if (how.excluded) counts = counts.map((w, k) => (own[k]! < 0 || own[k]! >= a.size ? 0 : w));
    const total = counts.reduce((s, w) => s + w, 0);
    places.push(own.map(within));
    weights.push(how.excluded || how.antialias ? counts.map((w) => w / total) : counts);
  }
  return { places, weights, outside };
}

/** Resamples one dimension by its taps. */
function resampled(x: Tensor, at: number, { places, weights, outside }: Taps, value: number): Tensor {
  const made = places.length;
  const shape = x.shape.map((d, i): Dim => (i === at ? made : d));
  const axis = x.axes[at] ?? freshName(`side_${at}`, x.axes);
  const axes = x.axes.map((name, i) => (i === at ? axis : name));
  const own = freshName(axis, [...x.axes, axis]);
  const out = made === 1 ? [] : [{ name: own, size: made }];
  const node = x.axes[at] === undefined ? ops.broadcast(x.node, [{ name: axis, size: 1 }]) : x.node;
  const table = (values: readonly number[], extra: typeof out, dtype: "i32" | "f32" | "f16"): Node =>
    out.length + extra.length === 0 ? ops.constant(values[0]!, dtype) : ops.table(values, [...out, ...extra], dtype);
  const count = Math.max(...places.map((p) => p.length));
  const whole = repeatOf(places, x.shape[at] as number);
  const { dtype } = x.node.type;
  const isFloat = dtype === "f32" || dtype === "f16";
  let y: Node;
  if (whole !== undefined && x.axes[at] !== undefined && count === 1) {
    y = ops.rename(repeated(node, axis, whole), axis, own);
  } else if (count === 1)
    y = ops.gather(
      node,
      table(
        places.map((p) => p[0]!),
        [],
        "i32",
      ),
      axis,
    );
  else {
    const tap = freshName("tap", [...x.axes, own]);
    const taps = [{ name: tap, size: count }];
    const pad = (list: readonly number[]) => Array.from({ length: count }, (_, k) => list[k] ?? 0);
    const rows = ops.gather(isFloat ? node : ops.cast(node, "f32"), table(places.flatMap(pad), taps, "i32"), axis);
    const sum = ops.contract(rows, table(weights.flatMap(pad), taps, isFloat ? dtype : "f32"), [tap]);
    y = isFloat ? sum : ops.cast(sum, dtype);
  }
  if (outside.includes(true))
    y = ops.select(ops.eq(table(outside.map(Number), [], "i32"), 1), ops.constant(value, dtype), y);
  return tensor(x.type, shape, axes, made === 1 ? y : ops.rename(y, own, axis));
}

/** Every element of an axis `times` times, in order: integer nearest upsampling without an index table. */
function repeated(x: Node, axis: string, times: number): Node {
  const names = x.type.axes.map((a) => a.name);
  const copy = freshName("copy", names);
  const copies = ops.transpose(ops.broadcast(x, [{ name: copy, size: times }]), [...names, copy]);
  return ops.merge(copies, [axis, copy], axis);
}

/** The settings that place result elements by size, so that no pattern repeats along the side. */
const bySize: ReadonlySet<string> = new Set(["align_corners", "tf_crop_and_resize"]);

/**
 * A side of open size, `times` as long: all elements of the operand are treated alike, but for the ends, which repeat
 * beyond themselves. What an element becomes is read off the middle one of a short side.
 */
function enlarged(n: NodeView, x: Tensor, at: number, times: number, how: How): Tensor {
  if (how.excluded || bySize.has(how.coordinate))
    throw n.fail(
      `the resized side must be a number, got ${x.shape[at]}, since the weights depend on it: ${n.toGive(x.shape[at]!)}`,
    );
  const short = 2 * mostReach + 1;
  const taps = tapsOf(n, how, { size: short, made: short * times, scale: times, from: 0, to: 1 });
  const node =
    repeatOf(taps.places, short) === times
      ? repeated(x.node, x.axes[at]!, times)
      : weighted(x, at, times, neighboursOf(taps, times));
  return tensor(x.type, x.shape.with(at, mulDims(x.shape[at]!, times)), x.axes, node);
}

/** The neighbours before and after an element on which its results depend, and their weights, a row for each result. */
interface Neighbours {
  readonly before: number;
  readonly after: number;
  readonly weights: readonly (readonly number[])[];
}

/** The neighbours of the middle one of `2 · mostReach + 1` elements. */
function neighboursOf({ places, weights }: Taps, times: number): Neighbours {
  const middle = Array.from({ length: times }, (_, i) => mostReach * times + i);
  const offsets = middle.flatMap((i) => places[i]!.map((p) => p - mostReach));
  const [before, after] = [Math.max(0, -Math.min(...offsets)), Math.max(0, ...offsets)];
  const rows = middle.map((i) => {
    const row = Array.from({ length: before + 1 + after }, () => 0);
    places[i]!.forEach((p, k) => {
      row[p - mostReach + before]! += weights[i]![k]!;
    });
    return row;
  });
  return { before, after, weights: rows };
}

/** The results of every element: weighted sums of it and of its neighbours. */
function weighted(x: Tensor, at: number, times: number, { before, after, weights }: Neighbours): Node {
  const { dtype } = x.node.type;
  const isFloat = dtype === "f32" || dtype === "f16";
  const axis = x.axes[at]!;
  const ends = (place: Dim, count: number): Node[] =>
    count === 0 ? [] : [repeated(ops.slice(x.node, axis, place, 1), axis, count)];
  const around = ops.concat([...ends(0, before), x.node, ...ends(subDims(x.shape[at]!, 1), after)], axis);
  const [tap, part, moved] = ["tap", "part", "place"].map((name) => freshName(name, x.axes)) as [
    string,
    string,
    string,
  ];
  const taps = { name: tap, size: before + 1 + after };
  const windows = ops.window(isFloat ? around : ops.cast(around, "f32"), axis, moved, taps);
  const table = ops.table(weights.flat(), [{ name: part, size: times }, taps], isFloat ? dtype : "f32");
  const sum = ops.merge(ops.contract(windows, table, [tap]), [moved, part], axis);
  return isFloat ? sum : ops.cast(sum, dtype);
}

/** A side of one element, which all modes repeat: an open number of times. */
function spread(x: Tensor, at: number, made: Dim): Tensor {
  const axis = freshName(`side_${at}`, x.axes);
  const [shape, axes] = [x.shape.with(at, made), x.axes.with(at, axis)];
  return tensor(x.type, shape, axes, ops.broadcast(x.node, [{ name: axis, size: made }]));
}

/** The farthest neighbour that a result of an enlarged side depends on. */
const mostReach = 3;

/** The factor if each element repeats equally often in order; else undefined. */
function repeatOf(places: readonly (readonly number[])[], size: number): number | undefined {
  const times = places.length / size;
  if (!Number.isInteger(times) || times < 2) return undefined;
  return places.every(([p], i) => p === Math.floor(i / times)) ? times : undefined;
}

function resize(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const isOld = n.opset < 11 || n.message.opType === "Upsample";
  const how: How = {
    mode: n.text("mode", "nearest"),
    coordinate: n.text("coordinate_transformation_mode", isOld ? "asymmetric" : "half_pixel"),
    rounding: n.text("nearest_mode", isOld ? "floor" : "round_prefer_floor"),
    cubic: n.float("cubic_coeff_a", -0.75),
    excluded: n.flag("exclude_outside"),
    antialias: n.flag("antialias"),
  };
  return sidesOf(n, x, isOld).reduce((y, side) => resizedAlong(n, y, how, side), x);
}

/** A side to resize, by a scale, and from which region of the operand; to a size if sizes are given. */
interface Side {
  readonly at: number;
  readonly made: Dim | undefined;
  readonly scale: number;
  readonly from: number;
  readonly to: number;
}

function sidesOf(n: NodeView, x: Tensor, isOld: boolean): Side[] {
  const rank = x.shape.length;
  const axes = n.ints("axes") ? n.dims(n.ints("axes")!, rank) : Array.from({ length: rank }, (_, i) => i);
  const isFilled = (i: number) => n.inputs[i] !== undefined && n.in(i).shape[0] !== 0;
  const filled = (i: number) => (isFilled(i) ? n.numbers(i, ["", "roi", "scales"][i]!) : undefined);
  const scales = n.floats("scales") ? [...n.floats("scales")!] : filled(isOld ? 1 : 2);
  const sizes = isOld || !isFilled(3) ? undefined : n.sizes(3, "sizes");
  const region = isOld ? undefined : filled(1);
  const asked = sizes ?? scales;
  // Exporters name an empty tensor for the one that they do not give.
  if (sizes && scales) throw n.fail("both scales and sizes are given; expected one of them");
  if (!asked) throw n.fail("neither scales nor sizes are given");
  if (asked.length !== axes.length) throw n.fail(`got ${asked.length} scales or sizes for ${axes.length} dimensions`);
  const kept = keptRatio(n, x, axes, sizes);
  return axes.map((at, i) => ({
    at,
    made: kept?.[i]?.made,
    scale: kept?.[i]?.scale ?? scales![i]!,
    from: region?.[i] ?? 0,
    to: region?.[i + axes.length] ?? 1,
  }));
}

function resizedAlong(n: NodeView, x: Tensor, how: How, side: Side): Tensor {
  const { at, made, scale, from, to } = side;
  const size = x.shape[at]!;
  const isOpen = made !== undefined && typeof made !== "number";
  if (size === 1 && isOpen) return spread(x, at, made);
  if (typeof size !== "number" || isOpen) return multiplied(n, x, how, side);
  const count = made ?? Math.floor(size * scale);
  if (!(count >= 1 && count <= 2 ** 14 && size <= 2 ** 20))
    throw n.fail(`cannot resize a side of ${size} elements to ${count}`);
  const taps = tapsOf(n, how, { size, made: count, scale, from, to });
  return resampled(x, at, taps, n.float("extrapolation_value", 0));
}

/** A side whose size is open, or to which an open size is given: possible by an integer factor only. */
function multiplied(n: NodeView, x: Tensor, how: How, { at, made, scale }: Side): Tensor {
  const size = x.shape[at]!;
  const times = made === undefined ? scale : divideDims(made, size);
  if (times === 1 && how.coordinate !== "tf_crop_and_resize") return x;
  if (typeof times !== "number" || !Number.isInteger(times) || times > 2 ** 10)
    throw n.fail(
      `a side of ${size} elements is resized to ${made ?? `${times} times as many`}, which is not an integer multiple: ${n.toGive(size, made ?? 1)}`,
    );
  return enlarged(n, x, at, times, how);
}

/** The size that a side is resized to, and by what. */
interface Resized {
  readonly made: Dim;
  readonly scale: number;
}

/** By sizes; some policies use a single scale for all resized dimensions, to keep the aspect ratio. */
function keptRatio(
  n: NodeView,
  x: Tensor,
  axes: readonly number[],
  sizes: readonly Dim[] | undefined,
): Resized[] | undefined {
  if (!sizes) return undefined;
  const policy = n.choice("keep_aspect_ratio_policy", "stretch", ["stretch", "not_larger", "not_smaller"]);
  const own = axes.map((at, i) => ({ size: x.shape[at]!, made: sizes[i]! }));
  const ratioOf = ({ size, made }: (typeof own)[number]) =>
    size === made ? 1 : typeof size === "number" && typeof made === "number" ? made / size : undefined;
  if (policy === "stretch") return own.map((side) => ({ made: side.made, scale: ratioOf(side) ?? 1 }));
  const ratios = own.map((side) => {
    const ratio = ratioOf(side);
    if (ratio !== undefined) return ratio;
    const open = typeof side.size === "number" ? side.made : side.size;
    throw n.fail(`to keep the aspect ratio, sides must be numbers, got ${open}: ${n.toGive(open)}`);
  });
  const scale = policy === "not_larger" ? Math.min(...ratios) : Math.max(...ratios);
  return own.map(({ size }) => {
    if (typeof size === "number") return { made: Math.floor(scale * size + 0.5), scale };
    if (scale === 1) return { made: size, scale };
    throw n.fail(`to keep the aspect ratio, a side of ${size} elements is resized by ${scale}: ${n.toGive(size)}`);
  });
}

export const resizeRecords: Records = {
  Resize: { roles: ["batch", "channel", "row", "column"], build: resize },
  Upsample: { build: resize },
};
