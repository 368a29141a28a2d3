/** A loss curve as inline SVG with HTML labels, which keep their size on a telephone. */
import { type Html, html } from "../compiler/index.ts";

/** The loss of one training step. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

const maxPoints = 300; // more than a page shows; a long run must not make a large file

/**
 * The curve: each step faintly, the trend on top, and a dashed line at `chance` where it is known.
 * Steps whose loss is not finite are left out, and the caption counts them.
 */
export function lossChart(points: readonly LossPoint[], chance?: number): Html {
  const finite = points.filter(({ loss }) => Number.isFinite(loss));
  if (finite.length < 2) return html`<p class="muted">There are too few steps to draw a curve.</p>`;
  const raw = thinned(finite);
  const steps = ticks(finite[0]!.step, finite.at(-1)!.step, 5);
  const levels = ticks(0, Math.max(chance ?? 0, ...raw.map(({ loss }) => loss)), 4);
  const [left, right] = [finite[0]!.step, finite.at(-1)!.step];
  const top = levels.at(-1)!;
  const x = (step: number) => round((1000 * (step - left)) / (right - left));
  const y = (loss: number) => round(400 - (400 * Math.min(loss, top)) / top);
  const path = (line: readonly LossPoint[]) => line.map(({ step, loss }) => `${x(step)},${y(loss)}`).join(" ");
  const summary = `Loss from ${number(finite[0]!.loss)} at step ${left} to ${number(finite.at(-1)!.loss)} at step ${right}`;
  return html`<figure class="chart">
  <div class="plot">
    <svg viewBox="0 0 1000 400" preserveAspectRatio="none" role="img" aria-label="${summary}">
      ${levels.map((level) => html`<line class="grid" x1="0" x2="1000" y1="${y(level)}" y2="${y(level)}"/>`)}
      ${chance === undefined ? "" : html`<line class="chance" x1="0" x2="1000" y1="${y(chance)}" y2="${y(chance)}"/>`}
      <polyline class="raw" points="${path(raw)}"/>
      <polyline class="trend" points="${path(trend(raw))}"/>
    </svg>
    ${levels.map((level) => html`<span class="level" style="top:${y(level) / 4}%">${number(level)}</span>`)}
    ${steps.filter((step) => step >= left && step <= right).map((step) => html`<span class="step" style="left:${x(step) / 10}%">${step.toLocaleString("en")}</span>`)}
    ${chance === undefined ? "" : html`<span class="guess" style="top:${y(chance) / 4}%">guessing</span>`}
  </div>
  <figcaption>${caption(points.length, finite.length)}</figcaption>
</figure>`;
}

function caption(all: number, finite: number): string {
  const run = runLength(finite);
  const thin = run === 1 ? "each step" : `the mean of every ${run} steps`;
  const lost =
    all === finite
      ? ""
      : ` ${all - finite} ${all - finite === 1 ? "step" : "steps"} had no finite loss and left no mark.`;
  return `Contrastive loss by training step. The thin line is ${thin}, the thick one the trend.${lost}`;
}

const runLength = (points: number) => Math.ceil(points / maxPoints);

/** Means of equal runs of points, so that a curve of any length has at most `maxPoints`. */
function thinned(points: readonly LossPoint[]): readonly LossPoint[] {
  const run = runLength(points.length);
  return Array.from({ length: Math.ceil(points.length / run) }, (_, i) => {
    const some = points.slice(i * run, (i + 1) * run);
    const mean = (value: (point: LossPoint) => number) =>
      some.reduce((sum, point) => sum + value(point), 0) / some.length;
    return { step: mean(({ step }) => step), loss: mean(({ loss }) => loss) };
  });
}

/** A centred mean over a twentieth of the run to either side, shorter towards the ends so that those are not bent. */
function trend(points: readonly LossPoint[]): readonly LossPoint[] {
  const reach = Math.max(1, Math.round(points.length / 20));
  return points.map(({ step }, i) => {
    const side = Math.min(reach, i, points.length - 1 - i);
    const some = points.slice(i - side, i + side + 1);
    return { step, loss: some.reduce((sum, { loss }) => sum + loss, 0) / some.length };
  });
}

/** About `count` round numbers (1, 2 or 5 times a power of ten apart) that cover [from, to]. */
function ticks(from: number, to: number, count: number): readonly number[] {
  const rough = (to - from) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough)!;
  const first = Math.floor(from / step);
  const last = Math.ceil(to / step);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const round = (value: number) => Math.round(value * 10) / 10;

const number = (value: number) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
