/** Values that survive a reload; without local storage, they last as long as the page. */

export interface Remembered<T> {
  readonly get: () => T;
  readonly set: (value: T) => void;
}

export function remembered<T>(name: string, first: T): Remembered<T> {
  const key = `heddle-playground.${name}`;
  let value = first;
  try {
    const stored = localStorage.getItem(key);
    if (stored !== null) value = JSON.parse(stored) as T;
  } catch {
    // Storage is forbidden, or its content was not written by this page.
  }
  return {
    get: () => value,
    set: (next) => {
      value = next;
      try {
        localStorage.setItem(key, JSON.stringify(next));
      } catch {
        // The value lasts as long as the page.
      }
    },
  };
}
