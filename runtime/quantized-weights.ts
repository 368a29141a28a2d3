/** Weight quantization at load time: only one tensor at a time is held as floats. */
import { FileError, type HostTensor, hostTensor, type QuantizedParameter } from "../compiler/index.ts";
import { quoted } from "./file-errors.ts";
import type { ParameterSource } from "./parameter-source.ts";
import { permute } from "./weights.ts";

export interface QuantizingSource extends ParameterSource {
  /** Registers the quantized parameters of graphs that are about to be loaded. */
  keep(parameters: readonly QuantizedParameter[]): void;
}

/** A source that also yields the packed words and the scales of quantized parameters. */
export function quantizingSource(source: ParameterSource): QuantizingSource {
  const kept = new Map<string, QuantizedParameter>();
  /** Quantizing yields words and scales together; this keeps the one not asked for yet. */
  const beside = new Map<string, HostTensor>();
  const read: ParameterSource["read"] = async (name, dtype) => {
    const made = beside.get(name);
    if (made) {
      beside.delete(name);
      return made;
    }
    const q = kept.get(name);
    if (!q) return await source.read(name, dtype);
    const { words, scales } = quantized(q, await source.read(q.parameter, "f32"));
    const isWords = name === q.words.name;
    beside.set((isWords ? q.scales : q.words).name, isWords ? scales : words);
    return isWords ? words : scales;
  };
  return {
    read,
    stored: (name, dtype) => (kept.has(name) ? undefined : source.stored?.(name, dtype)),
    keep(parameters) {
      for (const q of parameters) kept.set(q.words.name, q).set(q.scales.name, q);
    },
  };
}

/**
 * Block-wise quantization of a matrix to packed integers and scales. In 8 bits the largest magnitude of a block maps to
 * 127; in 4 bits the element farthest from 0 maps to -8 (the scale may be negative), so that all 16 integers are used.
 * Scales are rounded to f16 away from 0: the error is at most half a scale, or in 4 bits a whole one at the end
 * opposite to the farthest element. Throws FileError when f16 cannot represent the scale.
 */
export function quantized(q: QuantizedParameter, value: HostTensor): { words: HostTensor; scales: HostTensor } {
  const { bits, depth, block } = q;
  const ordered = permute(value, q.order).data;
  const data = ordered instanceof Float32Array ? ordered : Float32Array.from(ordered);
  const rows = data.length / depth;
  const blocks = Math.ceil(depth / block);
  const each = 32 / bits;
  const words = new Uint32Array((rows * blocks * block) / each);
  const scales = new Float16Array(rows * blocks);
  for (let row = 0, at = 0; row < rows; row++)
    for (let b = 0; b < blocks; b++, at++) {
      const from = row * depth + b * block;
      const to = Math.min(from + block, (row + 1) * depth);
      const far = farthestOf(data, from, to);
      const scale = scaleFor(far, bits);
      if (!Number.isFinite(scale)) throw tooLarge(q, Math.abs(far));
      scales[at] = scale;
      const inverse = scale === 0 ? 0 : 1 / scale;
      const [first, count] = [(at * block) / each, block / each];
      for (let w = 0, i = from; w < count; w++, i += each) words[first + w] = packed(data, i, to, inverse, bits);
    }
  return { words: hostTensor("u32", q.words.axes, words), scales: hostTensor("f16", q.scales.axes, scales) };
}

/** The element farthest from 0. */
function farthestOf(data: Float32Array, from: number, to: number): number {
  let [far, most] = [0, 0];
  for (let i = from; i < to; i++) {
    const magnitude = Math.abs(data[i]!);
    if (magnitude > most) [far, most] = [data[i]!, magnitude];
  }
  return far;
}

function scaleFor(far: number, bits: number): number {
  if (bits === 8) return halfNotBelow(Math.abs(far) / 127);
  return far > 0 ? -halfNotBelow(far / 8) : halfNotBelow(-far / 8);
}

/** Packs one word of elements, multiplied by `inverse` and rounded; elements from `to` on are 0. */
function packed(data: Float32Array, from: number, to: number, inverse: number, bits: number): number {
  const excess = 1 << (bits - 1);
  const most = 2 * excess - 1;
  let word = 0;
  for (let shift = 0, i = from; shift < 32; shift += bits, i++) {
    // The value is never negative here, so truncation rounds down.
    const held = i < to ? (data[i]! * inverse + excess + 0.5) | 0 : excess;
    word |= (held > most ? most : held) << shift;
  }
  return word;
}

const half = new Float16Array(1);
const halfBits = new Uint16Array(half.buffer);

/** The smallest f16 not below `value`, for value >= 0. */
function halfNotBelow(value: number): number {
  half[0] = value;
  if (half[0]! < value) halfBits[0]! += 1;
  return half[0]!;
}

const tooLarge = ({ parameter, bits }: QuantizedParameter, most: number): FileError =>
  new FileError(
    `${quoted(parameter)}: a weight of ${most} is too large for ${bits}-bit integers with f16 scales\n  hint: keep weights in f32`,
  );
