/** Statements as text with holes: what the printer writes, and what it looks for repetition in. */
import type { Counter, Literal, Piece as TextPiece } from "./spell.ts";

/** A reference to what another statement defines. */
export interface OperandHole {
  readonly kind: "operand";
  readonly item: Item;
}

export type Hole = OperandHole | Counter | Literal;
export type Piece = OperandHole | TextPiece;

/** One statement. Two are alike when their pieces are, but for what the holes hold. */
export interface Item {
  readonly pieces: readonly Piece[];
  /** The type at the end of the line; empty for a result. */
  readonly type: string;
  /** What the value would like to be called; values without a wish are numbered. */
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

/** One text for all statements that are alike. */
export function shapeOf(item: Item): string {
  const pieces = item.pieces.map((p) => (typeof p === "string" ? p : `\u0000${p.kind}`));
  return `${pieces.join("\u0001")}\u0001${item.type}\u0001${item.isResult}`;
}
