/** Statements as text with holes: the form in which the printer detects repetition. */
import type { Counter, Literal, Piece as TextPiece } from "./spell.ts";

/** A reference to the value of another statement. */
export interface OperandHole {
  readonly kind: "operand";
  readonly item: Item;
}

export type Hole = OperandHole | Counter | Literal;
export type Piece = OperandHole | TextPiece;

/** One statement. Two have the same shape if their pieces differ only in the contents of holes. */
export interface Item {
  readonly pieces: readonly Piece[];
  /** The type at the end of the line; empty for a result. */
  readonly type: string;
  /** The preferred name of the value; values without one are numbered. */
  readonly wish: string | undefined;
  readonly isResult: boolean;
}

const isHole = (piece: Piece): piece is Hole => typeof piece !== "string";

const holes = new WeakMap<Item, readonly Hole[]>();

/** The holes of a statement, in the order of the text. */
export function holesOf(item: Item): readonly Hole[] {
  let found = holes.get(item);
  if (!found) {
    found = item.pieces.filter(isHole);
    holes.set(item, found);
  }
  return found;
}

/** A key that is equal for statements of the same shape. */
export function shapeOf(item: Item): string {
  const pieces = item.pieces.map((p) => (typeof p === "string" ? p : `\u0000${p.kind}`));
  return `${pieces.join("\u0001")}\u0001${item.type}\u0001${item.isResult}`;
}
