/** Col2Im: adds up overlapping blocks of a map, the transpose of extracting them. */
import { divideDims, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";
import { reshapeTo } from "./shapes.ts";
import { kernelAxis, type Side, sidesOf } from "./windows.ts";

/** x [batch, channel × block elements, blocks] -> [batch, channel, ...image]. */
function col2im(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "block"]);
  const [image, kernels] = [n.numbersIn(1, "the image's shape"), n.numbersIn(2, "the block's shape")];
  const sides = sidesOf(n, image, kernels);
  const windows = sides.map((s) => s.windows as number);
  const channels = divideDims(x.shape[1] ?? 1, productOfDims(kernels));
  if (x.shape.length !== 3 || channels === undefined || x.shape[2] !== productOfDims(windows))
    throw n.fail(
      `[${x.shape.join(", ")}] is not [batch, channels × ${productOfDims(kernels)}, ${productOfDims(windows)}] for blocks of [${kernels.join(", ")}] in an image of [${image.join(", ")}]`,
    );
  const apart = n.tensor(reshapeTo(n, x, [x.shape[0]!, channels, ...kernels, ...windows]));
  const rank = image.length;
  const names = [apart.axes[0], apart.axes[1], ...image.map((_, i) => freshName(`side_${i}`, apart.axes))];
  const node = sides.reduce((y, side, i) => summed(y, side, apart, i, names[i + 2]!), apart.node);
  return tensor(x.type, [x.shape[0]!, channels, ...image], names, withoutOnes(node, names.slice(-rank), image));
}

/** Sums the blocks along one side: [kernel, window] -> [side]. */
function summed(node: Node, side: Side, x: Tensor, i: number, to: string): Node {
  const [kernel, window] = [x.axes[i + 2], x.axes[i + 2 + (x.axes.length - 2) / 2]];
  const from = window ?? freshName(`${to}_block`, x.axes);
  const known = window === undefined ? ops.broadcast(node, [{ name: from, size: 1 }]) : node;
  const own = freshName(kernelAxis(i), x.axes);
  const steps = { stride: side.stride, dilation: side.dilation, low: side.low };
  const place = { name: to, size: side.size };
  const spread = ops.transposedWindow(known, from, place, { name: own, size: side.kernel }, steps);
  if (kernel === undefined) return ops.dropAxis(spread, own);
  // Element k of a block lands where tap k of the kernel reaches.
  const tap = (name: string) => ops.iota({ name, size: side.kernel }, "i32");
  return ops.reduceSum(ops.select(ops.eq(tap(own), tap(kernel)), spread, 0), [own, kernel]);
}

const withoutOnes = (node: Node, names: readonly (string | undefined)[], sizes: readonly number[]): Node =>
  sizes.reduce((y, size, i) => (size === 1 ? ops.dropAxis(y, names[i]!) : y), node);

export const col2imRecords: Records = { Col2Im: { build: col2im } };
