/** The printer's input to layout, and the text of iteration indices. */
import type { SizeSymbol } from "../dim.ts";
import type { Rolled } from "../roll.ts";
import type { Item } from "./item.ts";

export interface Sheet {
  /** As printed after the @. */
  readonly name: string;
  /** The symbols declared with bounds. */
  readonly symbols: readonly SizeSymbol[];
  readonly signature: readonly { readonly item: Item; readonly name: string }[];
  readonly rolled: Rolled;
  /** The loop variable. */
  readonly variable: string;
}

/** `i`, `i-1`, `47-i`, `2*i+1`. */
export function linear(scale: number, offset: number, variable: string): string {
  if (scale === 0) return String(offset);
  const times = Math.abs(scale) === 1 ? variable : `${Math.abs(scale)}*${variable}`;
  if (scale < 0 && offset > 0) return `${offset}-${times}`;
  const sign = offset > 0 ? "+" : "";
  return `${scale < 0 ? "-" : ""}${times}${offset === 0 ? "" : `${sign}${offset}`}`;
}
