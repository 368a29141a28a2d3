/** Waiting for a device: Dawn polls on the JavaScript thread, so a software adapter needs that thread to sleep. */

/** Polls that only yield before the thread sleeps: a small read-back takes about 40 microseconds. */
const turnsBeforeSleep = 4;

/** Milliseconds per sleep: the latency that a wait may add. */
const sleepMs = 1;

let waiting = 0;
let polling = false;

/** Plain await: right in a browser, and in Node with a hardware GPU. */
export function waitPlainly<T>(pending: Promise<T>): Promise<T> {
  return pending;
}

/**
 * Awaits a Dawn promise while the JavaScript thread sleeps 1 ms between polls.
 * In Node, Dawn polls in setImmediate and so spins on a core while any of its promises is pending; on 2 cores that
 * costs a software adapter a third of its speed. Node only: a browser's main thread must not block.
 */
export async function waitAsleep<T>(pending: Promise<T>): Promise<T> {
  waiting++;
  if (!polling) void pollAsleep();
  try {
    return await pending;
  } finally {
    waiting--;
  }
}

/** One loop serves all waiters, so that a hundred pipelines in flight cost one sleep per poll, not a hundred. */
async function pollAsleep(): Promise<void> {
  polling = true;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let turn = 0; waiting > 0; turn++) {
    if (turn >= turnsBeforeSleep) Atomics.wait(cell, 0, 0, sleepMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
  polling = false;
}
