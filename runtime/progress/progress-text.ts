/** The text of a progress line: description, bar, count, rate, time left and further figures. */

/** Figures shown after the time left, by name. */
export type Fields = Readonly<Record<string, number | string>>;

export interface ProgressState {
  readonly description: string;
  readonly done: number;
  readonly total: number;
  readonly unit?: string;
  /** Units per second; undefined until known. */
  readonly rate: number | undefined;
  readonly fields: Fields;
}

/** A progress line; given a terminal's width in columns, it has a bar and is truncated to the width. */
export function progressText(state: ProgressState, width?: number): string {
  const { description, done, total, unit = "steps", rate, fields } = state;
  const fraction = total > 0 ? Math.min(1, done / total) : 1;
  const parts = [
    `${Math.floor(fraction * 100)}%`,
    `${done}/${total} ${unit}`,
    ...(rate === undefined ? [] : [`${formatFigure(rate)} ${unit}/s`]),
    ...(rate === undefined || done >= total ? [] : [`${formatDuration((total - done) / rate)} left`]),
    ...Object.entries(fields).map(
      ([name, value]) => `${name} ${typeof value === "number" ? formatFigure(value) : value}`,
    ),
  ];
  const figures = parts.join("  ");
  if (width === undefined) return `${description}  ${figures}`;
  const room = width - description.length - figures.length - 4;
  const barWidth = barWidths.find((candidate) => candidate <= room) ?? 6;
  return [...`${description}  ${bar(fraction, barWidth)}  ${figures}`].slice(0, width).join("");
}

/** Only a few widths, so that the bar does not resize with every digit. */
const barWidths = [30, 20, 10];

function bar(fraction: number, width: number): string {
  const filled = Math.round(fraction * width);
  return "█".repeat(filled) + "░".repeat(width - filled);
}

/** Four significant digits, or an exponent for very large and very small numbers. */
export function formatFigure(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return String(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
}

/** 42s, 3m05s, 2h07m or 3d04h. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown time";
  const s = Math.ceil(seconds);
  const two = (n: number) => String(Math.floor(n)).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${two((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d${two((s % 86400) / 3600)}h`;
}

/** Measures the rate over the last half minute, so that it follows changes without jumping. */
export class RateMeter {
  readonly #now: () => number;
  readonly #samples: { readonly at: number; readonly done: number }[];

  constructor(now: () => number, start: number) {
    this.#now = now;
    this.#samples = [{ at: now(), done: start }];
  }

  add(done: number): void {
    if (done === this.#samples.at(-1)!.done) return; // a change of another figure is no progress
    const at = this.#now();
    const isSoonAfter = (a: number) => at - a < 500;
    const beforeLast = this.#samples.at(-2);
    if (beforeLast !== undefined && isSoonAfter(beforeLast.at)) this.#samples.pop();
    this.#samples.push({ at, done });
    while (this.#samples.length > 2 && at - this.#samples[1]!.at > 30_000) this.#samples.shift();
  }

  /** Units per second; undefined until there is progress. */
  rate(): number | undefined {
    const first = this.#samples[0]!;
    const last = this.#samples.at(-1)!;
    const rate = (1000 * (last.done - first.done)) / (last.at - first.at);
    return rate > 0 && Number.isFinite(rate) ? rate : undefined;
  }
}
