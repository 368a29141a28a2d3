/** The loss curve: every step faintly, with a running mean. */
import { drawn, element } from "../shell/element.ts";

export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

export interface LossCurve {
  readonly element: HTMLElement;
  readonly begin: (points: readonly LossPoint[], steps: number) => void;
  readonly add: (point: LossPoint) => void;
}

/** Drawing size in SVG units; strokes do not scale with it. */
const [width, height] = [600, 200];

/** Weight of a new value in the running mean. */
const share = 0.08;

export function lossCurve(): LossCurve {
  const raw = drawn("path", { class: "raw" });
  const mean = drawn("path", { class: "mean" });
  const grid = drawn("g", { class: "grid" });
  const label = element("output", { class: "readout" });
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  const ends = element("div", { class: "ends", "aria-hidden": "true" });
  const chart = drawn(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    grid,
    raw,
    mean,
  );
  const frame = element(
    "div",
    {
      class: "frame",
      tabindex: 0,
      role: "slider", // what moves along the steps; its value is read out
      "aria-label": "Loss by step",
      "aria-valuemin": 1,
    },
    chart,
    ticks,
    label,
  );
  let points: LossPoint[] = [];
  /** Index of the point that the keyboard reads out; the last one by default. */
  let at: number | undefined;
  let steps = 1;
  let isWaiting = false;

  function draw(): void {
    isWaiting = false;
    const most = Math.max(0.1, ...points.map((p) => p.loss));
    const top = niceAbove(most);
    const x = ({ step }: LossPoint) => (width * step) / steps;
    const y = (loss: number) => height - (height * loss) / top;
    const path = (of: readonly (readonly [number, number])[]) =>
      of.map(([a, b], i) => `${i === 0 ? "M" : "L"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");
    const smooth = running(points.map((p) => p.loss));
    raw.setAttribute("d", path(points.map((p) => [x(p), y(p.loss)])));
    mean.setAttribute("d", path(points.map((p, i) => [x(p), y(smooth[i]!)])));
    const lines = points.length === 0 ? [] : [0.25, 0.5, 0.75, 1].map((part) => part * top);
    grid.replaceChildren(...lines.map((v) => drawn("line", { x1: 0, x2: width, y1: y(v), y2: y(v) })));
    ticks.replaceChildren(
      ...lines.map((v) => {
        const tick = element("span", {}, String(Number(v.toPrecision(2))));
        tick.style.top = `${(100 * y(v)) / height}%`;
        return tick;
      }),
    );
    ends.replaceChildren(element("span", {}, "0"), element("span", {}, `step ${steps}`));
    frame.setAttribute("aria-valuemax", String(steps));
    speak();
  }

  /** Tells screen readers the point that the keyboard chose, or the last. */
  function speak(): string {
    const point = points[at ?? points.length - 1];
    const text = point ? textOf(point) : "";
    frame.setAttribute("aria-valuenow", String(point?.step ?? 0));
    frame.setAttribute("aria-valuetext", text);
    return text;
  }

  const later = () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(draw);
  };

  chart.addEventListener("pointermove", (event) => {
    const step = (event.offsetX / chart.clientWidth) * steps;
    const near = points.findLast((p) => p.step <= step) ?? points[0];
    label.textContent = near ? textOf(near) : "";
  });
  chart.addEventListener("pointerleave", () => void (label.textContent = ""));
  frame.addEventListener("keydown", (event) => {
    const tenth = Math.ceil(points.length / 10);
    const from = at ?? points.length - 1;
    const moves: Readonly<Record<string, number>> = {
      ArrowLeft: from - 1,
      ArrowRight: from + 1,
      PageUp: from + tenth,
      PageDown: from - tenth,
      Home: 0,
      End: points.length - 1,
    };
    if (points.length === 0 || !Object.hasOwn(moves, event.key)) return;
    at = Math.max(0, Math.min(points.length - 1, moves[event.key]!));
    label.textContent = speak();
    event.preventDefault();
  });
  frame.addEventListener("blur", () => {
    at = undefined;
    label.textContent = "";
  });
  draw();
  return {
    element: element("figure", { class: "curve" }, frame, ends),
    begin: (all, of) => {
      points = [...all];
      at = undefined;
      steps = of;
      later();
    },
    add: (point) => {
      points.push(point);
      later();
    },
  };
}

const textOf = ({ step, loss }: LossPoint): string => `step ${step}: ${loss.toFixed(3)}`;

function running(values: readonly number[]): number[] {
  let mean = values[0] ?? 0;
  let weight = 0;
  return values.map((value) => {
    // The first values are averaged uniformly.
    weight = Math.max(share, 1 / (1 / (weight || 1) + 1));
    mean += (value - mean) * weight;
    return mean;
  });
}

/** The next of 1, 2, 4, 6 or 8 times a power of ten, whose quarters have at most two digits. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((by) => by * power).find((n) => n >= value)!;
}
