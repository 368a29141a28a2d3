/** Concurrency with a bounded number of tasks. */

/**
 * Maps in order with at most `limit` calls in flight; rejects with the first error, after the calls in flight have
 * ended.
 */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]!, index).catch((error: unknown) => {
        next = items.length; // no new work after a failure
        throw error;
      });
    }
  };
  const workers = Array.from({ length: Math.min(limit, items.length) }, worker);
  for (const ended of await Promise.allSettled(workers)) if (ended.status === "rejected") throw ended.reason;
  return results;
}

/**
 * Keeps up to `depth` items prefetched while the consumer works, so that a training step does not wait for a decoder.
 * Errors are thrown in their item's position; leaving the loop early ends the source after the item in progress.
 */
export async function* prefetch<T>(source: AsyncIterable<T>, depth: number): AsyncGenerator<T, void, undefined> {
  const iterator = source[Symbol.asyncIterator]();
  const ready: Promise<IteratorResult<T>>[] = [];
  let last: Promise<unknown> = Promise.resolve();
  let stopped = false;
  const next = (): Promise<IteratorResult<T>> =>
    stopped ? Promise.resolve({ done: true, value: undefined }) : iterator.next();
  const request = () => {
    const result = last.then(next);
    last = result;
    result.catch(() => {}); // reported in its turn, not as an unhandled rejection
    ready.push(result);
  };
  try {
    for (let i = 0; i < depth; i += 1) request();
    while (true) {
      const result = await ready.shift()!;
      if (result.done) return;
      request();
      yield result.value;
    }
  } finally {
    stopped = true;
    await iterator.return?.();
  }
}
