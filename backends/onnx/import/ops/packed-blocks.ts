/** onnxruntime's packed weights: integers of 2, 4 or 8 bits in bytes, with a scale and a zero point for each block. */
import { ops } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import type { ElementType } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { ImportRecord, Records } from "../record.ts";
import { type Stored, type Tensor, tensor, type Value } from "../values.ts";
import { gatherAlong } from "./indexing.ts";
import { matmul } from "./products.ts";
import { sourceOf } from "./quantized.ts";

/** The shape of the weight of MatMulNBits, [columns, inner], and its packing along `inner`. */
interface Packing {
  readonly columns: number;
  readonly inner: number;
  readonly bits: number;
  /** Elements that share a scale and a zero point. */
  readonly block: number;
}

/**
 * The weight of MatMulNBits as floats, [N, K]: B is [N, blocks, bytes] of packed integers with a scale and zero point
 * per block.
 */
function blocksAsFloats(n: NodeView, type: ElementType): Stored {
  const packing = { columns: n.int("N"), inner: n.int("K"), bits: n.int("bits", 4), block: n.int("block_size") };
  const { columns, inner, bits, block } = packing;
  if (![2, 4, 8].includes(bits) || !(block >= 1) || !(columns >= 1) || !(inner >= 1))
    throw n.fail(`${bits} bits in blocks of ${block} are not supported`);
  const [packed, scales, zeros, groups] = [1, 2, 3, 4].map((i) => n.inputs[i]);
  if (groups) throw n.fail("an order of the blocks (g_idx) is not supported");
  const parts = [packed, scales, zeros].map((v) => v && sourceOf(v));
  if (!packed || !scales || !parts[0] || !parts[1] || (zeros && !parts[2]))
    throw n.dataDependent("its weight is computed at run time, but must be a constant");
  const expected = (v: Value, count: number, what: string) => {
    const own = v.shape.reduce<number>((k, d) => k * (d as number), 1);
    if (own !== count) throw n.fail(`${what} must have ${count} elements, got ${own}`);
  };
  const [blocks, each] = [Math.ceil(inner / block), 8 / bits];
  expected(packed, columns * blocks * Math.ceil(block / each), "B");
  expected(scales, columns * blocks, "scales");
  const hasPackedZeros = zeros?.type.name === "uint8";
  if (zeros) expected(zeros, columns * (hasPackedZeros ? Math.ceil(blocks / each) : blocks), "zero_points");
  const weight = {
    name: packed.kind === "stored" ? packed.weight.name : n.message.input[1]!,
    form: ["blocks", ...n.message.input.slice(2)].join(" "),
    read: async () => {
      const [values, s, z] = await Promise.all([parts[0]!(), parts[1]!(), parts[2]?.()]);
      return dequantized(packing, values, s, z, hasPackedZeros);
    },
  };
  return { kind: "stored", type, shape: [columns, inner], weight };
}

/** (integer − zero point) · scale. A byte holds 8 / bits integers, the low bits first; a column begins with a byte. */
function dequantized(
  { columns, inner, bits, block }: Packing,
  packed: ArrayLike<number>,
  scales: ArrayLike<number>,
  zeros: ArrayLike<number> | undefined,
  hasPackedZeros: boolean,
): Float32Array {
  const [blocks, each] = [Math.ceil(inner / block), 8 / bits];
  const [bytesOfBlock, bytesOfZeros] = [Math.ceil(block / each), Math.ceil(blocks / each)];
  const unpacked = (byte: number, k: number) => (byte >> (bits * (k % each))) & (2 ** bits - 1);
  const zeroOf = (column: number, b: number): number => {
    if (!zeros) return 2 ** (bits - 1);
    if (!hasPackedZeros) return zeros[column * blocks + b]!;
    return unpacked(zeros[column * bytesOfZeros + Math.floor(b / each)]!, b);
  };
  const made = new Float32Array(columns * inner);
  for (let c = 0; c < columns; c++)
    for (let b = 0; b < blocks; b++) {
      const at = c * blocks + b;
      const [zero, scale] = [zeroOf(c, b), scales[at]!];
      for (let k = 0; k < block && b * block + k < inner; k++) {
        const integer = unpacked(packed[at * bytesOfBlock + Math.floor(k / each)]!, k);
        made[c * inner + b * block + k] = (integer - zero) * scale;
      }
    }
  return made;
}

function matmulNBits(n: NodeView): Value {
  const x = n.x(0, ["batch", "token", "embed"]);
  const product = matmul(n, x, transposed(n, blocksAsFloats(n, n.in(0).type), x));
  const bias = n.inputs[5];
  return bias ? pointwise(n, [product, bias], ([p, b]) => ops.add(p!, b!)) : product;
}

/**
 * GatherBlockQuantized: rows of a table whose elements are integers with a scale and zero point for each block. Bytes
 * hold one element of 8 bits, or two of 4 bits, the low one first.
 */
function gatherBlocks(n: NodeView): Value {
  const [data, places, scales, zeros] = [n.in(0), n.in(1), n.in(2), n.inputs[3]];
  const [bits, block] = [n.int("bits", 4), n.int("block_size", 128)];
  const rank = data.shape.length;
  const [along, at] = [n.dim(n.int("gather_axis", 0), rank), n.dim(n.int("quantize_axis", 1), rank)];
  const parts = [data, scales, zeros].map((v) => v && sourceOf(v));
  if (!parts[0] || !parts[1] || (zeros && !parts[2])) throw n.fail("its table is computed when the model runs");
  const isBytes = data.type.name === "uint8";
  if (!(isBytes ? [4, 8] : [4]).includes(bits) || !(block >= 1)) throw n.fail(`${bits} bits in blocks of ${block}`);
  const each = isBytes ? 8 / bits : 1;
  if (each > 1 && at !== rank - 1) throw n.fail("bytes of two elements along another dimension than the last");
  const stored = data.shape as readonly number[];
  const shape = stored.map((d, i) => (i === at ? d * each : d));
  const blocks = Math.ceil(shape[at]! / block);
  const perRow = (v: Value, width: number, what: string) => {
    const fits = v.shape.length === rank && v.shape.every((d, i) => d === (i === at ? width : stored[i]));
    if (!fits) throw n.fail(`${what} of [${v.shape.join(", ")}] for [${stored.join(", ")}] in blocks of ${block}`);
  };
  perRow(scales, blocks, "scales");
  if (zeros) perRow(zeros, Math.ceil(blocks / each), "zero_points");
  const otherwise = isBytes ? 2 ** (bits - 1) : 0;
  const [size, below] = [shape[at]!, shape.slice(at + 1).reduce((k, d) => k * d, 1)];
  /** Element `k` of a packed line. */
  const element = (values: ArrayLike<number>, line: number, inner: number, width: number, k: number): number => {
    const value = values[(line * width + Math.floor(k / each)) * below + inner]!;
    return each === 1 ? value : (value >> (bits * (k % each))) & (2 ** bits - 1);
  };
  const weight = {
    name: data.kind === "stored" ? data.weight.name : n.message.input[0]!,
    form: ["gathered blocks", at, block, bits, ...n.message.input.slice(2)].join(" "),
    read: async () => {
      const [q, s, z] = await Promise.all([parts[0]!(), parts[1]!(), parts[2]?.()]);
      return Float32Array.from({ length: shape.reduce((k, d) => k * d, 1) }, (_, i) => {
        const [line, k, inner] = [Math.floor(i / (size * below)), Math.floor(i / below) % size, i % below];
        const b = Math.floor(k / block);
        const zero = z ? element(z, line, inner, Math.ceil(blocks / each), b) : otherwise;
        return (element(q, line, inner, stored[at]!, k) - zero) * s[(line * blocks + b) * below + inner]!;
      });
    },
  };
  return gatherAlong(n, { kind: "stored", type: scales.type, shape, weight } satisfies Stored, places, along);
}

/** Transposes [out, in] to [in, out]; `in` is named by the contracted axis. */
function transposed(n: NodeView, weight: Stored, x: Tensor): Tensor {
  const dot = x.axes.at(-1);
  const t = n.tensor(weight, ["out", dot ?? "in"], x.axes.slice(0, -1));
  return tensor(t.type, [t.shape[1]!, t.shape[0]!], [t.axes[1], t.axes[0]], t.node);
}

export const packedRecords: Records = {
  "com.microsoft.MatMulNBits": { build: matmulNBits },
  "com.microsoft.GatherBlockQuantized": { build: gatherBlocks },
};

/** Internal operator that integer-forms.ts creates for row gathers from blocks. */
export const blocksRecord: ImportRecord = { build: (n) => blocksAsFloats(n, n.in(2).type), unfolded: true };
