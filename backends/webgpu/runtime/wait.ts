/** Waiting for a device: Dawn polls from the JavaScript thread, so a software adapter needs that thread to sleep. */

/** How often the waiting thread only yields before it sleeps: a small read-back is done within some 40 microseconds. */
const turnsBeforeSleep = 4;

/** Milliseconds of one sleep; the latency a wait may add. */
const sleepMs = 1;

let waiting = 0;
let polling = false;

/** Waits as JavaScript does: right in a browser, and in Node beside a hardware GPU. */
export function waitPlainly<T>(pending: Promise<T>): Promise<T> {
  return pending;
}

/**
 * Waits for a promise of Dawn while the JavaScript thread sleeps 1 ms between two polls.
 * In Node, Dawn polls in setImmediate and so spins on a core as long as one of its promises is pending; on 2 cores that
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

/** One loop serves all who wait, so that a hundred pipelines in flight cost one sleep per turn and not a hundred. */
async function pollAsleep(): Promise<void> {
  polling = true;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let turn = 0; waiting > 0; turn++) {
    if (turn >= turnsBeforeSleep) Atomics.wait(cell, 0, 0, sleepMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
  polling = false;
}
