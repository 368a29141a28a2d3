/** Counts skipped samples by reason, with one example each. */
import { createHash } from "node:crypto";
import { inOneLine, isRecord, type OnSkip, type Skipped } from "./files.ts";

interface Counted {
  readonly count: number;
  readonly example: string;
}

/** Skipped samples so far, as plain JSON, from which counting can be resumed. */
export interface SkipsSoFar {
  readonly reasons: Readonly<Record<string, Counted>>;
  /** Hashes of the names, 8 characters each, so that a sample met again in a later epoch is not counted again. */
  readonly known: string;
}

export interface SkipCounts {
  readonly add: OnSkip;
  readonly counts: () => ReadonlyMap<string, Counted>;
  readonly soFar: () => SkipsSoFar;
}

/** Limits on distinct reasons and remembered names, so that a broken disk does not exhaust memory. */
const mostReasons = 100;
const mostNames = 100_000;
const otherReasons = "other reasons";

/**
 * Counts each sample once over all epochs. The first of each reason is reported to `note`, even if it occurred before
 * `from`, unless it is in `told`.
 */
export function skipCounts(
  note: (text: string) => void = () => {},
  from = noSkips,
  told = new Set<string>(),
): SkipCounts {
  const byReason = new Map(Object.entries(from.reasons));
  const names = new Set(from.known.match(new RegExp(`.{${markLength}}`, "g")));
  let soFar: SkipsSoFar | undefined = from;
  let known = from.known;
  return {
    counts: () => byReason,
    soFar: () => {
      soFar ??= { reasons: Object.fromEntries(byReason), known };
      return soFar;
    },
    add({ name, reason }) {
      const mark = markOf(name);
      const general = generalized(reason);
      const key = byReason.has(general) || byReason.size < mostReasons ? general : otherReasons;
      if (!told.has(key)) note(inOneLine(`skipped ${name}: ${reason}`));
      told.add(key);
      if (names.has(mark)) return;
      soFar = undefined;
      if (names.size < mostNames) {
        names.add(mark);
        known += mark;
      }
      const before = byReason.get(key);
      byReason.set(key, before ? { ...before, count: before.count + 1 } : { count: 1, example: name });
    },
  };
}

/**
 * The skips of data that is read several times. Those met before the first reading are reported when it begins, and
 * reading everything again reports nothing twice.
 */
export class SkipReports {
  readonly #told = new Set<string>();
  readonly #early: Skipped[] = [];
  #note = (_: string) => {};
  #counts: SkipCounts | undefined;

  readonly add: OnSkip = (skipped) => {
    if (this.#counts) this.#counts.add(skipped);
    else this.#early.push(skipped);
  };

  readonly note = (text: string): void => this.#note(text);

  get early(): readonly Skipped[] {
    return this.#early;
  }

  /** Begins a reading, which continues counting from `from`; by default from the last one. */
  begin(note: (text: string) => void, from = this.soFar()): void {
    this.#note = note;
    this.#counts = skipCounts(note, from, this.#told);
    this.#early.forEach(this.#counts.add);
  }

  soFar(): SkipsSoFar {
    return this.#counts?.soFar() ?? noSkips;
  }

  counts(): ReadonlyMap<string, Counted> {
    return this.#counts?.counts() ?? new Map();
  }
}

const markLength = 8;

/** 48 bits of a name's hash: two of 100,000 names collide once in 50,000 runs. */
const markOf = (name: string): string => createHash("sha256").update(name).digest("base64").slice(0, markLength);

export const noSkips: SkipsSoFar = { reasons: {}, known: "" };

/** Whether a value from a file is a valid count. */
export function isSkipsSoFar(value: unknown): value is SkipsSoFar {
  if (!isRecord(value) || !isRecord(value.reasons) || typeof value.known !== "string") return false;
  if (value.known.length % markLength !== 0) return false;
  return Object.values(value.reasons).every(
    (one) => isRecord(one) && Number.isSafeInteger(one.count) && typeof one.example === "string",
  );
}

/** Merges reasons that differ only in a name or number, but keeps filter bounds and "UTF-8". */
const generalized = (reason: string) =>
  reason.replace(/"[^"]*"/g, '"…"').replace(/(?<![=<>.]\s*|[A-Za-z]-)\b\d+\b/g, "#");
