/** Runs begin in the order of their calls: each has its turn, which may be over before its results are there. */

const last = new WeakMap<object, Promise<unknown>>();

/** Runs `body` when all bodies given before for any of `things` have ended. */
export function inTurn<T>(things: readonly object[], body: () => Promise<T>): Promise<T> {
  const done = Promise.all(things.map((thing) => last.get(thing))).then(body);
  const ended = done.catch(() => undefined); // the caller has the error; later turns come all the same
  for (const thing of things) last.set(thing, ended);
  return done;
}
