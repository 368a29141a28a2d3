/** Prints long operand lists that step through loops, such as all gradients of all layers, as one series. */
import type { Place } from "../roll-fit.ts";
import type { Item } from "./item.ts";
import type { Names } from "./names.ts";
import { findRuns, iterationsOf } from "./runs.ts";
import { linear } from "./sheet.ts";

/** `%a, repeat 48 as i (%g[i], %b[47-i])`; undefined if no series is worth it. */
export function operandSeries(
  operands: readonly Item[],
  places: ReadonlyMap<Item, Place>,
  names: Names,
  variable: string,
): string | undefined {
  const parts: string[] = [];
  let at = 0;
  const single = (to: number) => {
    while (at < to) parts.push(names.reference(operands[at++]!));
  };
  for (const run of findRuns(lineIds(operands, places))) {
    const count = walking(operands, places, run.start, run.period, iterationsOf(run));
    if (count < 2) continue;
    single(run.start);
    parts.push(seriesText(operands, places, names, variable, run.start, run.period, count));
    at = run.start + run.period * count;
  }
  if (at === 0) return undefined;
  single(operands.length);
  return parts.join(", ");
}

/** One id for all values of the same loop line, and one for each other value. */
function lineIds(operands: readonly Item[], places: ReadonlyMap<Item, Place>): number[] {
  const ids = new Map<Item, number>();
  return operands.map((item) => {
    const place = places.get(item);
    const line = place ? place.loop.body[place.slot]! : item;
    let id = ids.get(line);
    if (id === undefined) ids.set(line, (id = ids.size));
    return id;
  });
}

/** The number of leading iterations in which every operand's index advances by a constant step. */
function walking(
  operands: readonly Item[],
  places: ReadonlyMap<Item, Place>,
  start: number,
  period: number,
  count: number,
): number {
  const index = (t: number, slot: number) => places.get(operands[start + t * period + slot]!)?.index ?? 0;
  for (let t = 2; t < count; t++) {
    for (let slot = 0; slot < period; slot++) {
      const step = index(1, slot) - index(0, slot);
      if (index(t, slot) - index(t - 1, slot) !== step) return t;
    }
  }
  return count;
}

function seriesText(
  operands: readonly Item[],
  places: ReadonlyMap<Item, Place>,
  names: Names,
  variable: string,
  start: number,
  period: number,
  count: number,
): string {
  const items = Array.from({ length: period }, (_, slot) => {
    const [first, second] = [operands[start + slot]!, operands[start + period + slot]!];
    const place = places.get(first);
    if (!place) return names.reference(first);
    const step = places.get(second)!.index - place.index;
    return `%${names.base(first)}[${linear(step, place.index, variable)}]`;
  });
  return `repeat ${count} as ${variable} (${items.join(", ")})`;
}
