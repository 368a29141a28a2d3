/** Separable resizing: along each dimension, a result element is a weighted sum of a few taps. */
import { type Dim, type Node, ops } from "../../../../compiler/index.ts";
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
  if (!filter && how.mode !== "nearest") throw n.fail(`the mode "${how.mode}"`);
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
    if (!(span <= 2 ** 10)) throw n.fail(`a side of ${a.size} elements is shrunk to ${a.made}`);
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
    // Integer nearest upsampling: a broadcast instead of an index table.
    const copy = freshName("copy", x.axes);
    y = ops.rename(
      ops.merge(
        ops.transpose(ops.broadcast(node, [{ name: copy, size: whole }]), [...node.type.axes.map((a) => a.name), copy]),
        [axis, copy],
        axis,
      ),
      axis,
      own,
    );
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

/** The factor if each element repeats equally often in order; else undefined. */
function repeatOf(places: readonly (readonly number[])[], size: number): number | undefined {
  const times = places.length / size;
  if (!Number.isInteger(times) || times < 2) return undefined;
  return places.every(([p], i) => p === Math.floor(i / times)) ? times : undefined;
}

function resize(n: NodeView): Value {
  let x = n.x(0, ["batch", "channel", "row", "column"]);
  const rank = x.shape.length;
  const axes = n.ints("axes") ? n.dims(n.ints("axes")!, rank) : Array.from({ length: rank }, (_, i) => i);
  const isOld = n.opset < 11 || n.message.opType === "Upsample";
  const isFilled = (i: number) => n.inputs[i] !== undefined && n.in(i).shape[0] !== 0;
  const filled = (i: number) => (isFilled(i) ? n.numbers(i, ["", "roi", "scales"][i]!) : undefined);
  const scales = n.floats("scales") ? [...n.floats("scales")!] : filled(isOld ? 1 : 2);
  const sizes = !isOld && isFilled(3) ? n.sizes(3, "sizes") : undefined;
  const region = isOld ? undefined : filled(1);
  const asked = sizes ?? scales;
  if (!asked) throw n.fail("neither scales nor sizes are said");
  if (asked.length !== axes.length) throw n.fail(`${asked.length} scales or sizes for ${axes.length} dimensions`);
  const how: How = {
    mode: n.text("mode", "nearest"),
    coordinate: n.text("coordinate_transformation_mode", isOld ? "asymmetric" : "half_pixel"),
    rounding: n.text("nearest_mode", isOld ? "floor" : "round_prefer_floor"),
    cubic: n.float("cubic_coeff_a", -0.75),
    excluded: n.flag("exclude_outside"),
    antialias: n.flag("antialias"),
  };
  const kept = keptRatio(n, x, axes, sizes);
  axes.forEach((at, i) => {
    const size = x.shape[at]!;
    const { made, scale } = kept?.[i] ?? scaled(size, scales![i]!);
    if (made === size && scale === 1 && how.coordinate !== "tf_crop_and_resize") return;
    if (typeof size !== "number" || typeof made !== "number") {
      const to = typeof made === "number" ? "" : ` to ${made}`;
      throw n.fail(`a side of ${size} elements is resized${to}: ${n.toGive(size, made)}`);
    }
    if (!(made >= 1 && made <= 2 ** 14 && size <= 2 ** 20))
      throw n.fail(`a side of ${size} elements resized to ${made}`);
    const along: Along = { size, made, scale, from: region?.[i] ?? 0, to: region?.[i + axes.length] ?? 1 };
    x = resampled(x, at, tapsOf(n, how, along), n.float("extrapolation_value", 0));
  });
  return x;
}

/** The size that a side is resized to, and by what. A side of the same size may be open, as that of the batch is. */
interface Resized {
  readonly made: Dim;
  readonly scale: number;
}

const scaled = (size: Dim, scale: number): Resized => ({
  made: typeof size === "number" ? Math.floor(size * scale) : size,
  scale,
});

/** By sizes; some policies use a single scale for all resized dimensions, to keep the aspect ratio. */
function keptRatio(
  n: NodeView,
  x: Tensor,
  axes: readonly number[],
  sizes: readonly Dim[] | undefined,
): Resized[] | undefined {
  if (!sizes) return undefined;
  const policy = n.text("keep_aspect_ratio_policy", "stretch");
  const own = axes.map((at, i) => ({ size: x.shape[at]!, made: sizes[i]! }));
  const ratio = ({ size, made }: (typeof own)[number]) =>
    size === made ? 1 : typeof size === "number" && typeof made === "number" ? made / size : Number.NaN;
  if (policy === "stretch") return own.map((side) => ({ made: side.made, scale: ratio(side) }));
  const ratios = own.map(ratio);
  const scale = policy === "not_larger" ? Math.min(...ratios) : Math.max(...ratios);
  return own.map(({ size, made }) =>
    typeof size === "number" && typeof made === "number"
      ? { made: Math.floor(scale * size + 0.5), scale }
      : { made, scale: Number.NaN },
  );
}

export const resizeRecords: Records = {
  Resize: { roles: ["batch", "channel", "row", "column"], build: resize },
  Upsample: { build: resize },
};
