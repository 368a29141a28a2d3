/** GridSample: interpolates a map at the coordinates of a grid tensor. */
import { type Dim, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";
import { wide } from "../whole-floats.ts";
import { rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";
import { fixedSpatialSizes } from "./windows.ts";

const { abs, add, and, cast, floor, ge, lt, max, min, mul, round, select, sub } = ops;

/** One interpolation tap along one spatial dimension: index and weight. */
interface Tap {
  readonly place: Node;
  readonly weight: Node;
}

/** Maps coordinates in [-1, 1] to element positions of a dimension of `size`. */
const placed = (x: Node, size: number, corners: boolean): Node =>
  corners ? mul(add(x, 1), (size - 1) / 2) : sub(mul(add(x, 1), size / 2), 0.5);

/** Reflects positions at the centers of the first and last elements, or at their outer edges. */
function reflected(x: Node, size: number, corners: boolean): Node {
  const [low, high] = corners ? [0, size - 1] : [-0.5, size - 0.5];
  const span = high - low;
  if (span === 0) return mul(x, 0);
  const along = abs(sub(x, low));
  const turns = floor(mul(along, 1 / span));
  const rest = sub(along, mul(turns, span));
  const isOdd = ge(sub(turns, mul(floor(mul(turns, 0.5)), 2)), 0.5);
  return add(select(isOdd, sub(span, rest), rest), low);
}

const cubicCoefficient = -0.75;

function cubicWeight(distance: Node): Node {
  const x = abs(distance);
  const a = cubicCoefficient;
  const near = add(mul(mul(x, x), sub(mul(x, a + 2), a + 3)), 1);
  const far = mul(sub(mul(add(mul(x, sub(x, 5)), 8), x), 4), a);
  return select(ops.le(x, 1), near, select(lt(x, 2), far, 0));
}

function taps(n: NodeView, x: Node, mode: string): Tap[] {
  const first = floor(x);
  if (mode === "nearest") return [{ place: round(x), weight: ops.broadcastLike(ops.constant(1), x) }];
  if (mode === "linear" || mode === "bilinear") {
    const rest = sub(x, first);
    return [
      { place: first, weight: sub(1, rest) },
      { place: add(first, 1), weight: rest },
    ];
  }
  if (mode !== "cubic" && mode !== "bicubic") throw n.fail(`unsupported mode "${mode}"`);
  return [-1, 0, 1, 2].map((k) => ({ place: add(first, k), weight: cubicWeight(sub(x, add(first, k))) }));
}

function gridSample(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const sizes = fixedSpatialSizes(n, x);
  const grid = n.x(1, ["batch", "to_row", "to_column"], x.axes);
  const [rank, corners] = [sizes.length, n.flag("align_corners")];
  const [mode, padding] = [n.text("mode", "linear"), n.text("padding_mode", "zeros")];
  if (
    grid.shape.length !== rank + 2 ||
    grid.shape.at(-1) !== rank ||
    !["zeros", "border", "reflection"].includes(padding)
  )
    throw n.fail(`unsupported grid of [${grid.shape.join(", ")}] on [${x.shape.join(", ")}] with padding "${padding}"`);
  const flat = n.tensor(reshapeTo(n, x, [x.shape[0]!, x.shape[1]!, productOfDims(sizes)]));
  const places = grid.shape.slice(1, -1);
  const names = [flat.axes[0], ...places.map((_, i) => freshName(`to_${i}`, flat.axes))];
  // Coordinates are ordered from the last spatial dimension to the first.
  const sides = sizes.map((size, i) => {
    const own = reshapeTo(n, rangeOf(n, grid, rank + 1, rank - 1 - i, 1), [grid.shape[0]!, ...places]);
    const at = placed(wide(n.named(own, names)), size, corners);
    const kept =
      padding === "border" ? min(max(at, 0), size - 1) : padding === "reflection" ? reflected(at, size, corners) : at;
    return taps(n, kept, mode).map(({ place, weight }) => {
      const within = padding === "reflection" ? reflected(place, size, corners) : place;
      const inside = min(max(within, 0), size - 1);
      const counts = padding === "zeros" ? select(and(ge(place, 0), ops.le(place, size - 1)), weight, 0) : weight;
      return { place: inside, weight: counts };
    });
  });
  const shape: Dim[] = [x.shape[0]!, x.shape[1]!, ...places];
  return tensor(x.type, shape, [names[0], flat.axes[1], ...names.slice(1)], weighted(flat, sides, sizes));
}

/** Weighted sum over all combinations of one tap per spatial dimension. */
function weighted(flat: Tensor, sides: readonly (readonly Tap[])[], sizes: readonly number[]): Node {
  const corners = sides.reduce<readonly (readonly Tap[])[]>(
    (all, side) => all.flatMap((one) => side.map((t) => [...one, t])),
    [[]],
  );
  const along = flat.axes[2];
  const parts = corners.map((corner) => {
    const place = corner.reduce<Node | undefined>(
      (at, tap, i) => (at ? add(mul(at, sizes[i]!), tap.place) : tap.place),
      undefined,
    )!;
    const value = along === undefined ? flat.node : ops.gather(flat.node, cast(place, "i32"), along);
    return mul(
      wide(value),
      corner.map((t) => t.weight).reduce((a, b) => mul(a, b)),
    );
  });
  const sum = parts.reduce((a, b) => add(a, b));
  return sum.type.dtype === flat.node.type.dtype ? sum : cast(sum, flat.node.type.dtype);
}

export const gridSampleRecords: Records = { GridSample: { build: gridSample } };
