/** Keys that move within a vertical list, as in the ARIA authoring practices. */

/** How many rows Page Up and Page Down move by. */
const page = 20;

/** The index, from 0, that a key moves to in a list of `count` rows; undefined for keys that do not move. */
export function movedBy(key: string, at: number, count: number): number | undefined {
  const moves: Readonly<Record<string, number>> = {
    ArrowUp: at - 1,
    ArrowDown: at + 1,
    Home: 0,
    End: count - 1,
    PageUp: at - page,
    PageDown: at + page,
  };
  if (count === 0 || !Object.hasOwn(moves, key)) return undefined;
  return Math.max(0, Math.min(count - 1, moves[key]!));
}
