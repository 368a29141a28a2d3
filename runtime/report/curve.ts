/** A curve of any length in bounded memory: points are binned into columns, which widen as the curve grows. */

/** The points of one column. */
export interface Column {
  /** Means over the finite points. */
  readonly x: number;
  readonly y: number;
  readonly low: number;
  readonly high: number;
}

export interface Curve {
  /** In increasing x. */
  readonly columns: readonly Column[];
  /** Positions of non-finite points, at most one per column. */
  readonly lost: readonly number[];
  readonly points: number;
  readonly lostPoints: number;
  readonly first: readonly [x: number, y: number] | undefined;
  readonly last: readonly [x: number, y: number] | undefined;
}

export interface CurveBuilder {
  /** Adds a point at x, which is at least `from`; a y that is not finite is counted as lost. */
  add(x: number, y: number | null): void;
  curve(): Curve;
}

interface Counted {
  finite: number;
  lost: number;
  sumX: number;
  sumY: number;
  low: number;
  high: number;
  lostX: number;
}

/** More columns than a chart has pixels would be wasted; a merge leaves half of them. */
const mostColumns = 480;

/** `width` is the initial width of a column: 1 when x counts steps. */
export function curveBuilder(from: number, width: number): CurveBuilder {
  let columns: (Counted | undefined)[] = [];
  let [points, lostPoints] = [0, 0];
  let first: readonly [number, number] | undefined;
  let last: readonly [number, number] | undefined;
  const place = (x: number): number => {
    for (;;) {
      const index = Math.max(0, Math.floor((x - from) / width));
      if (index < mostColumns) return index;
      columns = inPairs(columns);
      width *= 2;
    }
  };
  return {
    add(x, y) {
      const index = place(x);
      columns[index] ??= { finite: 0, lost: 0, sumX: 0, sumY: 0, low: Infinity, high: -Infinity, lostX: x };
      const column = columns[index];
      points += 1;
      if (y === null || !Number.isFinite(y)) {
        lostPoints += 1;
        if (column.lost++ === 0) column.lostX = x;
        return;
      }
      first ??= [x, y];
      last = [x, y];
      column.finite += 1;
      column.sumX += x;
      column.sumY += y;
      column.low = Math.min(column.low, y);
      column.high = Math.max(column.high, y);
    },
    curve: () => {
      const there = columns.filter((c) => c !== undefined);
      return {
        columns: there
          .filter(({ finite }) => finite > 0)
          .map(({ finite, sumX, sumY, low, high }) => ({
            x: sumX / finite,
            y: clamped(sumY / finite, low, high), // a sum of large values may overflow
            low,
            high,
          })),
        lost: there.filter(({ lost }) => lost > 0).map(({ lostX }) => lostX),
        points,
        lostPoints,
        first,
        last,
      };
    },
  };
}

/** The curve of points that are all known in advance. */
export function curveOf(points: readonly (readonly [number, number | null])[]): Curve {
  const xs = points.map(([x]) => x);
  const from = least(xs);
  const builder = curveBuilder(from, (most(xs) - from) / (mostColumns - 1) || 1);
  for (const [x, y] of points) builder.add(x, y);
  return builder.curve();
}

/** For lists too long to spread into Math.min. */
export const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
export const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);

const clamped = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

function inPairs(columns: readonly (Counted | undefined)[]): (Counted | undefined)[] {
  return Array.from({ length: mostColumns / 2 }, (_, i) => joined(columns[2 * i], columns[2 * i + 1]));
}

function joined(a: Counted | undefined, b: Counted | undefined): Counted | undefined {
  if (!a || !b) return a ?? b;
  return {
    finite: a.finite + b.finite,
    lost: a.lost + b.lost,
    sumX: a.sumX + b.sumX,
    sumY: a.sumY + b.sumY,
    low: Math.min(a.low, b.low),
    high: Math.max(a.high, b.high),
    lostX: a.lost > 0 ? a.lostX : b.lostX,
  };
}
