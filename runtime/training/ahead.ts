/** Prefetching: values are produced before they are requested, so that batches are read and decoded while steps run. */

/**
 * The same values in order, up to `depth` of them prefetched and `most` in total. An error is thrown in its position,
 * after the values before it; the error of a value that is never requested is dropped.
 */
export async function* ahead<T>(values: AsyncIterable<T>, depth: number, most: number): AsyncGenerator<T> {
  const source = values[Symbol.asyncIterator]();
  const made: Promise<IteratorResult<T>>[] = [];
  let last: Promise<unknown> = Promise.resolve();
  let asked = 0;
  const ask = () => {
    for (; made.length < depth && asked < most; asked++) {
      const next = last.then(() => source.next());
      next.catch(() => {}); // reported to whoever awaits it
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
