/** Packs tensors into staging chunks: many small tensors share one, a large one is split over several. */
import { elementCount } from "../../../../compiler/index.ts";
import type { StoredFloat, StoredTensor } from "../../../backend.ts";

/** The part of one tensor in one chunk. */
export interface Piece {
  readonly tensor: StoredTensor;
  /** The tensor's index in the list being loaded. */
  readonly index: number;
  readonly first: number;
  readonly count: number;
  /** Byte offset in the staging buffer; a multiple of `pieceAlignment`. */
  readonly at: number;
}

/** The contents of one staging buffer. */
export interface Chunk {
  readonly pieces: readonly Piece[];
  readonly bytes: number;
}

export const storedBytes = { f32: 4, f16: 2, bf16: 2 } as const satisfies Record<StoredFloat, number>;

/** Satisfies the alignment of buffer copies (4 bytes) and of vector loads. */
const pieceAlignment = 16;

/**
 * Tensors are split at multiples of this many elements, so that splits meet the binding offset alignment (256 bytes).
 */
export const cutElements = 256;

const aligned = (bytes: number): number => Math.ceil(bytes / pieceAlignment) * pieceAlignment;

export const pieceBytes = ({ tensor, count }: Piece): number => count * storedBytes[tensor.stored];

/** Bytes that the tensors occupy in staging memory, each aligned. */
export const stagedBytes = (tensors: readonly StoredTensor[]): number =>
  tensors.reduce((sum, t) => sum + aligned(elementCount(t.axes) * storedBytes[t.stored]), 0);

/** Tensors in file order, in chunks of at most `most` bytes, which must hold `cutElements` of any float type. */
export function* chunksOf(tensors: readonly StoredTensor[], most: number): Generator<Chunk> {
  let [pieces, bytes]: [Piece[], number] = [[], 0];
  for (const [index, tensor] of inFileOrder(tensors)) {
    const [elements, size] = [elementCount(tensor.axes), storedBytes[tensor.stored]];
    for (let first = 0; first < elements; ) {
      const left = elements - first;
      const room = Math.floor((most - bytes) / size);
      const count = left <= room ? left : room - (room % cutElements);
      if (count > 0) {
        pieces.push({ tensor, index, first, count, at: bytes });
        bytes += aligned(count * size);
        first += count;
      }
      if (count === left) continue;
      yield { pieces, bytes };
      [pieces, bytes] = [[], 0];
    }
  }
  if (pieces.length > 0) yield { pieces, bytes };
}

const inFileOrder = (tensors: readonly StoredTensor[]): [number, StoredTensor][] =>
  [...tensors.entries()].sort(
    ([, { place: a }], [, { place: b }]) => (a.file < b.file ? -1 : Number(a.file > b.file)) || a.offset - b.offset,
  );
