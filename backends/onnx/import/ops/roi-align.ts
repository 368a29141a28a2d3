/** RoiAlign: interpolates a map at the samples of bins, into which regions of interest (boxes) are divided. */
import { type Dim, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";
import { asIndex } from "./indexing.ts";
import { rangeOf } from "./ranges.ts";
import { permuted, reshapeTo } from "./shapes.ts";

const { add, and, cast, floor, ge, le, max, min, mul, select, sub } = ops;

/** One of the two elements between which a sample lies along a side of the map: index and weight. */
interface Tap {
  readonly place: Node;
  readonly weight: Node;
}

/** The axes of a side: how many bins a region has, and how many samples a bin. */
interface Grid {
  readonly bins: number;
  readonly bin: string;
  readonly samples: number;
  readonly sample: string;
}

const float = (x: Node): Node => (x.type.dtype === "f32" ? x : cast(x, "f32"));

/** 0, 1, 2, ... along an axis, which a size of 1 does not have. */
const numbered = (name: string, size: number): Node =>
  size === 1 ? ops.constant(0) : cast(ops.iota({ name, size }, "i32"), "f32");

/**
 * The taps of all samples along one side: from [region] to [region, bin, sample]. A sample that is more than an element
 * outside the map counts as 0, a nearer one as the outermost element.
 */
function taps(start: Node, length: Node, { bins, bin, samples, sample }: Grid, size: Dim): readonly [Tap, Tap] {
  const within = mul(add(numbered(sample, samples), 0.5), 1 / samples);
  const at = add(start, mul(add(numbered(bin, bins), within), mul(length, 1 / bins)));
  const last = ops.sizeOf(size, "f32");
  const counts = and(ge(at, -1), le(at, last));
  const clamped = min(max(at, 0), sub(last, 1));
  const low = floor(clamped);
  const rest = sub(clamped, low);
  return [
    { place: low, weight: select(counts, sub(1, rest), 0) },
    { place: min(add(low, 1), sub(last, 1)), weight: select(counts, rest, 0) },
  ];
}

/** The sampling ratio. Throws where it is 0, which stands for a number that depends on each region's size. */
function samplesPerBin(n: NodeView): number {
  const ratio = n.int("sampling_ratio", 0);
  if (Number.isInteger(ratio) && ratio >= 1 && ratio <= 64) return ratio;
  throw n.fail(
    `a sampling_ratio of ${ratio} is not supported: it must be 1 to 64, as the number of samples must not depend on the regions`,
  );
}

/** x [batch, channel, row, column], regions [region, 4], batch_indices [region] -> [region, channel, ...output]. */
function roiAlign(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const [given, images] = [n.in(1), n.in(2)];
  const regions = given.shape[0]!;
  if (x.shape.length !== 4 || given.shape.length !== 2 || given.shape[1] !== 4 || images.shape[0] !== regions)
    throw n.fail(
      `regions of [${given.shape.join(", ")}] in images of [${images.shape.join(", ")}] do not match a map of [${x.shape.join(", ")}]: expected [regions, 4], [regions] and [batch, channels, rows, columns]`,
    );
  const samples = samplesPerBin(n);
  const outputs = [n.int("output_height", 1), n.int("output_width", 1)];
  if (!outputs.every((d) => Number.isInteger(d) && d >= 1)) throw n.fail(`an output of ${outputs.join(" by ")}`);
  const own = (name: string) => freshName(name, x.axes);
  const region = own("region");
  const grids = (["row", "column"] as const).map((side, i): Grid => {
    return { bins: outputs[i]!, bin: own(`bin_${side}`), samples, sample: own(`sample_${side}`) };
  });
  // Regions are x1, y1, x2, y2, in pixels of the image that the map was made from.
  const side = (i: number): readonly [Tap, Tap] => {
    const [from, to] = [1 - i, 3 - i].map((k) => edge(n, given, k, region));
    const length = sub(to!, from!);
    return taps(from!, isHalfPixel(n) ? length : max(length, 1), grids[i]!, x.shape[i + 2]!);
  };
  const image = x.shape[0] === 1 ? undefined : asIndex(n.named(reshapeTo(n, images, [regions]), [region]));
  const sampled = interpolated(n, x, image, side(0), side(1));
  const pooled = pool(
    n,
    sampled,
    grids.flatMap((g) => (g.samples === 1 ? [] : [g.sample])),
  );
  const node = x.node.type.dtype === "f32" ? pooled : cast(pooled, x.node.type.dtype);
  return tensor(x.type, [regions, x.shape[1]!, ...outputs], [region, x.axes[1], ...grids.map((g) => g.bin)], node);
}

/** Before opset 16, coordinates were not shifted by half a pixel, and regions are at least one element large. */
const isHalfPixel = (n: NodeView): boolean =>
  n.text("coordinate_transformation_mode", n.opset < 16 ? "output_half_pixel" : "half_pixel") === "half_pixel";

/** A coordinate of each region, in elements of the map. */
function edge(n: NodeView, regions: Value, k: number, region: string): Node {
  const column = reshapeTo(n, rangeOf(n, regions, 1, k, 1), [regions.shape[0]!]);
  return sub(mul(float(n.named(column, [region])), n.float("spatial_scale", 1)), isHalfPixel(n) ? 0.5 : 0);
}

/** The weighted elements around each sample, over [channel, region, bins, samples]. */
function interpolated(n: NodeView, x: Tensor, image: Node | undefined, rows: readonly Tap[], columns: readonly Tap[]) {
  const [batch, channel, height, width] = x.shape as [Dim, Dim, Dim, Dim];
  const flat = n.tensor(reshapeTo(n, permuted(n, x, [0, 2, 3, 1]), [productOfDims([batch, height, width]), channel]));
  const [along] = flat.axes;
  const wide = (size: Dim) => ops.sizeOf(size, "i32");
  return rows.flatMap((row) =>
    columns.map((column) => {
      const line = image ? add(mul(image, wide(height)), cast(row.place, "i32")) : cast(row.place, "i32");
      const place = add(mul(line, wide(width)), cast(column.place, "i32"));
      const value = along === undefined ? flat.node : ops.gather(flat.node, place, along);
      return mul(float(value), mul(row.weight, column.weight));
    }),
  );
}

/** The average of a bin's samples; or the largest of its weighted elements, as the standard has it. */
function pool(n: NodeView, corners: readonly Node[], samples: readonly string[]): Node {
  const mode = n.text("mode", "avg");
  if (mode !== "avg" && mode !== "max") throw n.fail(`unsupported mode "${mode}"`);
  if (mode === "max") {
    const top = corners.reduce((a, b) => max(a, b));
    return samples.length === 0 ? top : ops.reduceMax(top, samples);
  }
  const sum = corners.reduce((a, b) => add(a, b));
  return samples.length === 0 ? sum : mul(ops.reduceSum(sum, samples), 1 / samplesPerBin(n) ** 2);
}

export const roiAlignRecords: Records = { RoiAlign: { build: roiAlign } };
