/** Curves as inline SVG with labels in HTML, which keep their size on a phone. */
import { type Html, html } from "../../compiler/index.ts";
import { type Column, type Curve, least, most } from "./curve.ts";

export interface NamedCurve {
  readonly name: string;
  readonly curve: Curve;
}

export interface CurveChart {
  readonly title: string;
  readonly curves: readonly NamedCurve[];
  readonly levels?: readonly { readonly at: number; readonly label: string }[];
  readonly caption?: Html | string | undefined;
}

const [wide, high] = [1000, 400] as const; // in SVG units, stretched to the available size

/** The chart: each column's range in a faint colour, overlaid with the means, or with the trend if those fluctuate. */
export function curveChart({ title, curves, levels = [], caption }: CurveChart): Html {
  const drawn = curves.filter(({ curve }) => curve.columns.length > 0);
  if (drawn.length === 0)
    return figure(
      title,
      html`<p class="muted">${curves.some(({ curve }) => curve.points > 0) ? "No value is finite." : "There is nothing to plot yet."}</p>`,
    );
  const columns = drawn.flatMap(({ curve }) => curve.columns);
  const xs = [...columns.map(({ x }) => x), ...drawn.flatMap(({ curve }) => curve.lost)];
  const [left, right] = [least(xs), most(xs)];
  const scale = valueScale(
    columns,
    levels.map(({ at }) => at),
  );
  const x = (step: number) => round(right > left ? (wide * (step - left)) / (right - left) : wide / 2);
  const y = (value: number) => round(high - high * scale.place(value));
  const steps = ticks(left, right, 5).filter((step) => step >= left && step <= right);
  const lost = drawn.flatMap(({ curve }) => curve.lost).map((at) => `M${x(at)} 0V${high}`);
  return figure(
    title,
    html`
  ${drawn.length > 1 ? legend(drawn) : undefined}
  <div class="plot">
    <svg viewBox="0 0 ${wide} ${high}" preserveAspectRatio="none" role="img" aria-label="${title}: ${drawn.map(inWords).join("; ")}">
      ${scale.ticks.map((level) => html`<path class="grid" d="M0 ${y(level)}H${wide}"/>`)}
      ${levels.map(({ at }) => html`<path class="level-line" d="M0 ${y(at)}H${wide}"/>`)}
      ${lost.length > 0 ? html`<path class="lost" d="${lost.join("")}"/>` : undefined}
      ${drawn.map(({ curve }, i) => curvePaths(curve, i, x, y))}
    </svg>
    ${scale.ticks.map((level) => html`<span class="level" style="top:${y(level) / 4}%">${number(level)}</span>`)}
    ${steps.map((step) => html`<span class="step" style="left:${x(step) / 10}%">${compact(step)}</span>`)}
    ${levels.map(({ at, label }) => html`<span class="guess" style="top:${y(at) / 4}%">${label}</span>`)}
  </div>`,
    html`${drawn.length === 1 ? summary(drawn[0]!.curve) : drawn.map(({ name, curve }) => html`<span><bdi>${name}</bdi> ${summary(curve)}</span> `)}${lostText(drawn)}${scale.logarithmic ? " The scale is logarithmic." : ""}${caption === undefined ? "" : html` ${caption}`}`,
  );
}

const figure = (title: string, content: Html, caption?: Html): Html => html`<figure class="chart">
  <h3>${title}</h3>${content}${
    caption === undefined
      ? ""
      : html`
  <figcaption>${caption}</figcaption>`
  }
</figure>`;

const colours = 6; // as many as the style defines

const legend = (curves: readonly NamedCurve[]): Html =>
  html`<p class="legend">${curves.map(({ name }, i) => html`<span class="c${i % colours}"><bdi>${name}</bdi></span> `)}</p>`;

/** "4.85 → 0.31, least 0.29, most 4.9." */
function summary({ first, last, columns }: Curve): string {
  if (!first || !last) return "";
  const [low, top] = [least(columns.map((c) => c.low)), most(columns.map((c) => c.high))];
  if (low === top) return `${number(low)} throughout.`;
  return `${number(first[1])} → ${number(last[1])}, min ${number(low)}, max ${number(top)}.`;
}

const inWords = ({ name, curve: { first, last } }: NamedCurve): string =>
  `${name} from ${number(first![1])} at ${number(first![0])} to ${number(last![1])} at ${number(last![0])}`;

function lostText(curves: readonly NamedCurve[]): string {
  const lost = curves.reduce((sum, { curve }) => sum + curve.lostPoints, 0);
  if (lost === 0) return "";
  return ` ${lost === 1 ? "One value was" : `${lost.toLocaleString("en")} values were`} not finite (vertical lines).`;
}

type Place = (value: number) => number;

function curvePaths({ columns }: Curve, index: number, x: Place, y: Place): Html {
  const colour = `c${index % colours}${index < colours ? "" : " dashed"}`;
  const parts = withoutGaps(columns);
  const line = (class_: string, of: (part: readonly Column[]) => readonly Column[]) =>
    html`<path class="${class_} ${colour}" d="${parts.map((part) => path(of(part).map((c) => [x(c.x), y(c.y)]))).join("")}"/>`;
  const rough = isRough(columns);
  const ranges = html`<path class="range ${colour}" d="${parts.map((part) => band(part, x, y)).join("")}"/>`;
  const isRange = columns.some((c) => c.low < c.high);
  return html`${isRange ? ranges : rough ? line("raw", (part) => part) : undefined}${line("trend", rough ? trend : (part) => part)}`;
}

/** A path; a single point is drawn as a dot by its round line cap. */
const path = (points: readonly (readonly [number, number])[]): string =>
  points.length === 1 ? `M${points[0]!.join(" ")}h0` : `M${points.map((p) => p.join(" ")).join("L")}`;

const band = (part: readonly Column[], x: Place, y: Place): string =>
  `${path([...part.map((c) => [x(c.x), y(c.high)] as const), ...part.map((c) => [x(c.x), y(c.low)] as const).reverse()])}Z`;

/** Splits columns at gaps: distances much larger than usual, across which no line is drawn. */
function withoutGaps(columns: readonly Column[]): readonly (readonly Column[])[] {
  const distances = columns.slice(1).map(({ x }, i) => x - columns[i]!.x);
  const usual = median(distances);
  const parts: Column[][] = [];
  columns.forEach((column, i) => {
    if (i === 0 || distances[i - 1]! > 4 * usual) parts.push([]);
    parts.at(-1)!.push(column);
  });
  return parts;
}

/** Whether a curve fluctuates so much that its trend is hard to see. */
function isRough(columns: readonly Column[]): boolean {
  if (columns.length < 40) return false;
  const ys = columns.map(({ y }) => y);
  const [way, range] = [ys.slice(1).reduce((sum, y, i) => sum + Math.abs(y - ys[i]!), 0), most(ys) - least(ys)];
  const spread = columns.filter(({ low, high: top }) => top - low > range / 20).length;
  return way > 3 * range || spread > columns.length / 10;
}

/**
 * A centred moving mean over a twentieth of the columns to either side, narrowing towards the ends so that those are
 * not distorted.
 */
function trend(columns: readonly Column[]): readonly Column[] {
  const reach = Math.max(1, Math.round(columns.length / 20));
  return columns.map((column, i) => {
    const side = Math.min(reach, i, columns.length - 1 - i);
    const some = columns.slice(i - side, i + side + 1);
    return { ...column, y: some.reduce((sum, { y }) => sum + y / some.length, 0) };
  });
}

interface Scale {
  /** Maps a value to a height between the bottom (0) and the top (1). */
  readonly place: Place;
  readonly ticks: readonly number[];
  readonly logarithmic: boolean;
}

/** Starts at 0 if that is near; logarithmic when a few values dwarf the others. */
function valueScale(columns: readonly Column[], levels: readonly number[]): Scale {
  const low = least([...columns.map((c) => c.low), ...levels]);
  const top = most([...columns.map((c) => c.high), ...levels]);
  if (low > 0 && top / median(columns.map((c) => c.y)) > 100) {
    const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(top))];
    const every = Math.ceil((to - from) / 5);
    const powers = Array.from({ length: Math.floor((to - from) / every) + 1 }, (_, i) => 10 ** (from + i * every));
    return { place: (v) => (Math.log10(v) - from) / (to - from), ticks: powers, logarithmic: true };
  }
  const all = ticks(low > 0 && low < top / 2 ? 0 : low, top, 4);
  const [from, to] = [all[0]!, all.at(-1)!];
  // Halved, since the difference of two large numbers may overflow.
  return { place: (v) => (to > from ? (v / 2 - from / 2) / (to / 2 - from / 2) : 0.5), ticks: all, logarithmic: false };
}

/** About `count` round numbers (1, 2 or 5 times a power of ten apart) that cover [from, to]. */
function ticks(from: number, to: number, count: number): readonly number[] {
  const rough = to / count - from / count;
  const size = Math.max(Math.abs(from), Math.abs(to));
  if (!Number.isFinite(rough) || rough <= size * 1e-9) return from === to ? [from] : [from, to];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? 10 * power;
  const first = Math.floor(from / step);
  const last = Math.ceil(to / step);
  const all = Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  return all.every(Number.isFinite) ? all : [from, to];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const round = (value: number) => Math.round(value * 10) / 10;

/** 1,200, 0.31, 1.5e-5. */
export function number(value: number): string {
  const size = Math.abs(Number(value.toPrecision(4)));
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return Number(value.toPrecision(3)).toExponential();
  return value.toLocaleString("en", Number.isInteger(value) ? {} : { maximumSignificantDigits: 4 });
}

/** 200, 20K, 1.5M: short enough to fit side by side on a phone. */
const compact = (value: number): string =>
  Math.abs(value) >= 1e4 && Math.abs(value) < 1e15
    ? value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 })
    : number(value);
