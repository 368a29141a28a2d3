/**
 * Numbers that PyTorch's side (scripts/reference/numbers_alike.py) draws alike, so that no file holds weights and
 * pixels.
 */
import { crc32 } from "node:zlib";

/** In (0, 1), exact in f32: a hash of the name and of each place. */
export function uniformly(name: string, count: number): Float64Array {
  const first = crc32(name);
  return Float64Array.from({ length: count }, (_, i) => {
    let x = (first + Math.imul(i, 0x9e3779b9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    x ^= x >>> 15;
    return ((x >>> 9) + 0.5) / 2 ** 23;
  });
}

/** Uniform in base ± width, as f32. */
export const spread = (name: string, count: number, base: number, width: number): Float32Array =>
  Float32Array.from(uniformly(name, count), (u) => base + width * (2 * u - 1));
