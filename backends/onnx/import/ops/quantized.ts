/** Quantization, dequantization and quantized products. Integer sums are computed in f32, which is exact below 2^24. */
import { type Dim, divideDims, type Node, ops } from "../../../../compiler/index.ts";
import { pointwise, pointwiseInRange } from "../broadcast.ts";
import { type ElementType, elementNamed, elementType, float, int32, isNarrow } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { roundedToBytes } from "../rounding.ts";
import { elements, isNumbers, type Stored, type Tensor, tensor, type Value } from "../values.ts";
import { wide } from "../whole-floats.ts";
import { convolve } from "./convolutions.ts";
import { casted } from "./elementwise.ts";
import { matmul } from "./products.ts";
import { rangeOf } from "./ranges.ts";
import { expandTo, reshapeTo } from "./shapes.ts";

const { add, cast, div, max, min, mul, roundStraightThrough, sub } = ops;

/** Integers minus their zero point, as floats. */
export const centredFloats = (q: Node, zero: Node | undefined): Node => (zero ? sub(wide(q), wide(zero)) : wide(q));

/**
 * Reshapes a scale or zero point to broadcast with its tensor: one for the tensor, one per channel, or of all
 * dimensions.
 */
function beside(n: NodeView, given: Value, shape: readonly Dim[], at: number | undefined, what = "scales"): Value {
  if (given.shape.length === 0 || (given.shape.length === 1 && given.shape[0] === 1)) return reshapeTo(n, given, []);
  if (given.shape.length > 1) return given;
  if (at === undefined) throw n.fail(`got ${given.shape[0]} ${what}; expected one`);
  if (given.shape[0] !== shape[at]) throw n.fail(`got ${given.shape[0]} ${what} for a dimension of ${shape[at]}`);
  return reshapeTo(
    n,
    given,
    shape.map((d, i) => (i === at ? d : 1)),
  );
}

interface Scaled {
  readonly x: Value;
  readonly scale: Value;
  readonly zero: Value | undefined;
  /** Restores the original shape. */
  readonly back: (made: Value) => Value;
}

/** The operands of a (de)quantization, reshaped to broadcast. */
function scaled(n: NodeView): Scaled {
  const [x, scale, zero] = [n.in(0), n.in(1), n.inputs[2]];
  const block = n.int("block_size", 0);
  if (block > 0 && elements(scale) !== 1) return scaledInBlocks(n, block);
  const given = zero ? [scale, zero] : [scale];
  const many = given.find((v) => elements(v) !== 1);
  if (many && many.shape.length !== 1)
    throw n.fail(`scales of [${many.shape.join(", ")}] without a block_size; expected one or a list`);
  const at = many && n.dim(n.int("axis", 1), x.shape.length);
  const one = (v: Value, what?: string) => beside(n, v, x.shape, at, what);
  return { x, scale: one(scale), zero: zero && one(zero, "zero points"), back: (made) => made };
}

/**
 * With equal blocks, splits the dimension [.., n, ..] into [.., blocks, block, ..]; where the last block is shorter,
 * repeats the scales instead.
 */
function scaledInBlocks(n: NodeView, block: number): Scaled {
  const [x, scale, zero] = [n.in(0), n.in(1), n.inputs[2]];
  const at = n.dim(n.int("axis", 1), x.shape.length);
  const size = x.shape[at]!;
  const even = divideDims(size, block);
  const blocks = even ?? (typeof size === "number" ? Math.ceil(size / block) : undefined);
  if (blocks === undefined) throw n.fail(`a dimension of ${size} is not divisible into blocks of ${block}`);
  for (const v of zero ? [scale, zero] : [scale]) requireBlocks(n, v.shape, x.shape, at, blocks);
  if (even === undefined) {
    const spread = (v: Value) => repeatedInBlocks(n, v, at, block, size as number);
    return { x, scale: spread(scale), zero: zero && spread(zero), back: (made) => made };
  }
  const split = (v: Value, ...sizes: Dim[]) =>
    reshapeTo(n, v, [...v.shape.slice(0, at), ...sizes, ...v.shape.slice(at + 1)]);
  return {
    x: split(x, even, block),
    scale: split(scale, even, 1),
    zero: zero && split(zero, even, 1),
    back: (made) => reshapeTo(n, made, x.shape),
  };
}

function requireBlocks(n: NodeView, scales: readonly Dim[], shape: readonly Dim[], at: number, blocks: Dim): void {
  const fits = scales.length === shape.length && scales.every((d, i) => d === (i === at ? blocks : shape[i]));
  if (!fits)
    throw n.fail(
      `scales of [${scales.join(", ")}] do not match [${shape.join(", ")}] in blocks of ${n.int("block_size", 0)}`,
    );
}

/** Repeats the scale of each block for its elements: [.., blocks, ..] to [.., size, ..]. */
function repeatedInBlocks(n: NodeView, scales: Value, at: number, block: number, size: number): Value {
  const [before, blocks, after] = [scales.shape.slice(0, at), scales.shape[at] as number, scales.shape.slice(at + 1)];
  const apart = reshapeTo(n, scales, [...before, blocks, 1, ...after]);
  const repeated = expandTo(n, apart, [...before, blocks, block, ...after]);
  return rangeOf(n, reshapeTo(n, repeated, [...before, blocks * block, ...after]), at, 0, size);
}

function dequantize(n: NodeView): Value {
  const stored = storedFloats(n);
  if (stored) return stored;
  const { x, scale, zero, back } = scaled(n);
  const type =
    n.has("output_dtype") && n.int("output_dtype") !== 0
      ? elementType(n.int("output_dtype"), "the result")
      : n.in(1).type;
  const operands = [x, scale, ...(zero ? [zero] : [])];
  return back(pointwise(n, operands, ([q, s, z]) => casted(mul(centredFloats(q!, z), wide(s!)), float, type), type));
}

/**
 * A quantized weight as a float parameter, if all operands are stored in the file. It is dequantized when it is read,
 * so that it can be trained and exported as integers again.
 */
function storedFloats(n: NodeView): Value | undefined {
  const [q, s, z] = [n.in(0), n.in(1), n.inputs[2]];
  const parts = [q, s, z].map((v) => v && sourceOf(v));
  if (!parts[0] || !parts[1] || (z && !parts[2])) return undefined;
  const shape = q.shape as readonly number[];
  const count = shape.reduce((k, d) => k * d, 1);
  if (count < 2) return undefined;
  // A MatMulInteger's zero points may be one for all columns whose scales differ, or the other way round.
  const [scaleOf, zeroOf] = [s, z].map((v) => scalePlaces(n, shape, (v?.shape ?? []) as readonly number[]));
  const weight = {
    name: shownWeight(q, n),
    form: formOf(n),
    read: async () => {
      const [values, scales, zeros] = await Promise.all([parts[0]!(), parts[1]!(), parts[2]?.()]);
      return Float32Array.from(
        { length: count },
        (_, i) => (values[i]! - (zeros?.[zeroOf!(i)] ?? 0)) * scales[scaleOf!(i)]!,
      );
    },
  };
  return { kind: "stored", type: n.in(1).type, shape, weight } satisfies Stored;
}

/** Identifies a dequantization: the operator, axis, scale and zero point. */
const formOf = (n: NodeView): string => [n.message.opType, n.int("axis", 1), ...n.message.input.slice(1)].join(" ");

const shownWeight = (q: Value, n: NodeView): string => (q.kind === "stored" ? q.weight.name : n.message.input[0]!);

/** Reads a value's numbers if they are stored in the file. */
export function sourceOf(value: Value): (() => Promise<ArrayLike<number>>) | undefined {
  if (value.kind === "stored") return value.weight.read;
  if (value.kind === "known" && isNumbers(value.values)) {
    const { values } = value;
    return async () => values as ArrayLike<number>;
  }
  return undefined;
}

/** Maps an element's index to that of its scale. */
function scalePlaces(n: NodeView, shape: readonly number[], scales: readonly number[]): (i: number) => number {
  const total = scales.reduce((k, d) => k * d, 1);
  if (total === 1) return () => 0;
  const at = n.dim(n.int("axis", 1), shape.length);
  const below = shape.slice(at + 1).reduce((k, d) => k * d, 1);
  const size = shape[at]!;
  const block = n.int("block_size", 0);
  if (block === 0) {
    if (scales.length !== 1 || scales[0] !== size)
      throw n.fail(`got ${scales.join(" x ")} scales for a dimension of ${size}`);
    return (i) => Math.floor(i / below) % size;
  }
  const blocks = Math.ceil(size / block);
  requireBlocks(n, scales, shape, at, blocks);
  return (i) =>
    (Math.floor(i / (below * size)) * blocks + Math.floor((Math.floor(i / below) % size) / block)) * below +
    (i % below);
}

/** The quantized type: that of the zero point, or of the node's attribute. */
function quantizedType(n: NodeView, zero: number): ElementType {
  const given = n.inputs[zero]?.type;
  if (given) return given;
  return n.has("output_dtype") && n.int("output_dtype") !== 0
    ? elementType(n.int("output_dtype"), "the result")
    : elementNamed("uint8");
}

const saturated = (x: Node, { range }: ElementType): Node => cast(min(max(x, range![0]), range![1]), "i32");

function quantize(n: NodeView): Value {
  const type = quantizedType(n, 2);
  if (!type.range || !isNarrow(type)) throw n.fail(`quantizing to ${type.name} is not supported`);
  const { x, scale, zero, back } = scaled(n);
  return back(quantizedWith(n, [x, scale, zero], type));
}

/** Quantizes a value; its scale and zero point broadcast with it. */
export function quantizedWith(
  n: NodeView,
  [x, scale, zero]: readonly [x: Value, scale: Value, zero: Value | undefined],
  type: ElementType,
): Value {
  const made = ([v, s, z]: readonly Node[]) => {
    const whole = roundStraightThrough(div(wide(v!), wide(s!)));
    return saturated(z ? add(whole, wide(z)) : whole, type);
  };
  return pointwiseInRange(n, zero ? [x, scale, zero] : [x, scale], made, type);
}

/** DynamicQuantizeLinear: derives scale and zero point from the tensor. */
function dynamicQuantize(n: NodeView): readonly Value[] {
  const x = n.x(0);
  const uint8 = elementNamed("uint8");
  const { units, step, zero } = roundedToBytes(x.node);
  return [
    { ...x, type: uint8, node: cast(units, "i32") },
    tensor(float, [], [], step),
    tensor(uint8, [], [], cast(zero, "i32")),
  ];
}

/** Integers minus their zero point, as floats. */
function centred(n: NodeView, i: number, zero: number, at: number): Value {
  const x = n.in(i);
  const z = n.inputs[zero];
  // A weight becomes a float parameter, so that it can be trained and exports as the same integers.
  if (x.kind === "stored" && !z) {
    const weight = { ...x.weight, form: "whole floats" };
    return { kind: "stored", type: float, shape: x.shape, weight } satisfies Stored;
  }
  const isRow = z && z.shape.length === 1 && z.shape[0] !== 1;
  const along = isRow
    ? reshapeTo(
        n,
        z,
        x.shape.map((d, k) => (k === (at + x.shape.length) % x.shape.length ? d : 1)),
      )
    : z && reshapeTo(n, z, z.shape.length > 1 ? z.shape : []);
  return pointwise(n, along ? [x, along] : [x], ([q, o]) => centredFloats(q!, o), float);
}

const asInteger = (x: Tensor): Value => ({ ...x, type: int32, node: cast(x.node, "i32") });

/**
 * Requantizes an integer product computed in floats. The dimensions are those along which each operand's scales lie.
 */
function requantized(
  n: NodeView,
  product: Tensor,
  [left, right, result]: readonly [number, number, number],
  along: { readonly left?: number; readonly right?: number },
): Value {
  const zero = result + 1;
  const { type } = n.integersIn(zero);
  const one = (i: number, at?: number, what?: string) => beside(n, n.in(i), product.shape, at, what);
  return pointwiseInRange(
    n,
    [product, one(left, along.left), one(right, along.right), one(result), one(zero, undefined, "zero points")],
    ([p, sa, sb, sy, o]) =>
      saturated(add(roundStraightThrough(div(mul(p!, mul(wide(sa!), wide(sb!))), wide(sy!))), wide(o!)), type),
    type,
  );
}

/** QLinearMatMul: scales of the left operand may be per row, those of the right one per column. */
function matmulOfIntegers(n: NodeView): Value {
  const product = matmul(n, centred(n, 0, 2, -2), centred(n, 3, 5, -1));
  const [isRow, isColumn] = [n.in(0).shape.length === 1, n.in(3).shape.length === 1];
  const rank = product.shape.length;
  return requantized(n, product, [1, 4, 6], {
    ...(!isRow && { left: isColumn ? rank - 1 : rank - 2 }),
    ...(!isColumn && { right: rank - 1 }),
  });
}

export const quantizedRecords: Records = {
  QuantizeLinear: { build: quantize },
  DequantizeLinear: { build: dequantize, unfolded: true },
  "com.microsoft.QuantizeLinear": { build: quantize },
  "com.microsoft.DequantizeLinear": { build: dequantize, unfolded: true },
  DynamicQuantizeLinear: { build: dynamicQuantize },
  MatMulInteger: { build: (n) => asInteger(matmul(n, centred(n, 0, 2, -2), centred(n, 1, 3, -1))) },
  ConvInteger: { build: (n) => asInteger(convolve(n, { x: centred(n, 0, 2, 1), weight: centred(n, 1, 3, 0) })) },
  QLinearMatMul: { build: matmulOfIntegers },
  QLinearConv: {
    build: (n) => {
      const bias = n.inputs[8] && pointwise(n, [n.inputs[8]], ([b]) => wide(b!), float);
      const made = convolve(n, { x: centred(n, 0, 2, 1), weight: centred(n, 3, 5, 0), bias });
      return requantized(n, made, [1, 4, 6], { right: 1 });
    },
  },
};
