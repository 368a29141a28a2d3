/** What `#patience` is in a page, where nothing ends a regular expression but the person who closes the page. */

/** The same function. */
export const withinPatience = <A extends readonly unknown[], R>(
  _path: string,
  _model: object,
  work: (...args: A) => R,
): ((...args: A) => R) => work;
