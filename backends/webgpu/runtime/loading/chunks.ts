/** How tensors that are loaded share staging memory: chunks of pieces, many small tensors in one, a large one over several. */
import { elementCount } from "../../../../compiler/index.ts";
import type { StoredFloat, StoredTensor } from "../../../backend.ts";

/** Elements of one tensor in one chunk. */
export interface Piece {
  readonly tensor: StoredTensor;
  /** The tensor's place in the list that is loaded. */
  readonly index: number;
  readonly first: number;
  readonly count: number;
  /** Bytes into the staging buffer; a multiple of `pieceAlignment`. */
  readonly at: number;
}

/** What one staging buffer carries at a time. */
export interface Chunk {
  readonly pieces: readonly Piece[];
  readonly bytes: number;
}

export const storedBytes = { f32: 4, f16: 2, bf16: 2 } as const satisfies Record<StoredFloat, number>;

/** Pieces begin where copies may (4 bytes) and loads of vectors are aligned. */
const pieceAlignment = 16;

/** A tensor is cut at multiples of so many elements, so that both sides of a cut are where bindings may begin (256 bytes). */
export const cutElements = 256;

const aligned = (bytes: number): number => Math.ceil(bytes / pieceAlignment) * pieceAlignment;

export const pieceBytes = ({ tensor, count }: Piece): number => count * storedBytes[tensor.stored];

/** Bytes that the tensors take in staging memory, each from an aligned place on. */
export const stagedBytes = (tensors: readonly StoredTensor[]): number =>
  tensors.reduce((sum, t) => sum + aligned(elementCount(t.axes) * storedBytes[t.stored]), 0);

/** The tensors in the order in which they lie, in chunks of at most `most` bytes, which holds `cutElements` of any float. */
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
