/** Packs rows into batches in which no two share a group. */

/** Takes rows one at a time and returns the batches that they complete. */
export interface GroupPacker<T> {
  readonly add: (row: T) => readonly (readonly T[])[];
}

/**
 * Keeps the order of rows, except that a row whose group is already in the batch waits for the next one.
 * Takes amortized constant time per row: each batch starts with one waiting row of each waiting group, oldest group
 * first.
 * Rows still waiting at the end are dropped: there are too few groups.
 */
export function groupPacker<T>(size: number, groupOf: (row: T) => string): GroupPacker<T> {
  let batch = new Map<string, T>();
  const waitingByGroup = new Map<string, T[]>();

  const refill = () => {
    batch = new Map();
    for (const [group, rows] of waitingByGroup) {
      if (batch.size === size) return;
      batch.set(group, rows.shift()!);
      if (rows.length === 0) waitingByGroup.delete(group);
    }
  };
  const wait = (group: string, row: T) => {
    const rows = waitingByGroup.get(group);
    if (rows) rows.push(row);
    else waitingByGroup.set(group, [row]);
  };
  return {
    add(row) {
      const group = groupOf(row);
      if (batch.has(group)) wait(group, row);
      else batch.set(group, row);
      const complete: T[][] = [];
      while (batch.size === size) {
        complete.push([...batch.values()]);
        refill();
      }
      return complete;
    },
  };
}
