/** Calls a function with each of a list's items in turn, and shows the progress. */
import { startProgress } from "../runtime/index.ts";

export interface Shown {
  readonly description: string;
  /** What the items are, as in "images". */
  readonly unit: string;
}

export async function mapWithProgress<T, R>(
  items: readonly T[],
  { description, unit }: Shown,
  map: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const progress = startProgress({ description, total: items.length, unit });
  const results: R[] = [];
  try {
    for (const [i, item] of items.entries()) {
      results.push(await map(item, i));
      progress.update(i + 1);
    }
  } finally {
    progress.dispose();
  }
  return results;
}
