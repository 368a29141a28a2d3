/** Serializes runs in call order. A run's turn may end before its results are available. */

const last = new WeakMap<object, Promise<unknown>>();

/** Runs `body` once every earlier body for any of `things` has settled. */
export function inTurn<T>(things: readonly object[], body: () => Promise<T>): Promise<T> {
  const done = Promise.all(things.map((thing) => last.get(thing))).then(body);
  const ended = done.catch(() => undefined); // the caller gets the error; later turns still run
  for (const thing of things) last.set(thing, ended);
  return done;
}
