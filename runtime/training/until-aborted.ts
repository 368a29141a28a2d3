/** Batches of a run that a signal stops: data that never come must not keep it. */

/** Milliseconds that a batch may still take after the signal. */
const graceMs = 1000;

/**
 * The same values, until the signal: one that is awaited then ends them if it fails, as a request with the same signal
 * does, or takes longer than a second.
 */
export async function* untilAborted<T>(values: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const source = values[Symbol.asyncIterator]();
  let isStuck = false;
  try {
    for (;;) {
      const made = await orLate(source.next(), signal);
      isStuck = made === late;
      if (made === late || made.done) return;
      yield made.value;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    const closed = source.return?.();
    closed?.catch(() => {});
    if (!isStuck) await closed?.catch(() => {}); // a generator returns only once what it awaits is there
  }
}

const late = Symbol("late");

/** The value, or `late` if it is not there soon after the signal. */
async function orLate<T>(value: Promise<T>, signal: AbortSignal): Promise<T | typeof late> {
  value.catch(() => {}); // reported below, or dropped
  let timer: ReturnType<typeof setTimeout> | undefined;
  const { promise, resolve } = Promise.withResolvers<typeof late>();
  const wait = () => {
    timer = setTimeout(() => resolve(late), graceMs);
  };
  if (signal.aborted) wait();
  else signal.addEventListener("abort", wait, { once: true });
  try {
    return await Promise.race([value, promise]);
  } finally {
    signal.removeEventListener("abort", wait);
    clearTimeout(timer);
  }
}
