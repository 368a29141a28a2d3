/** Prefetching: values are made before they are asked for, as batches are read and decoded while steps run. */

/**
 * The same values in their order, up to `depth` of them made ahead and `most` in all. An error comes in its place, behind
 * the values before it; one of a value that nobody asks for any more is not told.
 */
export async function* ahead<T>(values: AsyncIterable<T>, depth: number, most: number): AsyncGenerator<T> {
  const source = values[Symbol.asyncIterator]();
  const made: Promise<IteratorResult<T>>[] = [];
  let last: Promise<unknown> = Promise.resolve();
  let asked = 0;
  const ask = () => {
    for (; made.length < depth && asked < most; asked++) {
      const next = last.then(() => source.next());
      next.catch(() => {}); // whoever comes to it is told
      made.push(next);
      last = next;
    }
  };
  try {
    for (ask(); made.length > 0; ) {
      const { done, value } = await made.shift()!;
      if (done) return;
      ask();
      yield value;
    }
  } finally {
    await last.catch(() => {});
    await source.return?.();
  }
}
