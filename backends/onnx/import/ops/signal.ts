/** Fourier transforms, as products with tables of angles, and the window functions that go with them. */
import { type Node, ops } from "../../../../compiler/index.ts";
import { elementType } from "../elements.ts";
import { type NodeView, withShape } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, known, type Tensor, tensor, type Value } from "../values.ts";
import { concatAlong, rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

/** Limit on the length of a transform: its table has the square of this. */
const longest = 2 ** 13;

interface Transform {
  /** The number of elements that are transformed. */
  readonly length: number;
  readonly inverse: boolean;
  /** Real signals have spectra of which the first half, length / 2 + 1 values, determines the rest. */
  readonly onesided: boolean;
}

/** A complex tensor as its parts without the last dimension; a real one has no imaginary part. */
interface Parts {
  readonly re: Tensor;
  readonly im: Tensor | undefined;
}

function partsOf(n: NodeView, x: Tensor): Parts {
  const rank = x.shape.length;
  const count = x.shape[rank - 1];
  if (rank < 2 || !(count === 1 || count === 2))
    throw n.fail(`expected a last dimension of 1 (real) or 2 (complex), got [${x.shape.join(", ")}]`);
  const part = (k: number) => n.tensor(reshapeTo(n, rangeOf(n, x, rank - 1, k, 1), x.shape.slice(0, -1)));
  return count === 1 ? { re: part(0), im: undefined } : { re: part(0), im: part(1) };
}

/** Stacks real and imaginary parts as a new last dimension. */
function complex(n: NodeView, { re, im }: Parts): Value {
  const last = (x: Tensor) => reshapeTo(n, x, [...x.shape, 1]);
  return im ? concatAlong(n, [last(re), last(im)], re.shape.length) : last(re);
}

/** cos and sin of 2π · t · k / length for the elements t of a signal and k of a spectrum. */
function waves(length: number, t: { name: string; size: number }, k: { name: string; size: number }) {
  const turns = ops.mod(ops.mul(ops.iota(t, "i32"), ops.iota(k, "i32")), length); // exact, whatever the length
  const angle = ops.mul(ops.cast(turns, "f32"), (2 * Math.PI) / length);
  return { cos: ops.cos(angle), sin: ops.sin(angle) };
}

/** Transforms one dimension, which is cut or filled with zeros to the length that the transform reads. */
function transformed(n: NodeView, { re, im }: Parts, at: number, { length, inverse, onesided }: Transform): Parts {
  if (!(Number.isInteger(length) && length >= 1 && length <= longest))
    throw n.fail(`a Fourier transform of ${length} elements is not supported; the most is ${longest}`);
  if (onesided && !inverse && im) throw n.fail("a one-sided transform of a complex signal is not defined");
  const half = Math.floor(length / 2) + 1;
  const [read, made] = onesided ? (inverse ? [half, length] : [length, half]) : [length, length];
  const from = re.axes[at] ?? freshName("element", re.axes);
  const t = { name: from, size: read };
  const k = { name: freshName(from, re.axes), size: made };
  const { cos, sin } = waves(length, t, k);
  const product = (x: Tensor | undefined, wave: Node) => x && ops.contract(fitted(n, x, at, t), wave, [from]);
  // A one-sided spectrum stands for both halves: its inner values count twice.
  const weight = onesided && inverse ? sidesOfSpectrum(length, t) : undefined;
  const weighted = (wave: Node) => (weight ? ops.mul(wave, weight) : wave);
  const scale = inverse ? 1 / length : 1;
  const sign = inverse ? -1 : 1;
  const [a, b, c, d] = [
    product(re, weighted(cos)),
    product(im, weighted(sin)),
    product(re, weighted(sin)),
    product(im, weighted(cos)),
  ];
  const real = ops.mul(b ? ops.add(a!, ops.mul(b, sign)) : a!, scale);
  const imaginary = ops.mul(d ? ops.sub(d, ops.mul(c!, sign)) : ops.mul(c!, -sign), scale);
  const shaped = (node: Node): Tensor =>
    withShape(
      re,
      re.shape.map((size, i) => (i === at ? [made, k.name] : [size, re.axes[i]])),
      made === 1 ? ops.dropAxis(node, k.name) : node,
    );
  return { re: shaped(real), im: onesided && inverse ? undefined : shaped(imaginary) };
}

function sidesOfSpectrum(length: number, t: { name: string; size: number }): Node {
  const at = ops.iota(t, "i32");
  const isInner = ops.and(ops.ge(at, 1), ops.lt(at, ops.constant(Math.ceil(length / 2), "i32")));
  return ops.select(isInner, ops.constant(2, "f32"), ops.constant(1, "f32"));
}

/** The tensor's node with `t.size` elements along a dimension, which has the name of `t`. */
function fitted(n: NodeView, x: Tensor, at: number, t: { name: string; size: number }): Node {
  const size = x.shape[at]!;
  if (typeof size !== "number")
    throw n.fail(`a transformed dimension must be a number, got ${size}: ${n.toGive(size)}`);
  const whole = size === 1 ? ops.broadcast(x.node, [{ name: t.name, size: 1 }]) : x.node;
  const node = whole.type.dtype === "f32" ? whole : ops.cast(whole, "f32");
  if (size === t.size) return node;
  return size > t.size ? ops.slice(node, t.name, 0, t.size) : ops.pad(node, t.name, 0, t.size - size, 0);
}

function dft(n: NodeView): Value {
  const x = n.tensor(n.floatsIn(0), ["batch", "element", "part"]);
  const rank = x.shape.length;
  const at = n.dim(n.number(2, "the axis") ?? n.int("axis", n.opset < 20 ? 1 : -2), rank);
  if (at === rank - 1) throw n.fail("the last dimension has the real and imaginary parts and cannot be transformed");
  const [inverse, onesided] = [n.flag("inverse"), n.flag("onesided")];
  const own = x.shape[at]!;
  const given = n.number(1, "the length");
  const length = given ?? (onesided && inverse ? 2 * (Number(own) - 1) : Number(own));
  if (typeof own !== "number") throw n.fail(`a transformed dimension must be a number, got ${own}: ${n.toGive(own)}`);
  return ofType(x, complex(n, transformed(n, partsOf(n, x), at, { length, inverse, onesided })));
}

/** Transforms of overlapping frames of a signal [batch, element, part] -> [batch, frame, bin, 2]. */
function stft(n: NodeView): Value {
  const x = n.tensor(n.floatsIn(0), ["batch", "element", "part"]);
  const size = x.shape[1];
  if (x.shape.length !== 3 || typeof size !== "number")
    throw n.fail(`expected a signal [batch, elements, 1 or 2] whose length is a number, got [${x.shape.join(", ")}]`);
  const step = n.numberIn(1, "the step");
  const window = n.inputs[2];
  const length = n.number(3, "the frame's length") ?? Number(window?.shape[0] ?? size);
  const frames = Math.floor((size - length) / step) + 1;
  if (!(step >= 1 && length >= 2 && length <= size))
    throw n.fail(`frames of ${length} elements every ${step} do not fit a signal of ${size}`);
  if (window && (window.shape.length !== 1 || window.shape[0] !== length))
    throw n.fail(`a window of [${window.shape.join(", ")}] does not match frames of ${length}`);
  const framed = (part: Tensor): Tensor => {
    const [name, frame] = [part.axes[1]!, freshName("frame", part.axes)];
    const cut = ops.slice(part.node, name, 0, (frames - 1) * step + length);
    const own = freshName("element", [...part.axes, frame]);
    const taps = ops.window(cut, name, frame, { name: own, size: length }, step, 1);
    const node = window ? ops.mul(taps, n.named(window, [own])) : taps;
    return tensor(
      part.type,
      [part.shape[0]!, frames, length],
      [part.axes[0], frame, own],
      frames === 1 ? ops.dropAxis(node, frame) : node,
    );
  };
  const { re, im } = partsOf(n, x);
  const parts = { re: framed(re), im: im && framed(im) };
  const onesided = n.flag("onesided", true);
  return ofType(x, complex(n, transformed(n, parts, 2, { length, inverse: false, onesided })));
}

/** Transforms are computed in f32, and their results are of the operand's type. */
function ofType(x: Tensor, made: Value): Value {
  const { dtype } = x.type;
  return made.kind !== "tensor" || made.node.type.dtype === dtype
    ? { ...made, type: x.type }
    : { ...made, type: x.type, node: ops.cast(made.node, dtype) };
}

/** A window function: a sum of cosines with these coefficients. */
const windowFunction =
  (...coefficients: readonly number[]) =>
  (n: NodeView): Value => {
    const size = n.numberIn(0, "the size");
    if (!(Number.isInteger(size) && size >= 1 && size <= longest * 8)) throw n.fail(`a window of ${size} elements`);
    const span = n.flag("periodic", true) ? size : size - 1;
    const at = (i: number) =>
      coefficients.reduce((sum, c, k) => sum + (-1) ** k * c * Math.cos((2 * Math.PI * k * i) / span), 0);
    const type = elementType(n.int("output_datatype", 1), "the result");
    return known(
      type,
      [size],
      Array.from({ length: size }, (_, i) => (span === 0 ? 1 : at(i))),
    );
  };

export const signalRecords: Records = {
  DFT: { build: dft },
  STFT: { build: stft },
  HannWindow: { build: windowFunction(0.5, 0.5), unfolded: true },
  HammingWindow: { build: windowFunction(25 / 46, 21 / 46), unfolded: true },
  BlackmanWindow: { build: windowFunction(0.42, 0.5, 0.08), unfolded: true },
};
