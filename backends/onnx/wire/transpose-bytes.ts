/** Transposes tensors in memory. */
import { bytesOf } from "./elements.ts";

/** Elements as unsigned integers, moved bit for bit: f16 elements would be widened and rounded again. */
type Words = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
const wordArrays = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const;

/** Permutes the axes of `width`-byte elements, row-major in `sizes`, by `perm`. */
export function transposeBytes(
  bytes: Uint8Array<ArrayBuffer>,
  width: number,
  sizes: readonly number[],
  perm: readonly number[],
): Uint8Array<ArrayBuffer> {
  const words = new wordArrays[width as 1 | 2 | 4](bytes.buffer, bytes.byteOffset, bytes.length / width);
  const runs = perm.reduce<number[][]>((all, p, i) => {
    if (i > 0 && p === perm[i - 1]! + 1) all.at(-1)!.push(p);
    else all.push([p]);
    return all;
  }, []);
  const span = (run: readonly number[]) => run.reduce((n, p) => n * sizes[p]!, 1);
  const [first, second] = runs;
  const turned = runs.length === 2 && second![0] === 0;
  return bytesOf(turned ? turn(words, span(second!), span(first!)) : gatherPermuted(words, sizes, perm));
}

/** Transposes a matrix tile by tile, so that both reads and writes stay in cache. */
function turn(x: Words, rows: number, columns: number): Words {
  const out = x.slice();
  const tile = 32;
  for (let r0 = 0; r0 < rows; r0 += tile) {
    const r1 = Math.min(rows, r0 + tile);
    for (let c0 = 0; c0 < columns; c0 += tile) {
      const c1 = Math.min(columns, c0 + tile);
      for (let c = c0; c < c1; c++) for (let r = r0; r < r1; r++) out[c * rows + r] = x[r * columns + c]!;
    }
  }
  return out;
}

function gatherPermuted(x: Words, sizes: readonly number[], perm: readonly number[]): Words {
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
  const [outer, steps] = [perm.map((p) => sizes[p]!), perm.map((p) => strides[p]!)];
  const out = x.slice();
  const index = new Array<number>(outer.length).fill(0);
  const [run, stride] = [outer.at(-1) ?? 1, steps.at(-1) ?? 1];
  for (let at = 0, from = 0; at < out.length; ) {
    for (let i = 0; i < run; i++) out[at++] = x[from + i * stride]!;
    for (let d = outer.length - 2; d >= 0; d--) {
      from += steps[d]!;
      if (++index[d]! < outer[d]!) break;
      from -= outer[d]! * steps[d]!;
      index[d] = 0;
    }
  }
  return out;
}
