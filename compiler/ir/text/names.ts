/** Names of values: preferred names for inputs and parameters, numbers for all others, in line order. */
import type { Block } from "../roll.ts";
import type { Place } from "../roll-fit.ts";
import type { Item } from "./item.ts";
import type { Sheet } from "./sheet.ts";

export interface Names {
  /** The name without %; for a value in a loop, that of its line. */
  readonly base: (item: Item) => string;
  /** The reference to a value from outside of its loop. */
  readonly reference: (item: Item) => string;
}

export function nameValues({ signature, rolled }: Sheet): Names {
  const names = new Map<Item, string>();
  const taken = new Set<string>();
  let next = 0;
  const give = (item: Item) => {
    if (item.isResult) return;
    names.set(item, item.wish === undefined ? String(next++) : distinct(item.wish, taken));
  };
  for (const { item } of signature) give(item);
  for (const block of rolled.blocks) for (const item of itemsOf(block)) give(item);
  const base = (item: Item) => names.get(lineOf(item, rolled.places.get(item)))!;
  const reference = (item: Item) => {
    const place = rolled.places.get(item);
    return place ? `%${base(item)}[${place.index}]` : `%${base(item)}`;
  };
  return { base, reference };
}

const itemsOf = (block: Block): readonly Item[] => (block.kind === "item" ? [block.item] : block.body);
const lineOf = (item: Item, place: Place | undefined): Item => (place ? place.loop.body[place.slot]! : item);

/** The preferred name without invalid characters, and with a numeric suffix if it is taken. */
function distinct(wish: string, taken: Set<string>): string {
  const words = wish
    .replace(/[^\w.]+/g, "_")
    .replace(/^[.\d]+|\.+$/g, "")
    .replace(/\.{2,}/g, ".");
  const plain = words === "" ? "v" : words;
  let name = plain;
  for (let n = 2; taken.has(name); n++) name = `${plain}_${n}`;
  taken.add(name);
  return name;
}
