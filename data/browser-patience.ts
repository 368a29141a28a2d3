/** `#patience` in a page, where a runaway regular expression can only be stopped by closing the page. */

/** Returns `work` unchanged. */
export const withinPatience = <A extends readonly unknown[], R>(
  _path: string,
  _model: object,
  work: (...args: A) => R,
): ((...args: A) => R) => work;
