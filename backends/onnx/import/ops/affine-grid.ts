/** AffineGrid: the sampling coordinates of an affine map, which GridSample reads. */
import { type Axis, type Node, ops } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";
import { rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

/**
 * Coordinates in [-1, 1] along one side: of the elements' centers, or with `corners` from edge element to edge element.
 */
function coordinates(axis: Axis, corners: boolean): Node {
  const size = axis.size as number;
  const at = ops.iota(axis, "f32");
  if (!corners) return ops.sub(ops.mul(ops.add(at, 0.5), 2 / size), 1);
  return size === 1 ? ops.mul(at, 0) : ops.sub(ops.mul(at, 2 / (size - 1)), 1);
}

/** theta [batch, coordinate, coordinate + 1] -> [batch, ...sides, coordinate]. */
function affineGrid(n: NodeView): Value {
  const theta = n.x(0, ["batch", "coordinate", "factor"]);
  const size = n.numbersIn(1, "the size");
  const sides = size.slice(2);
  const rank = sides.length;
  if (!(rank === 2 || rank === 3) || theta.shape[1] !== rank || theta.shape[2] !== rank + 1)
    throw n.fail(`a transform of [${theta.shape.join(", ")}] does not match a map of [${sides.join(", ")}]`);
  if (typeof theta.shape[0] === "number" && theta.shape[0] !== size[0])
    throw n.fail(`${theta.shape[0]} transforms do not match a size of [${size.join(", ")}]`);
  const [batch, coordinate] = theta.axes;
  const names = sides.map((_, i) => freshName(`to_${i}`, theta.axes));
  const column = (k: number): Node => columnOf(n, theta, k, [batch, coordinate]);
  // Factors are ordered from the last side to the first; the last one is the offset.
  const made = sides.reduce((sum, size, i) => {
    const along = coordinates({ name: names[i]!, size }, n.flag("align_corners"));
    return ops.add(sum, ops.mul(column(rank - 1 - i), size === 1 ? ops.dropAxis(along, names[i]!) : along));
  }, column(rank));
  return tensor(theta.type, [theta.shape[0]!, ...sides, rank], [batch, ...names, coordinate], made);
}

const columnOf = (n: NodeView, theta: Tensor, k: number, names: readonly (string | undefined)[]): Node =>
  n.named(reshapeTo(n, rangeOf(n, theta, 2, k, 1), theta.shape.slice(0, 2)), names);

export const affineGridRecords: Records = { AffineGrid: { build: affineGrid } };
