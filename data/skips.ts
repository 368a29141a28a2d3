/** Counts what was skipped by reason, with one name each. */
import type { OnSkip } from "./files.ts";

export interface SkipCounts {
  readonly add: OnSkip;
  readonly counts: () => ReadonlyMap<string, { readonly count: number; readonly example: string }>;
}

/** So many reasons are told apart, and so many names remembered: a broken disk must not fill the memory. */
const mostReasons = 100;
const mostNames = 100_000;
const otherReasons = "other reasons";

/** Each sample is counted once, however many epochs meet it. The first of each reason is told to `note`. */
export function skipCounts(note: (text: string) => void = () => {}): SkipCounts {
  const byReason = new Map<string, { count: number; example: string }>();
  const names = new Set<string>();
  return {
    counts: () => byReason,
    add({ name, reason }) {
      if (names.has(name)) return;
      if (names.size < mostNames) names.add(name);
      const general = generalized(reason);
      const key = byReason.has(general) || byReason.size < mostReasons ? general : otherReasons;
      const known = byReason.get(key);
      if (known) known.count += 1;
      else {
        byReason.set(key, { count: 1, example: name });
        note(`skipped ${name}: ${reason}`);
      }
    },
  };
}

/** Reasons that differ in a name or in a number alone are one; the bounds of filters and "UTF-8" stay. */
const generalized = (reason: string) =>
  reason.replace(/"[^"]*"/g, '"…"').replace(/(?<![=<>.]\s*|[A-Za-z]-)\b\d+\b/g, "#");
