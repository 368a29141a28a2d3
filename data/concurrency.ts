/** Runs work side by side without letting it pile up. */

/** Maps in order with at most `limit` calls under way; the first rejection rejects, after those under way have ended. */
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
 * Reads ahead: keeps up to `depth` items ready while the consumer works, so a training step never waits for a decoder.
 * Errors arrive where the item would have; ending the loop early ends the source after the item under way.
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
    result.catch(() => {}); // it is reported when its turn comes, not as an unhandled rejection now
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
